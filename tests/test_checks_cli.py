"""`gpdust check` on a folder that a fit has written."""

import json
import shutil
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits
from click.testing import Result
from tiny_fit import gpdust

from gpdust import StarCatalogue
from gpdust.config import Config, build
from gpdust.errors import ConfigError
from gpdust.fitting import fit
from gpdust.model import DustModel

CONFIG = """
[catalogue]
path = "stars.fits"
[region]
l = [50, 90]
b = [-10, 10]
distance = [180, 300]
[grid]
shape = [2, 2, 6]
[prior]
inducing = 12
length_scale = 60
mean_density = 1.6e-3
learn = false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mock_stars) -> Path:
    """Posterior and record of a small fit."""
    folder = tmp_path_factory.mktemp("fit")
    mock_stars(200).write(folder / "stars.fits")
    mock_stars(100, seed=1).write(folder / "others.fits")
    (folder / "fit.toml").write_text(CONFIG)
    config = Config.read(folder / "fit.toml")
    model = DustModel(build.read_stars(config), build.fit_grid(config), build.prior(config))
    fit(model, engine="natural", progress=False).save(folder / "out" / "posterior")
    (folder / "out" / "fit.json").write_text(json.dumps({"config": config.as_dict()}))
    return folder


def test_checks_the_stars_of_the_fit(folder):
    result = gpdust("check", folder / "out")
    assert result.exit_code == 0, result.output
    assert "predictive check of 200 stars, 100 draws" in result.stdout
    assert "were fitted" in result.stdout
    record = json.loads((folder / "out" / "check.json").read_text())
    assert f"- {record['verdict'][0].split('(')[0].strip()[:60]}" in result.stdout
    assert (folder / "out" / "check.png").stat().st_size > 10_000


def test_checks_other_stars(folder):
    result = gpdust("check", folder / "out", folder / "others.fits", "--held-out", "--samples", 20)
    assert result.exit_code == 0, result.output
    assert "predictive check of 100 stars, 20 draws" in result.stdout
    record = json.loads((folder / "out" / "check.json").read_text())
    assert record["held_out"] is True
    assert np.isclose(record["statistics"]["within_68"]["expected"], 0.68, atol=0.05)


def test_errors(folder, tmp_path):
    assert "no folder" in gpdust("check", tmp_path / "none").stderr
    assert "no fit.json" in gpdust("check", folder / "out" / "posterior").stderr
    missing = gpdust("check", folder / "out", tmp_path / "none.fits")
    assert missing.exit_code == 1
    assert "none.fits" in missing.stderr
    copy = tmp_path / "copy"
    shutil.copytree(folder / "out", copy)
    for text in ('{"config": {', "{}"):
        (copy / "fit.json").write_text(text)
        damaged = gpdust("check", copy)
        assert damaged.exit_code == 1
        assert "fit.json' is damaged" in damaged.stderr


HOLDING_OUT = CONFIG.replace('path = "stars.fits"', 'path = "stars.fits"\nhold_out = 0.3').replace(
    "[2, 2, 6]", "[8, 4, 6]"
)


@pytest.fixture(scope="module")
def holding_out(tmp_path_factory, mock_stars) -> tuple[Path, Result]:
    """A fit by the command line that holds sightlines out."""
    folder = tmp_path_factory.mktemp("hold_out")
    mock_stars(600).write(folder / "stars.fits")
    (folder / "fit.toml").write_text(HOLDING_OUT)
    return folder, gpdust("fit", folder / "fit.toml", "--out", folder / "out")


def test_a_fit_says_how_many_stars_it_holds_out(holding_out):
    folder, result = holding_out
    assert result.exit_code == 0, result.output
    stars = json.loads((folder / "out" / "fit.json").read_text())["stars"]
    assert 100 < stars["held_out"] < 260
    assert stars["used"] + stars["held_out"] == 600
    assert f"held out, whole sightlines: {stars['held_out']} stars" in result.stdout
    assert f"{stars['used']} stars on the grid; held out: {stars['held_out']}, for `gpdust check" in result.stdout
    with fits.open(folder / "out" / "stars.fits") as hdus:
        used = set(hdus[1].data["row"])
    config = Config.read(folder / "fit.toml")
    _, held_out = build.split_stars(config, build.read_stars(config))
    assert not used & set(held_out.row)


def test_held_out_stars_are_checked_apart(holding_out):
    folder, _ = holding_out
    result = gpdust("check", folder / "out")
    assert result.exit_code == 0, result.output
    fitted, held_out = (
        json.loads((folder / "out" / f"{name}.json").read_text()) for name in ("check", "check_held_out")
    )
    assert (fitted["held_out"], held_out["held_out"]) == (False, True)
    assert fitted["stars"]["used"] + held_out["stars"]["used"] == 600
    assert held_out["statistics"]["within_68"]["expected"] == pytest.approx(0.68, abs=0.01)
    assert "were fitted" in result.stdout.split("held-out stars, which the fit has not seen")[0]
    assert (folder / "out" / "check_held_out.png").stat().st_size > 10_000
    assert "goes with a CATALOGUE" in gpdust("check", folder / "out", "--held-out").stderr


def test_stars_held_out_of_another_catalogue_are_not_taken_for_those_of_the_fit(holding_out, mock_stars, tmp_path):
    folder, _ = holding_out
    record = json.loads((folder / "out" / "fit.json").read_text())
    record["stars"]["held_out"] += 1
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "out" / "fit.json").write_text(json.dumps(record))
    result = gpdust("check", tmp_path / "out")
    assert result.exit_code == 1
    assert "has changed since. Fit it again" in result.stderr


def test_stars_held_out_lie_in_sightlines_of_the_region_and_follow_the_seed(mock_stars, tmp_path):
    stars = StarCatalogue.concatenate([mock_stars(600), mock_stars(600, l=(200, 240))])[np.arange(1200)]
    stars.write(tmp_path / "stars.fits")

    def split(text: str) -> tuple[StarCatalogue, StarCatalogue]:
        (tmp_path / "fit.toml").write_text(text)
        config = Config.read(tmp_path / "fit.toml")
        return build.split_stars(config, build.read_stars(config))

    fitted, held_out = split(HOLDING_OUT)
    assert np.all(held_out.l.value < 90)
    assert len(fitted) + len(held_out) == 1200
    pixels = [set(healpy.ang2pix(8, part.l.value, part.b.value, lonlat=True)) for part in (fitted, held_out)]
    assert not pixels[0] & pixels[1]
    assert len(pixels[1]) > 2
    assert set(split(HOLDING_OUT + "[fit]\nseed = 1\n")[1].row) != set(held_out.row)
    assert len(split(CONFIG)[1]) == 0
    with pytest.raises(ConfigError, match=r"\[catalogue\] hold_out = 0.01 of the sightlines .* is none; choose"):
        split(HOLDING_OUT.replace("0.3", "0.01"))
