"""Configurations: defaults, units, and errors that name file, section and key and suggest the nearest."""

import copy
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpdust import Config, InducingGP, SpectralGP
from gpdust.config import build
from gpdust.config.sections import FORMS
from gpdust.errors import ConfigError
from gpdust.fitting import choose_engine
from gpdust.inference import NewtonOptions, SVIOptions

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
    assert config.prior.kind == "spectral"
    assert config.prior.kernel == "matern32"
    assert config.prior.length_scale == 30 * u.pc
    assert config.prior.amplitude == 0.2
    assert config.prior.box_spacing is None
    assert config.prior.learn is True
    assert config.fit.engine == "auto"
    assert config.fit.samples == "auto"
    assert config.region.background == "auto"
    assert config.catalogue.preset is None


@pytest.mark.parametrize("key", [{"inducing": 500}, {"placement": "stars"}, {"learn_inducing": False}])
def test_a_file_from_before_there_were_kinds_still_means_inducing_points(key):
    config = Config.from_dict(with_keys(prior=key))
    assert config.prior.kind == "inducing"
    assert config.prior.kernel == "rbf"
    assert config.prior.length_scale == 20 * u.pc
    assert config.prior.amplitude == 0.3
    assert isinstance(build.prior(config), InducingGP)


def test_particles_still_mean_svi():
    config = Config.from_dict(with_keys(prior={"inducing": 9}, fit={"particles": 4, "max_steps": 450}))
    assert config.fit.engine == "svi"
    assert build.engine_options(config) == {
        "max_steps": 450,
        "particles": 4,
        "natural_gradients": True,
        "tolerance": 1.0,
    }
    assert build.engine_settings(config) == SVIOptions(max_steps=450, particles=4)


@pytest.mark.parametrize("fit", [{}, {"engine": "auto"}, {"particles": 4}, {"engine": "auto", "particles": 4}])
def test_auto_takes_svi_for_inducing_points_that_are_learned(fit):
    config = Config.from_dict(with_keys(prior={"learn_inducing": True}, fit=fit))
    assert choose_engine(build.prior(config))[0] == config.fit.engine == "svi"
    assert build.engine_settings(config) == SVIOptions(**({"particles": 4} if "particles" in fit else {}))
    assert Config.from_dict(config.as_dict()).as_dict() == config.as_dict()


@pytest.mark.parametrize("engine", ["auto", "mgvi"])
def test_settings_of_an_engine_have_its_own_defaults(engine):
    config = Config.from_dict(with_keys(fit={"engine": engine, "samples": 8}))
    assert build.engine_settings(config) == NewtonOptions(samples=8)


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


@pytest.mark.parametrize(
    "sections",
    [
        {"prior": {"kernel": ["rbf", "matern12"], "length_scale": [60, [10, 20, 5]], "amplitude": [0.2, 0.1]}},
        {"prior": {"kernel": "spectrum", "box_spacing": 8}, "fit": {"samples": 6}},
        {"prior": {"inducing": 5}, "fit": {"engine": "natural", "samples": 6}},
        {"prior": {"inducing": 5, "learn_inducing": True}, "fit": {"engine": "svi"}},
    ],
)
def test_every_form_round_trips(sections):
    plain = Config.from_dict(with_keys(**sections)).as_dict()
    assert Config.from_dict(plain).as_dict() == plain


