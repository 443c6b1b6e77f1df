"""Stars that may lie behind the region: background cells, bounds, and what is said of them."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpdust
from gpdust.config import Config, build
from gpdust.likelihood import MarginalLikelihood, NodeOptions

DENSITY, FAR = 1e-3, 300.0
PER_PC = u.mag / u.pc


def uniform_sky(count: int = 4000, seed: int = 0, errors: bool = True) -> gpdust.StarCatalogue:
    """Uniform dust and stars from the Sun to 500 pc, with errors of 10 % of the distance."""
    rng = np.random.default_rng(seed)
    distance = 500 * rng.uniform(0.2**3, 1, count) ** (1 / 3)
    measured = distance * (1 + 0.1 * rng.standard_normal(count)) if errors else distance
    return gpdust.StarCatalogue(
        l=rng.uniform(50, 60, count) * u.deg,
        b=rng.uniform(-5, 5, count) * u.deg,
        distance=measured * u.pc,
        distance_error=0.1 * measured * u.pc if errors else None,
        extinction=(DENSITY * distance + 0.02 * rng.standard_normal(count)) * u.mag,
        extinction_error=np.full(count, 0.02) * u.mag,
    )


def region(background: u.Quantity = 0 * u.pc) -> gpdust.Region:
    return gpdust.Region(
        (50, 60) * u.deg, (-5, 5) * u.deg, (100, FAR) * u.pc, foreground_cells=1, background=background
    )


def model(stars: gpdust.StarCatalogue, background: u.Quantity = 0 * u.pc, **nodes) -> gpdust.DustModel:
    prior = gpdust.SpectralGP("matern32", 60 * u.pc, 0.2, DENSITY * PER_PC, learn=False)
    treatment = gpdust.StarTreatment(nodes=NodeOptions(**nodes))
    return gpdust.DustModel(stars, region(background).grid((1, 1, 10)), prior, treatment=treatment)


def last_cells(model: gpdust.DustModel) -> np.ndarray:
    """Of the region, mean over draws, over the truth."""
    density, _ = gpdust.fit(model, progress=False).sample(model.grid, count=40)
    return density.value.mean(0)[:, model.grid.interior_cells][0, -3:] / DENSITY


def test_background_cells_take_up_the_dust_behind_the_region():
    stars = uniform_sky()
    padding = gpdust.StarTreatment().padding(stars, FAR * u.pc)
    assert_allclose(padding.value, 2 * 0.1 * FAR, rtol=0.05)
    padded = model(stars, padding)
    assert_allclose(last_cells(padded), 1, atol=0.15)
    assert not padded.stars_used.cut and "background" not in " ".join(padded.notes)
    assert last_cells(model(stars))[-1] > 1.5


def test_stars_that_are_cut_off_at_the_far_end_are_counted_and_said():
    stars = uniform_sky()
    cut = model(stars)
    beyond = (stars.distance.value > FAR - 0.6 * 30) & (stars.distance.value <= FAR)
    assert cut.stars_used.cut == pytest.approx(beyond.sum(), rel=0.3)
    assert f"{cut.stars_used.cut} stars of the region have over a quarter" in " ".join(cut.notes)
    assert "may well lie beyond its far end" in str(cut.stars_used)


def test_no_padding_is_asked_for_where_distances_count_as_exact():
    assert gpdust.StarTreatment().padding(uniform_sky(errors=False), FAR * u.pc) == 0 * u.pc
    assert gpdust.StarTreatment(distance="ignore").padding(uniform_sky(), FAR * u.pc) == 0 * u.pc
    assert gpdust.StarTreatment().padding(uniform_sky(), 1 * u.pc) == 0 * u.pc


def test_a_configuration_gets_the_padding_that_its_stars_ask_for_unless_it_says_how_much():
    record = {
        "catalogue": {"path": "stars.csv"},
        "region": {"l": [50, 60], "b": [-5, 5], "distance": [100, FAR]},
        "grid": {"shape": [2, 2, 10]},
    }
    stars = uniform_sky()
    chosen = build.fit_grid(Config.from_dict(record), stars)
    assert chosen.shape == (4, 10 + 3) and chosen.interior.edges[-1] == FAR
    assert build.map_grid(Config.from_dict(record)).edges[-1] > 0
    assert build.fit_grid(Config.from_dict(record | {"likelihood": {"distance": "ignore"}}), stars).shape == (4, 10)
    record["region"] = record["region"] | {"background": 20}
    assert build.fit_grid(Config.from_dict(record), stars).shape == (4, 10 + 1)


@pytest.mark.parametrize("errors", [False, True])
def test_stars_beyond_the_far_end_are_bounds_if_asked_whatever_their_distances(errors):
    stars = uniform_sky(400, errors=errors)
    without, bounded = model(stars, 60 * u.pc), model(stars, 60 * u.pc, beyond=1.0)
    assert isinstance(bounded.likelihood, MarginalLikelihood)
    assert without.stars_used.too_far > 50 and not without.stars_used.bounds
    assert bounded.stars_used.bounds == pytest.approx(without.stars_used.too_far, rel=0.1)
    assert not bounded.stars_used.too_far
    assert bounded.stars_used.used == pytest.approx(without.stars_used.used + without.stars_used.too_far, abs=2)
    assert f"as bounds from beyond its far end ({bounded.stars_used.bounds})" in str(bounded.stars_used)
    posterior = gpdust.fit(bounded, progress=False)
    assert len(posterior.star_table(stars)) == bounded.stars_used.used
