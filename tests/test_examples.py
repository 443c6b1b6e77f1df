"""The example scripts run, write what they say, and fail with a message where a file is missing."""

import runpy
import sys
from pathlib import Path

import pytest

from gpdust.config import Config
from gpdust.posterior import PercentileMaps, Posterior

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CLUSTERS = Path(__file__).resolve().parents[2] / "shared/data/hunt2023_clusters.csv"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script as a user would, and return what it prints."""

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("name", "sightline"), [("orion.py", "orion_nebula.png"), ("taurus.py", "tmc2.png")])
def test_regions(run, tmp_path, name, sightline):
    printed = run(name, "--quick", "--out", tmp_path)
    assert "stars from mock" in printed
    assert "mag / pc, extinction" in printed
    for picture in ("slices", "uncertainty", "extinction", "trace"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 10_000
    assert (tmp_path / sightline).is_file()
    assert PercentileMaps.read(tmp_path / "maps.fits").percentiles == (16, 50, 84)
    assert Posterior.load(tmp_path / "posterior").report.steps > 0


@pytest.mark.parametrize("name", ["orion.py", "taurus.py", "hunt2023.py"])
def test_a_missing_file_is_a_message(run, tmp_path, name):
    with pytest.raises(SystemExit, match=r"nowhere\.csv"):
        run(name, "--quick", "--catalogue", tmp_path / "nowhere.csv", "--out", tmp_path)


@pytest.mark.skipif(not CLUSTERS.is_file(), reason=f"needs the real catalogue at {CLUSTERS}")
def test_hunt2023(run, tmp_path):
    printed = run("hunt2023.py", "--quick", "--catalogue", CLUSTERS, "--out", tmp_path)
    assert "3716 clusters fitted, 929 held out" in printed
    assert "verdict" in printed and "degrees_of_freedom" in printed
    for picture in ("check", "residuals", "top_down"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 10_000


def test_the_configuration_of_hunt2023_is_valid():
    config = Config.read(EXAMPLES / "hunt2023.toml")
    assert config.catalogue.preset == "hunt2023"
    assert config.region.distance[1].value == 3000
