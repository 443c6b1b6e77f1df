"""`gpdust check` on a folder that a fit has written."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from gpdust.cli import main
from gpdust.config import Config, build
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


def gpdust(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


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
