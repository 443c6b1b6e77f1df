"""The command line around the fit: help, version, `init`, `demo`, start-up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import gpdust as package
from gpdust.cli import main, simulation
from gpdust.simulate import GridTruth


def gpdust(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", ["demo", "fit", "query", "check", "init", "train-vnet"])
def test_help_has_examples(command):
    result = gpdust(command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n      gpdust {command}" in result.output
    assert command in gpdust("--help").output


def test_version():
    assert gpdust("--version").output == f"gpdust {package.__version__}\n"


def test_help_does_not_load_torch():
    code = (
        "import sys; from gpdust.cli import main; main(['--help'], standalone_mode=False); "
        "assert 'torch' not in sys.modules and 'astropy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_module_runs_as_command():
    shown = subprocess.run([sys.executable, "-m", "gpdust", "--version"], check=True, capture_output=True, text=True)
    assert shown.stdout == f"gpdust {package.__version__}\n"


def test_public_names_load_when_used():
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert package.fit.__module__ == "gpdust.fitting"
    assert package.simulate.simulated_clumps
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        package.fitt  # noqa: B018


def test_too_little_memory_is_said(monkeypatch):
    def allocate(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 7.3 TiB")

    monkeypatch.setattr("gpdust.config.config.Config.read", allocate)
    result = gpdust("fit", "some.toml", "--out", "some")
    assert result.exit_code == 1
    assert (
        "error: there is not enough memory: take fewer cells or latents (Unable to allocate 7.3 TiB)" in result.stderr
    )


def test_unknown_command_is_wrong_usage():
    assert gpdust("fti").exit_code == 2


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(simulation, "QUICK", simulation.Scale(2000, (4, 4, 6), (8, 8, 10)))
        return folder, gpdust("demo", "--quick", "--seed", 3, "--out", folder)


def test_demo_scores_against_the_truth(demo):
    folder, result = demo
    assert result.exit_code == 0, result.output
    scores = json.loads((folder / "scores.json").read_text())
    assert 0 < scores["error_median"] < 0.5
    assert scores["cells"] == 640
    assert scores["seed"] == 3
    assert f"median {scores['error_median']:.1%}" in result.stdout
    assert (folder / "truth.png").stat().st_size > 10_000
    assert GridTruth.read(folder / "truth.fits").grid.shape == (10_000, 115)


def test_demo_leaves_a_configuration_that_fit_takes(demo):
    folder, _ = demo
    config = package.Config.read(folder / "demo.toml")
    assert config.fit.seed == 3
    assert config.fit.engine == "auto"
    assert config.prior.kind == "spectral"
    assert config.as_dict() == json.loads((folder / "fit.json").read_text())["config"]
    result = gpdust("fit", folder / "demo.toml", "--out", folder)
    assert result.exit_code == 0, result.output
    assert "this fit is finished" in result.stdout


def test_demo_with_inducing_points(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "QUICK", simulation.Scale(2000, (4, 4, 6), (8, 8, 10)))
    result = gpdust("demo", "--quick", "--inducing", 20, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "engine      natural (20 inducing points" in result.stdout
    assert package.Config.read(tmp_path / "demo.toml").prior.inducing == 20


def test_demo_keeps_another_demo(demo):
    folder, _ = demo
    before = (folder / "catalogue.fits").read_bytes()
    result = gpdust("demo", "--quick", "--seed", 4, "--out", folder)
    assert result.exit_code == 1
    assert "[fit] seed" in result.stderr
    assert (folder / "catalogue.fits").read_bytes() == before


def test_demo_keeps_what_is_not_its_own(tmp_path):
    (tmp_path / "catalogue.fits").write_text("mine")
    result = gpdust("demo", "--quick", "--out", tmp_path)
    assert result.exit_code == 1
    assert "holds catalogue.fits of something else" in result.stderr
    assert (tmp_path / "catalogue.fits").read_text() == "mine"


def test_init_writes_what_fit_accepts(demo, tmp_path):
    folder, _ = demo
    out = tmp_path / "my.toml"
    result = gpdust("init", folder / "catalogue.fits", "--out", out, "--l", 55, 85)
    assert result.exit_code == 0, result.output
    config = package.Config.read(out)
    assert config.catalogue.path == folder / "catalogue.fits"
    assert config.region.l.value.tolist() == [55, 85]
    assert config.prior.kind == "spectral"
    for words in ("gpdust fit", 'engine = "mgvi" (proposed)', 'engine = "natural"', 'engine = "svi"'):
        assert words in result.stdout
    again = gpdust("init", folder / "catalogue.fits", "--out", out)
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert gpdust("init", folder / "catalogue.fits", "--out", out, "--force").exit_code == 0
    assert package.Config.read(out).region.l.value.tolist() == [50, 90]


def test_init_errors(demo, tmp_path):
    folder, _ = demo
    assert "there is no file" in gpdust("init", tmp_path / "none.fits", "--out", tmp_path / "c.toml").stderr
    wrong = gpdust("init", folder / "catalogue.fits", "--out", tmp_path / "c.toml", "--column", "extinction")
    assert wrong.exit_code == 2
    assert "NAME=COLUMN" in wrong.stderr
    assert (
        "there is no preset 'hunt'"
        in gpdust("init", folder / "catalogue.fits", "--preset", "hunt", "--out", tmp_path / "c.toml").stderr
    )
    assert not (tmp_path / "c.toml").exists()
