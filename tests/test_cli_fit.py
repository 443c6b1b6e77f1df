"""`gpdust fit` from a configuration to a folder: products, record, resuming, refusing, errors."""

import json
import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from astropy.io import fits
from click.testing import Result
from tiny_fit import CONFIG, fitted, gpdust, write_stars

from gpdust import PercentileMaps, Posterior, StarCatalogue
from gpdust.inference import SVI, Progress

FIGURES = ["density_slices", "extinction", "residuals", "sightline", "trace", "uncertainty"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("fit")
    return folder, fitted(folder)


def test_writes_everything_that_the_contract_names(finished):
    folder, result = finished
    assert result.exit_code == 0, result.output
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"maps.fits", "posterior", "stars.fits", "fit.json", *(f"{name}.png" for name in FIGURES)}
    with fits.open(folder / "out" / "maps.fits") as hdus:
        assert hdus["DENSITY_P50"].shape == hdus["EXTINCTION_P84"].shape == (8, 6, 5)
        np.testing.assert_allclose(np.diff(hdus["B_EDGES"].data["edge"]), 20 / 6)
        assert hdus[0].header["BAND"] == "A0"
    maps = PercentileMaps.read(folder / "out" / "maps.fits")
    assert np.median(maps.density_values[1]) == pytest.approx(1e-3, rel=0.1)
    assert Posterior.load(folder / "out" / "posterior").meta["band"] == "A0"


def with_prior(prior: str, fit: str) -> str:
    return CONFIG.replace("inducing = 20\n", prior).replace("particles = 4\nmax_steps = 120\n", f"{fit}\n")


@pytest.mark.parametrize(
    ("prior", "settings", "engine", "why"),
    [
        ("", "samples = 6", "mgvi", "a spectral prior has no matrix"),
        ("box_spacing = 25\nlearn = false\n", 'engine = "mgvi"', "mgvi", "as asked for"),
        ("inducing = 20\n", "", "natural", "20 inducing points are few enough for a dense precision"),
        ('kernel = ["rbf", "matern12"]\ninducing = 20\n', 'engine = "natural"', "natural", "as asked for"),
    ],
    ids=["default", "spectral", "inducing", "sum"],
)
def test_engines_and_priors(tmp_path, monkeypatch, prior, settings, engine, why):
    monkeypatch.setattr("gpdust.cli.pipeline.draw_figures", lambda *_: [])  # which take most of the time
    write_stars(tmp_path)
    config = with_prior(prior, settings)
    if "[" in prior:
        config = config.replace("length_scale = 50", "length_scale = [80, 30]\namplitude = [0.2, 0.1]")
    (tmp_path / "fit.toml").write_text(config)
    command = ["fit", tmp_path / "fit.toml", "--out", tmp_path / "out"]
    result = gpdust(*command)
    assert result.exit_code == 0, result.output
    assert f"engine      {engine} ({why})" in result.stdout
    assert ("note: box of" in result.stdout) == ("inducing" not in prior)
    record = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert record["engine"] == {"name": engine, "why": why}
    assert record["convergence"]["converged"]
    maps = PercentileMaps.read(tmp_path / "out" / "maps.fits")
    assert np.median(maps.density_values[1]) == pytest.approx(1e-3, rel=0.15)
    found = gpdust("query", tmp_path / "out", "--l", 60, "--b", 0, "--d", 200, "--json")
    assert json.loads(found.stdout)["places"][0]["extinction_p50"] == pytest.approx(0.1, abs=0.02)
    assert "this fit is finished" in gpdust(*command).stdout


def test_a_fit_that_may_not_fit_into_memory_is_warned_of(tmp_path, monkeypatch, finished):
    assert "GiB by a rough estimate" not in finished[1].stderr
    monkeypatch.setattr("gpdust.cli.pipeline.draw_figures", lambda *_: [])
    monkeypatch.setattr("gpdust.cli.pipeline.machine_memory", lambda: 2**28)
    result = fitted(tmp_path)
    assert result.exit_code == 0, result.output
    assert re.search(r"fit and maps will need \d\.\d GiB by a rough estimate, and there are 0\.2 GiB", result.stderr)
    assert "box_spacing" in result.stderr
    assert "GiB by a rough estimate" in " ".join(json.loads((tmp_path / "out" / "fit.json").read_text())["warnings"])


