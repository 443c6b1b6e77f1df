"""Configurations: defaults, units, and errors that name file, section and key and suggest the nearest."""

import copy

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpdust import Config
from gpdust.config import build
from gpdust.errors import ConfigError

LEAST = {"catalogue": {"path": "stars.fits"}, "region": {"l": [50, 90], "b": [-10, 10], "distance": [180, 500]}}

CONTRACT = """
[catalogue]
path = "stars.fits"
band = "A0"
[catalogue.columns]
l = "l"
b = "b"
distance = "distance"
distance_error = ["d16", "d84"]
extinction = "extinction"
extinction_error = "extinction_error"
[catalogue.units]
distance = "pc"
[region]
l = [50, 90]
b = [-10, 10]
distance = [180, 500]
foreground_cells = 0
[grid]
shape = [20, 20, 35]
[prior]
kind = "inducing"
kernel = "rbf"
inducing = 1000
length_scale = 20
amplitude = 0.3
mean_density = 1.6e-3
[fit]
engine = "svi"
seed = 0
[maps]
shape = [100, 100, 105]
percentiles = [16, 50, 84]
samples = 100
"""


def with_keys(**sections) -> dict:
    record = copy.deepcopy(LEAST)
    for name, keys in sections.items():
        record[name] = {**record.get(name, {}), **keys} if isinstance(keys, dict) else keys
    return record


def test_contract_reads_with_units(tmp_path):
    path = tmp_path / "fit.toml"
    path.write_text(CONTRACT)
    config = Config.read(path)
    assert config.catalogue.path == tmp_path / "stars.fits"
    assert config.catalogue.columns["distance_error"] == ("d16", "d84")
    assert config.catalogue.units == {"distance": "pc"}
    assert_array_equal(config.region.distance, [180, 500] * u.pc)
    assert config.prior.length_scale == 20 * u.pc
    assert config.prior.mean_density == 1.6e-3 * u.mag / u.pc
    assert config.maps.percentiles == (16, 50, 84)


def test_only_catalogue_and_region_are_needed():
    config = Config.from_dict(LEAST)
    assert config.grid.shape == (20, 20, 35)
    assert config.grid.b_spacing == "sin"
    assert config.maps.b_spacing == "uniform"
    assert config.prior.inducing == 1000
    assert config.prior.learn is True
    assert config.fit.particles == 32
    assert config.region.background == 0 * u.pc
    assert config.catalogue.preset is None


def test_as_dict_round_trips_and_is_complete():
    record = with_keys(
        prior={"length_scale": [10, 20, 5], "learn": ["amplitude"]}, catalogue={"columns": {"l": "GLON"}}
    )
    plain = Config.from_dict(record, "/somewhere").as_dict()
    assert plain["prior"]["length_scale"] == [10, 20, 5]
    assert plain["prior"]["learn"] == ["amplitude"]
    assert plain["catalogue"]["path"] == "/somewhere/stars.fits"
    assert plain["catalogue"]["columns"] == {"l": "GLON"}
    assert "preset" not in plain["catalogue"]
    assert Config.from_dict(plain).as_dict() == plain


