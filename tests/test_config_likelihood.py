"""[likelihood] and the foreground in a configuration."""

from __future__ import annotations

import tomllib

import astropy.units as u
import numpy as np
import pytest

import gpdust
from gpdust import Config
from gpdust.config import build
from gpdust.config.propose import propose
from gpdust.errors import ConfigError

LEAST = {"catalogue": {"path": "stars.fits"}, "region": {"l": [50, 90], "b": [-10, 10], "distance": [180, 500]}}


def with_likelihood(text: str) -> Config:
    return Config.from_dict({**LEAST, "likelihood": tomllib.loads(text)})


@pytest.mark.parametrize(
    ("text", "noise", "learn"),
    [
        ("", gpdust.GaussianNoise(), ()),
        ("extra_scatter = 0.2", gpdust.GaussianNoise(extra=0.2), ()),
        ('extra_scatter = "learn"', gpdust.GaussianNoise(extra=0.01), ("extra",)),
        ("beyond = 4", gpdust.GaussianNoise(), ()),
        ('noise = "student-t"', gpdust.StudentNoise(degrees_of_freedom=4.0), ("degrees_of_freedom",)),
        ('noise = "student-t"\ndegrees_of_freedom = 3', gpdust.StudentNoise(degrees_of_freedom=3.0), ()),
        (
            'noise = "mixture"\nbad_share = 0.1\nbad_width = 2',
            gpdust.MixtureNoise(bad_share=0.1, bad_width=2.0),
            (),
        ),
    ],
)
def test_the_likelihood_becomes_a_treatment(catalogue, text, noise, learn):
    stars = catalogue([60.0, 61], [0.0, 1], [200.0, 250], [0.1, 0.2], [0.03, 0.03])
    treatment = build.treatment(with_likelihood(text), stars)
    assert treatment.noise == noise and treatment.learn == learn
    assert treatment.distance == "marginal" and treatment.nodes.prior is None


@pytest.mark.parametrize("measured", ["distance", "parallax", None])
def test_what_has_gaussian_errors_is_what_the_key_says_or_left_to_the_catalogue(catalogue, measured):
    stars = catalogue([60.0, 61], [0.0, 1], [200.0, 250], [0.1, 0.2], [0.03, 0.03])
    text = f'measured = "{measured}"' if measured else ""
    assert build.treatment(with_likelihood(text), stars).measured == measured


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('distance = "guess"', "marginal"),
        ('extra_scatter = "much"', 'or "learn"'),
        ("bad_share = 0.1", 'bad_share belongs to noise = "mixture"'),
        ('noise = "mixture"\nbad_share = 1.5', "bad_share must be below 1"),
        ('distance_prior = "bulge"', "exponential-disc"),
    ],
)
def test_a_likelihood_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        with_likelihood(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'extra_scatter = "learn"',
            r"\(\[likelihood\] extra_scatter = .learn.\); give numbers there, or take engine = .natural. or .mgvi.",
        ),
        (
            'noise = "student-t"\nproportional_scatter = "learn"',
            r"proportional_scatter = .learn.; degrees_of_freedom = .learn., its default\)",
        ),
        ('noise = "mixture"', r"bad_share = .learn., its default"),
    ],
)
def test_svi_refuses_noise_that_is_learned_when_the_file_is_read(text, message):
    record = {**LEAST, "prior": {"kind": "inducing"}, "likelihood": tomllib.loads(text)}
    with pytest.raises(ConfigError, match=message):
        Config.from_dict({**record, "fit": {"engine": "svi"}})
    assert Config.from_dict({**record, "fit": {"engine": "natural"}}).likelihood.learned()
    numbers = dict.fromkeys(Config.from_dict(record).likelihood.learned(), 0.5)
    given = {**record, "likelihood": record["likelihood"] | numbers, "fit": {"engine": "svi"}}
    assert Config.from_dict(given).likelihood.learned() == []