def test_record_tells_all(finished):
    folder, _ = finished
    record = json.loads((folder / "out" / "fit.json").read_text())
    stars = record["stars"]
    assert stars["report"]["rows_read"] == 300
    assert [(entry["reason"], entry["count"]) for entry in stars["report"]["dropped"]] == [
        ("extinction error is missing (NaN, masked or empty)", 1)
    ]
    assert stars["used"] + stars["too_far"] == 299
    assert stars["too_far"] > 0
    assert record["config"]["grid"]["shape"] == [4, 4, 6]
    assert record["seed"] == 0
    assert record["engine"] == {"name": "svi", "why": "as asked for"}
    assert {"gpdust", "torch", "gpytorch", "pyro-ppl", "astropy", "numpy", "python"} <= record["versions"].keys()
    assert record["seconds"].keys() == {"read", "model", "fit", "maps", "stars", "figures"}
    assert record["peak_memory_MiB"] > 50
    steps = record["convergence"]["steps"]
    assert len(record["trace"]["elbo"]) == len(record["trace"]["hyperparameters"]["amplitude"]) == steps
    amplitude = record["hyperparameters"]["amplitude"]
    assert amplitude["unit"] == "dex"
    assert amplitude["value"] == record["trace"]["hyperparameters"]["amplitude"][-1]
    assert "0.3 dex" in amplitude["prior"]
    assert np.isfinite(record["elbo"]["value"])
    # A fit follows the noise a little, so that residuals are a little smaller than the noise that was really drawn.
    observed = StarCatalogue.read(folder / "stars.fits")
    noise = observed.extinction.value - 1e-3 * (observed.distance.value - 100)
    drawn = np.diff(np.percentile(noise[observed.distance.value < 300], [16, 84]))[0] / 2 / 0.02
    assert 0.9 * drawn < record["residuals"]["robust_sigma_over_error"] < 1.05 * drawn
    assert record["products"][:2] == ["maps.fits", "posterior"]


def test_report_and_warnings_are_for_people(finished):
    folder, result = finished
    assert "299 usable, 1 dropped" in result.stdout
    assert "NOT converged" in result.stdout
    assert "mean_log_density" in result.stdout
    assert str(folder / "out") in result.stdout
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert any("Raise max_steps" in line for line in warnings)
    assert "Traceback" not in result.output