def test_path_counts_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "fit.toml"
    path.write_text(CONTRACT.replace("stars.fits", "../data/stars.fits"))
    assert Config.read(path).catalogue.path == tmp_path / "data" / "stars.fits"
    path.write_text(CONTRACT.replace("stars.fits", "/data/stars.fits"))
    assert str(Config.read(path).catalogue.path) == "/data/stars.fits"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            with_keys(prior={"lenght_scale": 3}),
            "my.toml: [prior] has no key 'lenght_scale'; did you mean 'length_scale'?",
        ),
        (with_keys(priro={"kernel": "rbf"}), "my.toml has no section [priro]; did you mean [prior]?"),
        (with_keys(grid={"xyz": 1}), "[grid] has no key 'xyz'; there are 'shape', 'b_spacing', 'distance_spacing'"),
        (with_keys(catalogue={"columns": {"distanc": "d"}}), "[catalogue.columns] has no key 'distanc'; did you mean"),
        (with_keys(catalogue={"columns": {"l": 3}}), "[catalogue.columns] l must be the name of a column"),
        (with_keys(catalogue={"units": {"l": "dgree"}}), '[catalogue.units] l must be a unit in quotes, such as "kpc"'),
        (with_keys(catalogue={"preset": "hunt2032"}), '[catalogue] preset must be one of "fouesneau2022"'),
        (with_keys(catalogue={"strict": 1}), "[catalogue] strict must be true or false, got 1"),
        (with_keys(grid={"shape": [20, 20]}), "[grid] shape must be three positive whole numbers"),
        (with_keys(grid={"shape": [20, 20, 0]}), "got [20, 20, 0]"),
        (with_keys(grid={"shape": [20, 20, 3.5]}), "got [20, 20, 3.5]"),
        (with_keys(grid=3), "[grid] must be a section with keys, got grid = 3"),
        (with_keys(region={"l": [50]}), "[region] l must be two numbers (deg), such as l = [50, 90], got [50]"),
        (with_keys(region={"b": ["a", "b"]}), "[region] b must be two numbers (deg)"),
        (with_keys(region={"background": -1}), "[region] background must be a number (pc), 0 or more, got -1"),
        (with_keys(prior={"kernel": "rfb"}), '[prior] kernel must be one of "rbf", "matern12"'),
        (with_keys(prior={"inducing": True}), "[prior] inducing must be a whole number, 1 or more, got true"),
        (with_keys(prior={"length_scale": [1, 2]}), "[prior] length_scale must be a positive number (pc), or three"),
        (with_keys(prior={"mean_density": 0}), "[prior] mean_density must be a positive number (mag / pc), got 0"),
        (with_keys(prior={"amplitude": float("nan")}), "[prior] amplitude must be a positive number, got nan"),
        (with_keys(fit={"engine": "mcmc"}), '[fit] engine must be one of "svi", got "mcmc"'),
        (with_keys(fit={"seed": -1}), "[fit] seed must be a whole number, 0 or more, got -1"),
        (with_keys(maps={"percentiles": [50, 101]}), "[maps] percentiles must be a list of numbers between 0 and 100"),
        ({"region": LEAST["region"]}, "[catalogue] needs the key 'path'"),
        ({"catalogue": LEAST["catalogue"]}, "[region] needs the key 'l': two numbers (deg)"),
    ],
)
def test_errors_name_section_and_key(record, message):
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(record, where="my.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("my.toml")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no configuration .*gpdust init"):
        Config.read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        Config.read(tmp_path)
    path = tmp_path / "bad.toml"
    path.write_text("[grid\nshape = 3")
    with pytest.raises(ConfigError, match=r"bad.toml' is not a TOML file: .*line 1"):
        Config.read(path)


def test_builds_grids_of_one_region():
    config = Config.from_dict(
        with_keys(
            region={"foreground_cells": 2, "background": 40}, grid={"shape": [4, 5, 8]}, maps={"shape": [6, 7, 16]}
        )
    )
    fit_grid, map_grid = build.fit_grid(config), build.map_grid(config)
    assert fit_grid.shape == (20, 2 + 8 + 1)
    assert fit_grid.edges[-1] == 540
    assert map_grid.shape == (42, 2 + 16)
    assert map_grid.edges[-1] == 500
    assert_array_equal(map_grid.interior.edges[[0, -1]], [180, 500])
    assert_allclose(np.diff(map_grid.b_edges.value), 20 / 7)


def test_builds_the_prior():
    config = Config.from_dict(
        with_keys(prior={"kernel": "matern32", "inducing": 7, "length_scale": [10, 20, 5], "learn": ["amplitude"]})
    )
    prior = build.prior(config)
    values = prior.hyperparameters.report(None)
    assert prior.latent_size == 7
    assert prior.theta_size == 1
    assert [values[f"length_scale_{axis}"] for axis in "xyz"] == pytest.approx([10, 20, 5])


@pytest.mark.parametrize(
    ("sections", "make", "message"),
    [
        ({"region": {"b": [10, -10]}}, build.fit_grid, r"\[region\] region b must increase"),
        (
            {"region": {"distance": [0, 9]}, "grid": {"distance_spacing": "log"}},
            build.fit_grid,
            r"\[grid\] .*beyond the Sun",
        ),
        ({"prior": {"learn": ["lenght"]}}, build.prior, r"\[prior\] no hyperparameter is called 'lenght'"),
    ],
)
def test_errors_of_what_is_built_name_the_section(sections, make, message):
    with pytest.raises(ConfigError, match=message):
        make(Config.from_dict(with_keys(**sections)))