def test_foreground_cells_are_those_of_the_fit_on_the_maps_too():
    config = Config.from_dict({**LEAST, "region": {**LEAST["region"], "foreground_cells": "auto"}})
    fit, maps = build.fit_grid(config), build.map_grid(config)
    first = fit.interior_cells.start
    assert first == 4  # 180 pc in cells of five times 9.1 pc
    assert maps.interior_cells.start == first
    np.testing.assert_allclose(fit.edges[: first + 1], maps.edges[: first + 1])


def test_stars_beyond_the_grid_are_kept_if_asked(catalogue):
    stars = catalogue([60.0], [0.0], [200.0], [0.1], [0.03])
    assert build.treatment(with_likelihood("beyond = 4"), stars).nodes.beyond == 4.0
    assert build.treatment(with_likelihood(""), stars).nodes.beyond is None


def test_asymmetric_needs_two_errors(catalogue):
    stars = catalogue([60.0], [0.0], [200.0], [0.1], [0.03])
    with pytest.raises(ConfigError, match=r"\[likelihood\] asymmetric = true needs lower and upper errors"):
        build.treatment(with_likelihood("asymmetric = true"), stars)
    sides = {"extinction_lower_error": [0.02] * u.mag, "extinction_upper_error": [0.04] * u.mag}
    columns = {name: getattr(stars, name) for name in ("l", "b", "distance", "extinction", "extinction_error")}
    assert build.treatment(with_likelihood("asymmetric = true"), gpdust.StarCatalogue(**columns, **sides)).asymmetric


def test_a_foreground_density_needs_a_foreground(catalogue):
    with pytest.raises(ConfigError, match=r"\[likelihood\] foreground_density .* take \[region\] foreground_cells ="):
        with_likelihood("foreground_density = 1e-3")
    region = {**LEAST["region"], "foreground_cells": "auto"}
    record = {**LEAST, "region": region, "likelihood": {"foreground_density": 1e-3}}
    config = Config.from_dict(record)
    stars = catalogue([60.0], [0.0], [200.0], [0.1], [0.03])
    density = config.likelihood.foreground_density

    def notes(grid: gpdust.SphericalGrid) -> str:
        model = gpdust.DustModel(stars, grid, build.prior(config), foreground_density=density)
        return "\n".join(model.notes)

    assert "foreground: 0.001 mag/pc on average (as given)" in notes(build.fit_grid(config))
    bare = build.fit_grid(Config.from_dict(LEAST))
    assert "foreground_density is not used: the grid has no cells in front of the region" in notes(bare)


@pytest.mark.parametrize("cut", ["max_extinction_error", "max_distance_error_fraction"])
def test_cuts_that_leave_no_star_are_named(catalogue, tmp_path, cut):
    stars = catalogue([60.0, 61], [0.0, 1], [200.0, 250], [0.1, 0.2], [0.03, 0.03], distance_error=[9, 9] * u.pc)
    stars.write(tmp_path / "stars.fits")
    section = {"path": str(tmp_path / "stars.fits"), cut: 1e-3}
    config = Config.from_dict({**LEAST, "catalogue": section, "likelihood": {"extra_scatter": "learn"}})
    with pytest.raises(ConfigError, match=rf"\[catalogue\] {cut} = 0.001.* leaves none of the 2 stars"):
        build.read_stars(config)


def test_init_proposes_what_errors_ask_for(catalogue):
    rng = np.random.default_rng(0)
    d = rng.uniform(200, 400, 500)
    plain = {"l": rng.uniform(50, 60, 500) * u.deg, "b": rng.uniform(-5, 5, 500) * u.deg, "distance": d * u.pc}
    plain |= {"extinction": 1e-3 * d * u.mag, "extinction_error": np.full(500, 0.02) * u.mag}
    exact = propose(gpdust.StarCatalogue(**plain)).sections
    assert exact["likelihood"] == {"extra_scatter": "learn", "proportional_scatter": "learn"}
    assert "background" not in exact["region"]
    uncertain = propose(gpdust.StarCatalogue(**plain, distance_error=0.1 * d * u.pc)).sections
    assert uncertain["likelihood"]["distance"] == "marginal"
    assert uncertain["region"]["foreground_cells"] == "auto"
    assert uncertain["region"]["background"] == pytest.approx(78, abs=3)