def test_finished_fit_is_used_again_when_only_maps_change(finished):
    folder, _ = finished
    before = (folder / "out" / "posterior" / "posterior.safetensors").stat().st_mtime_ns
    (folder / "maps.toml").write_text(CONFIG.replace("[5, 6, 8]", "[3, 3, 4]"))
    result = gpdust("fit", folder / "maps.toml", "--out", folder / "out", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert (folder / "out" / "posterior" / "posterior.safetensors").stat().st_mtime_ns == before
    assert PercentileMaps.read(folder / "out" / "maps.fits").grid.shape == (9, 4)


def test_finished_fit_of_another_configuration_is_kept(finished):
    folder, _ = finished
    (folder / "other.toml").write_text(CONFIG.replace("length_scale = 50", "length_scale = 60"))
    result = gpdust("fit", folder / "other.toml", "--out", folder / "out")
    assert result.exit_code == 1
    assert "finished fit of another configuration (different: [prior] length_scale)" in result.stderr
    assert "--fresh" in result.stderr


def test_finished_fit_of_other_stars_is_kept_unless_fresh(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("gpdust.cli.pipeline.draw_figures", lambda *_: [])
    write_stars(tmp_path)
    (tmp_path / "fit.toml").write_text(CONFIG)
    command = ["fit", tmp_path / "fit.toml", "--out", tmp_path / "out", "--quiet"]
    assert gpdust(*command).exit_code == 0
    write_stars(tmp_path, seed=1)
    result = gpdust(*command)
    assert result.exit_code == 1
    assert "the catalogue (or gpdust) has changed" in result.stderr
    assert gpdust(*command, "--fresh").exit_code == 0


def test_failing_maps_do_not_lose_the_fit(tmp_path, monkeypatch):
    write_stars(tmp_path)
    (tmp_path / "fit.toml").write_text(CONFIG)
    command = ["fit", tmp_path / "fit.toml", "--out", tmp_path / "out"]

    full = OSError(28, "No space left on device", "maps.fits")
    with monkeypatch.context() as patched:
        patched.setattr(PercentileMaps, "write", Mock(side_effect=full))
        result = gpdust(*command)
    assert result.exit_code == 1
    assert "the fit itself is safe" in result.stderr
    assert "error: No space left on device: 'maps.fits'" in result.stderr
    result = gpdust(*command)
    assert result.exit_code == 0
    assert "this fit is finished" in result.stdout


def test_a_posterior_that_cannot_be_saved_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("gpdust.cli.pipeline.draw_figures", lambda *_: [])
    write_stars(tmp_path)
    (tmp_path / "fit.toml").write_text(CONFIG)
    command = ["fit", tmp_path / "fit.toml", "--out", tmp_path / "out"]

    full = OSError(28, "No space left on device", "posterior")
    with monkeypatch.context() as patched:
        patched.setattr(Posterior, "save", Mock(side_effect=full))
        failed = gpdust(*command)
    assert failed.exit_code == 1
    assert "checkpoint.safetensors; the same command saves it" in failed.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"checkpoint.safetensors"}
    monkeypatch.setattr(SVI, "stage", None)  # no step is left to take
    saved = gpdust(*command)
    assert saved.exit_code == 0, saved.output
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["convergence"]["steps"] > 100


def test_fresh_keeps_the_old_fit_until_the_new_one_is_saved(tmp_path, monkeypatch):
    write_stars(tmp_path)
    (tmp_path / "fit.toml").write_text(CONFIG)
    command, out = ["fit", tmp_path / "fit.toml", "--out", tmp_path / "out"], tmp_path / "out"
    place = ["--l", "60", "--b", "0", "--d", "200"]
    assert gpdust(*command).exit_code == gpdust("check", out).exit_code == 0
    old = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    (tmp_path / "other.toml").write_text(CONFIG.replace("length_scale = 50", "length_scale = 60"))
    anew = ["fit", tmp_path / "other.toml", "--out", out, "--fresh"]

    (tmp_path / "stars.fits").rename(tmp_path / "away.fits")
    assert "there is no file" in gpdust(*anew).stderr
    (tmp_path / "away.fits").rename(tmp_path / "stars.fits")
    assert gpdust("query", out, *place).exit_code == 0
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "step", Mock(side_effect=KeyboardInterrupt))
        assert gpdust(*anew).exit_code == 130
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name in old} == old
    for refused in (["query", out, *place], ["check", out]):
        result = gpdust(*refused)
        assert result.exit_code == 1
        assert "has not ended yet" in result.stderr
    monkeypatch.setattr("gpdust.cli.pipeline.draw_figures", lambda *_: [])
    resumed = gpdust(*anew[:-1])
    assert resumed.exit_code == 0, resumed.output
    assert "going on from" in resumed.stdout
    assert {path.name for path in out.iterdir()} == {"maps.fits", "posterior", "stars.fits", "fit.json"}
    assert json.loads((out / "fit.json").read_text())["config"]["prior"]["length_scale"] == 60