def test_path_counts_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "fit.toml"
    path.write_text(CONTRACT.replace("stars.fits", "../data/stars.fits"))
    assert Config.read(path).catalogue.path == tmp_path / "data" / "stars.fits"
    path.write_text(CONTRACT.replace("stars.fits", "/data/stars.fits"))
    assert str(Config.read(path).catalogue.path) == "/data/stars.fits"
    path.write_text(CONTRACT.replace("stars.fits", "~/stars.fits"))
    assert Config.read(path).catalogue.path == Path.home() / "stars.fits"


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
        (with_keys(catalogue={"hold_out": 1}), "[catalogue] hold_out must be a number from 0 on, below 1, got 1"),
        (with_keys(catalogue={"hold_out": -0.1}), "[catalogue] hold_out must be a number from 0 on, below 1, got -0.1"),
        (with_keys(catalogue={"strict": 1}), "[catalogue] strict must be true or false, got 1"),
        (with_keys(grid={"shape": [20, 20]}), "[grid] shape must be three positive whole numbers"),
        (with_keys(grid={"shape": [20, 20, 0]}), "got [20, 20, 0]"),
        (with_keys(grid={"shape": [20, 20, 3.5]}), "got [20, 20, 3.5]"),
        (with_keys(grid=3), "[grid] must be a section with keys, got grid = 3"),
        (with_keys(region={"l": [50]}), "[region] l must be two numbers (deg), such as l = [50, 90], got [50]"),
        (with_keys(region={"b": ["a", "b"]}), "[region] b must be two numbers (deg)"),
        (
            with_keys(region={"background": -1}),
            '[region] background must be a number (pc), 0 or more, or "auto", got -1',
        ),
        (with_keys(prior={"kernel": "rfb"}), '[prior] kernel must be one of "rbf", "matern12"'),
        (
            with_keys(prior={"kind": "inducing", "kernel": "spectrum"}),
            '[prior] kernel "spectrum" needs kind = "spectral" (and no key of inducing points); '
            "a prior on inducing points takes rbf, matern12, matern32, matern52",
        ),
        (with_keys(prior={"kernel": ["rbf", "spectrum"], "inducing": 3}), '[prior] kernel "spectrum" needs kind'),
        (with_keys(prior={"kernel": []}), "or a list of these for a sum, got []"),
        (with_keys(prior={"kind": "fourier"}), '[prior] kind must be one of "spectral", "inducing", got "fourier"'),
        (
            with_keys(prior={"kind": "spectral", "inducing": 500}),
            '[prior] inducing goes with kind = "inducing", but here it is "spectral"; '
            "leave inducing out, or change kind",
        ),
        (with_keys(prior={"kind": "spectral", "placement": "stars"}), '[prior] placement goes with kind = "inducing"'),
        (
            with_keys(prior={"kind": "inducing", "box_spacing": 8}),
            '[prior] box_spacing goes with kind = "spectral", but here it is "inducing"',
        ),
        (
            with_keys(prior={"box_spacing": 8, "inducing": 500}),
            "but here it is \"inducing\" (as the key 'inducing' says)",
        ),
        (with_keys(prior={"box_spacin": 8}), "[prior] has no key 'box_spacin'; did you mean 'box_spacing'?"),
        (with_keys(prior={"inducin": 8}), "[prior] has no key 'inducin'; did you mean 'inducing'?"),
        (with_keys(prior={"box_spacing": 0}), "[prior] box_spacing must be a positive number (pc), got 0"),
        (
            with_keys(prior={"kernel": ["rbf", "rbf"], "length_scale": [9, 9, 9], "amplitude": [1, 1]}),
            "[prior] length_scale must be a list of 2, each a number (pc) or three (x, y, z), one for each part of the "
            "sum in kernel, got a list of 3",
        ),
        (
            with_keys(prior={"kernel": ["rbf", "rbf"], "length_scale": [[9, 9, 9], 50]}),
            "[prior] amplitude must be a list of 2 (dex), one for each part of the sum in kernel, got 0.2",
        ),
        (with_keys(prior={"kernel": ["rbf", "rbf"], "amplitude": [1, 1]}), "[prior] length_scale must be a list of 2"),
        (with_keys(prior={"amplitude": [0.2, 0.1]}), "[prior] amplitude must be one number (dex) for one kernel, got"),
        (with_keys(prior={"length_scale": [[1, 2]]}), "[prior] length_scale must be a positive number (pc), or three"),
        (
            with_keys(fit={"engine": "natural"}),
            '[fit] engine "natural" needs [prior] kind = "inducing", but it is "spectral"; '
            'take engine = "mgvi" or "auto", or a prior on inducing points',
        ),
        (with_keys(fit={"engine": "svi"}), '[fit] engine "svi" needs [prior] kind = "inducing"'),
        (
            with_keys(prior={"inducing": 5, "learn_inducing": True}, fit={"engine": "natural"}),
            '[prior] learn_inducing = true needs [fit] engine = "svi", but it is "natural"',
        ),
        (
            with_keys(prior={"inducing": 5, "learn_inducing": True}, fit={"engine": "auto", "samples": 8}),
            '[fit] samples is no setting of engine "svi", which [prior] learn_inducing = true takes; leave samples out',
        ),
        (
            with_keys(prior={"learn_inducing": True}, likelihood={"noise": "mixture"}),
            "can't learn the stars' noise ([likelihood] bad_share = \"learn\", its default)",
        ),
        (with_keys(fit={"samples": 7}), '[fit] samples must be an even whole number, 2 or more, or "auto", got 7'),
        (with_keys(fit={"samples": 0}), '[fit] samples must be an even whole number, 2 or more, or "auto", got 0'),
        (
            with_keys(fit={"engine": "svi", "samples": 8}),
            '[fit] samples goes with engine = "auto", "natural" or "mgvi", but here it is "svi"',
        ),
        (
            with_keys(fit={"engine": "mgvi", "particles": 8}),
            '[fit] particles goes with engine = "svi", but here it is "mgvi"; leave particles out, or change engine',
        ),
        (with_keys(prior={"inducing": True}), "[prior] inducing must be a whole number, 1 or more, got true"),
        (with_keys(prior={"length_scale": [1, 2]}), "[prior] length_scale must be a positive number (pc), or three"),
        (with_keys(prior={"mean_density": 0}), "[prior] mean_density must be a positive number (mag / pc), got 0"),
        (with_keys(prior={"amplitude": float("nan")}), "[prior] amplitude must be a positive number, or a list"),
        (with_keys(fit={"engine": "mcmc"}), '[fit] engine must be one of "auto", "natural", "mgvi", "svi", got'),
        (with_keys(fit={"seed": -1}), "[fit] seed must be a whole number from 0 to 2⁶³ − 1, got -1"),
        (with_keys(fit={"seed": 2**63}), "[fit] seed must be a whole number from 0 to 2⁶³ − 1, got"),
        (with_keys(prior={"amplitude": 10**400}), "[prior] amplitude must be a positive number, or a list"),
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