def test_failing_figure_costs_no_other(tmp_path, monkeypatch):
    write_stars(tmp_path)
    (tmp_path / "fit.toml").write_text(CONFIG.replace("samples = 20", "samples = 20\npercentiles = [5, 50, 95]"))
    result = gpdust("fit", tmp_path / "fit.toml", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "warning: uncertainty.png could not be drawn" in result.stderr
    assert (tmp_path / "out" / "density_slices.png").exists()
    assert not (tmp_path / "out" / "uncertainty.png").exists()


def test_interruption_exits_with_130_and_says_how_to_go_on(tmp_path, monkeypatch):
    from gpdust.cli import pipeline
    from gpdust.fitting import FitInterrupted

    write_stars(tmp_path)
    (tmp_path / "fit.toml").write_text(CONFIG)

    def stop(*_, checkpoint, **__):
        checkpoint.write_bytes(b"")
        raise FitInterrupted(str(checkpoint))

    monkeypatch.setattr(pipeline, "fit", stop)
    result = gpdust("fit", tmp_path / "fit.toml", "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "the same command goes on from" in result.stderr
    assert "checkpoint.safetensors" in result.stderr

    def stop_early(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "fit", stop_early)
    result = gpdust("fit", tmp_path / "fit.toml", "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr.endswith("\ninterrupted\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("length_scale", "lenght_scale"), "[prior] has no key 'lenght_scale'; did you mean 'length_scale'?"),
        (("inducing = 20", "box_spacing = 9"), '[fit] engine "svi" needs [prior] kind = "inducing"'),
        (("max_steps", 'engine = "mgvi"\nmax_steps'), '[fit] particles goes with engine = "svi", but here it is'),
        (("stars.fits", "none.fits"), "there is no file"),
        (("[100, 300]", "[1000, 3000]"), "[region] holds none of the 299 stars"),
        (("[100, 300]", "[300, 100]"), "[region] region distance must increase"),
    ],
)
def test_errors_are_one_message(finished, tmp_path, change, message):
    folder, _ = finished
    path = folder / "wrong.toml"
    path.write_text(CONFIG.replace(*change))
    result = gpdust("fit", path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_debug_lets_the_exception_through(finished, tmp_path):
    from gpdust.errors import ConfigError

    result = gpdust("fit", tmp_path / "none.toml", "--out", tmp_path / "out", "--debug")
    assert isinstance(result.exception, ConfigError)


def test_a_catalogue_is_not_written_over(tmp_path):
    """Products have names that a catalogue may have."""
    write_stars(tmp_path)
    before = (tmp_path / "stars.fits").read_bytes()
    (tmp_path / "fit.toml").write_text(CONFIG)
    refused = gpdust("fit", tmp_path / "fit.toml", "--out", tmp_path)
    assert refused.exit_code == 1
    assert "would write its own stars.fits over the catalogue" in refused.stderr
    assert (tmp_path / "stars.fits").read_bytes() == before


def test_folder_that_is_a_file(finished, tmp_path):
    folder, _ = finished
    (tmp_path / "out").write_text("")
    result = gpdust("fit", folder / "fit.toml", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "is a file; --out takes a folder" in result.stderr


def test_a_fit_may_start_from_a_vnet_or_says_why_not(tmp_path, monkeypatch):
    from gpdust.errors import EncoderError

    write_stars(tmp_path)
    config = tmp_path / "fit.toml"
    text = CONFIG.replace("particles = 4\nmax_steps = 120", 'engine = "natural"\nstart = "vnet"').replace(
        "inducing = 20", 'kind = "inducing"\ninducing = 20'
    )
    config.write_text(text)
    monkeypatch.setattr("gpdust.cli.pipeline.draw_figures", lambda *_: [])
    with_net = gpdust("fit", config, "--out", tmp_path / "with")
    assert with_net.exit_code == 0, with_net.output
    assert "start: towards a V-net's guess" in with_net.stdout
    assert "vnet" in json.loads((tmp_path / "with" / "fit.json").read_text())["seconds"]

    with monkeypatch.context() as patched:
        patched.setattr("gpdust.encoder.seed", lambda *_: None)
        dropped = gpdust("fit", config, "--out", tmp_path / "dropped")
    assert dropped.exit_code == 0, dropped.output
    assert "start: the prior's mean, which the stars prefer to a V-net's guess" in dropped.stdout

    def missing(name):
        raise EncoderError(f"there is no net {name!r} in gpdust")

    monkeypatch.setattr("gpdust.encoder.encoder.packaged", missing)
    without = gpdust("fit", config, "--out", tmp_path / "without")
    assert without.exit_code == 0, without.output
    assert (
        "note: the fit starts at the prior's mean, not from a V-net: there is no net 'small-region'" in without.stdout
    )