def test_documented_defaults_are_those_of_the_code():
    text = (Path(__file__).resolve().parents[1] / "docs/configuration.md").read_text(encoding="utf-8")
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    assert len(blocks) == 5
    assert "network" in blocks.pop()  # that of train-vnet; see test_cli_train_vnet.py
    examples = {"box_spacing": 8}
    for block in blocks:
        if block.get("fit", {}).get("engine") == "svi":
            block["prior"] = {"kind": "inducing"}
        config = Config.from_dict(LEAST | block).as_dict()
        is_sum = isinstance(config["prior"]["kernel"], list)
        least = {"prior": {"kind": config["prior"]["kind"]}, "fit": {"engine": config["fit"]["engine"]}}
        defaults = Config.from_dict(LEAST | least).as_dict()
        for section in block.keys() - LEAST.keys() - ({"prior"} if is_sum else set()):
            expected = defaults[section] | (examples if section == "prior" and "box_spacing" in block[section] else {})
            assert block[section] == {name: expected[name] for name in block[section]}


def test_every_key_is_documented():
    text = (Path(__file__).resolve().parents[1] / "docs/configuration.md").read_text(encoding="utf-8")
    of_a_fit = text.split("## `gpdust train-vnet`")[0]
    named = set(re.findall(r"^(?:# )?\[?(?:\w+\.)?(\w+)(?: =|\])", of_a_fit, re.MULTILINE))
    sections = [*get_type_hints(Config).values(), *(form for forms in FORMS.values() for form in forms.of.values())]
    assert {key.name for section in sections for key in fields(section)} <= named


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
    assert isinstance(prior, InducingGP)
    assert prior.latent_size == 7
    assert prior.theta_size == 1
    assert [values[f"length_scale_{axis}"] for axis in "xyz"] == pytest.approx([10, 20, 5])


def test_builds_a_spectral_prior():
    config = Config.from_dict(with_keys(prior={"length_scale": [10, 20, 5], "box_spacing": 8, "learn": False}))
    prior = build.prior(config)
    assert isinstance(prior, SpectralGP)
    assert prior.kernel_name == "matern32"
    assert prior.box_spacing == 8
    assert prior.theta_size == 0
    values = prior.hyperparameters.report(None)
    assert [values[f"length_scale_{axis}"] for axis in "xyz"] == pytest.approx([10, 20, 5])
    assert values["amplitude"] == pytest.approx(0.2)


def test_a_sum_has_the_same_hyperparameters_in_either_prior():
    keys = {"kernel": ["matern32", "rbf"], "length_scale": [60, [10, 20, 5]], "amplitude": [0.2, 0.1]}
    spectral = build.prior(Config.from_dict(with_keys(prior=keys)))
    inducing = build.prior(Config.from_dict(with_keys(prior=keys | {"inducing": 6})))
    assert isinstance(inducing, InducingGP)
    values = inducing.hyperparameters.report(None)
    assert values == pytest.approx(spectral.hyperparameters.report(None))
    assert values["length_scale_1_z"] == pytest.approx(60)
    assert values["length_scale_2_y"] == pytest.approx(20)
    assert values["amplitude_2"] == pytest.approx(0.1)
    assert spectral.kernel_name == inducing.kernel_name == "matern32 + rbf"


def test_a_sum_takes_a_number_for_each_part():
    keys = {"kernel": ["rbf", "matern12", "spectrum"], "length_scale": [50, 20, 30], "amplitude": [0.3, 0.2, 0.1]}
    values = build.prior(Config.from_dict(with_keys(prior=keys))).hyperparameters.report(None)
    assert [values[name] for name in ("length_scale_1_x", "length_scale_2_z", "length_scale_3")] == pytest.approx(
        [50, 20, 30]
    )


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
