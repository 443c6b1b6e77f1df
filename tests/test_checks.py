"""Predictive checks where the truth is a draw of the posterior: all is right, or wrong in a known way."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import astropy.units as u
import healpy
import matplotlib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest, norm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import gpdust
from gpdust.checks.verdict import NOTHING
from gpdust.errors import CatalogueError, PosteriorError
from gpdust.grid import Region
from gpdust.likelihood import NodeOptions
from gpdust.los import extinction_at, locate_stars
from gpdust.posterior import FullSpread

REGION = Region(l=(50, 90) * u.deg, b=(-10, 10) * u.deg, distance=(180, 500) * u.pc)
GRID = REGION.grid((4, 3, 20))
NODES = NodeOptions(least_share=0.0, parts=2)  # no star is left out, so that the distance prior is that of the stars
SIGMA, DISTANCE_ERROR = 0.05, 25.0


@dataclass
class World:
    """A posterior, and what stars see where the truth is one of its draws."""

    posterior: gpdust.Posterior

    def treated(self, **options) -> gpdust.Posterior:
        return replace(self.posterior, treatment=gpdust.StarTreatment(nodes=NODES, **options))

    def stars(
        self,
        n: int = 4000,
        seed: int = 0,
        noise: Callable[[np.random.Generator, int], np.ndarray] = lambda rng, n: SIGMA * rng.standard_normal(n),
        distance_error: float = 0.0,
        excess: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda l, d: 0.0,
        **columns,
    ) -> gpdust.StarCatalogue:
        """Stars that fill space evenly."""
        rng = np.random.default_rng(seed)
        near, far = GRID.edges[[0, -1]]
        l, d = rng.uniform(50, 90, n), np.cbrt(rng.uniform(near**3, far**3, n))
        b = np.rad2deg(np.arcsin(rng.uniform(-1, 1, n) * np.sin(np.deg2rad(10))))
        _, truth = self.posterior.sample(count=1, seed=1234)
        extinction = extinction_at(torch.from_numpy(truth.value), locate_stars(GRID, l, b, d))[0].numpy()
        if distance_error:
            columns["distance_error"] = np.full(n, distance_error) * u.pc
        return gpdust.StarCatalogue(
            l=l * u.deg,
            b=b * u.deg,
            distance=(d + distance_error * rng.standard_normal(n)) * u.pc,
            extinction=(extinction + excess(l, d) + noise(rng, n)) * u.mag,
            extinction_error=np.full(n, SIGMA) * u.mag,
            strict=True,
            **columns,
        )


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def world() -> World:
    """A map with errors far below those of the stars."""
    rng = np.random.default_rng(7)
    points = GRID.cell_points().reshape(-1, 3) * u.pc  # on every cell: the prior has no residual
    prior = gpdust.InducingGP(
        "matern32", points, length_scale=80 * u.pc, amplitude=0.2, mean_density=1.6e-3 * u.mag / u.pc, learn=False
    )
    stars = gpdust.StarCatalogue(
        l=[70] * u.deg, b=[0] * u.deg, distance=[300] * u.pc, extinction=[0.2] * u.mag, extinction_error=[0.1] * u.mag
    )
    fitted = gpdust.fit(gpdust.DustModel(stars, GRID, prior), engine="natural", progress=False)
    size = len(fitted.mean)
    mean, scale = torch.from_numpy(rng.standard_normal(size)), 0.01 * torch.eye(size, dtype=torch.float64)
    return World(replace(fitted, mean=mean, spread=FullSpread(scale)))


def split_normal(low: float, up: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Measured − true, judged by the upper error where the truth lies above."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        size, above = np.abs(rng.standard_normal(n)), rng.random(n) < up / (low + up)
        return np.where(above, -up * size, low * size)

    return draw


def mixture(rng: np.random.Generator, n: int) -> np.ndarray:
    width = np.where(rng.random(n) < 0.1, np.hypot(SIGMA, 0.5), SIGMA)
    return width * rng.standard_normal(n)


SIDES = {
    "extinction_lower_error": np.full(4000, 0.03) * u.mag,
    "extinction_upper_error": np.full(4000, 0.09) * u.mag,
}
CASES = {
    "gaussian": ({}, {}),
    "extra": (
        {"noise": gpdust.GaussianNoise(extra=0.1)},
        {"noise": lambda rng, n: np.hypot(SIGMA, 0.1) * rng.standard_normal(n)},
    ),
    "student": (
        {"noise": gpdust.StudentNoise(degrees_of_freedom=3.0)},
        {"noise": lambda rng, n: SIGMA * rng.standard_t(3.0, n)},
    ),
    "mixture": ({"noise": gpdust.MixtureNoise(bad_share=0.1, bad_width=0.5)}, {"noise": mixture}),
    "asymmetric": ({"asymmetric": True}, {"noise": split_normal(0.03, 0.09)} | SIDES),
}


@pytest.mark.parametrize("distance_error", [0.0, DISTANCE_ERROR], ids=["exact", "uncertain"])
@pytest.mark.parametrize("case", CASES)
def test_uniform_where_all_is_right(world, case, distance_error):
    treatment, survey = CASES[case]
    stars = world.stars(distance_error=distance_error, **survey)
    check = gpdust.predictive_check(world.treated(**treatment), stars, held_out=True)
    assert kstest(check.predictions.pit, "uniform").pvalue > 1e-3
    assert kstest(check.predictions.residual, "norm").pvalue > 1e-3
    assert check.verdict == [NOTHING]
    assert len(check.predictions) == 4000


def test_the_wrong_noise_is_not_uniform(world):
    for case in ("student", "mixture", "asymmetric"):
        check = gpdust.predictive_check(world.treated(), world.stars(**CASES[case][1]), held_out=True)
        assert kstest(check.predictions.pit, "uniform").pvalue < 1e-3
        assert check.verdict != [NOTHING]


def test_predictions_are_those_of_the_draws(world):
    stars = world.stars(50)
    predictions = gpdust.predictive_check(world.treated(), stars, samples=40, seed=3).predictions
    drawn = world.posterior.predict(stars, 40, 3).samples.value
    measured = stars.extinction.value
    assert_allclose(predictions.predicted, drawn.mean(0), rtol=1e-6)
    assert_allclose(predictions.error, np.hypot(SIGMA, drawn.std(0)), rtol=1e-5)
    expected = norm.cdf((measured - drawn) / SIGMA).mean(0)
    body = (expected > 1 / 40) & (expected < 1 - 1 / 40)  # the tails are smoothed
    assert_allclose(predictions.pit[body], expected[body], rtol=1e-5)
    assert_allclose(predictions.pit, expected, atol=1e-3)
    assert_array_equal(predictions.number, np.arange(50))


def test_scatter_in_proportion_is_that_of_the_map(world):
    """What is predicted for a star knows neither its own measurement nor those of whichever stars are held out too."""
    treated = world.treated(noise=gpdust.GaussianNoise(proportional=0.3))
    true = world.stars(noise=lambda rng, n: np.zeros(n))
    scatter = np.hypot(SIGMA, 0.3 * true.extinction.value)
    stars = world.stars(noise=lambda rng, n: scatter * rng.standard_normal(n))
    check = gpdust.predictive_check(treated, stars, held_out=True)
    assert kstest(check.predictions.pit, "uniform").pvalue > 1e-3
    assert check.verdict == [NOTHING]
    assert_allclose(check.predictions.error, scatter, rtol=0.1)
    few = gpdust.predictive_check(treated, stars[:30], held_out=True).predictions
    assert_allclose(few.error, check.predictions.error[:30])
    assert_allclose(few.residual, check.predictions.residual[:30])
    each = gpdust.scores.log_predictive_density(treated, stars)
    assert_allclose(gpdust.scores.log_predictive_density(treated, stars[:5]), each[:5])
    drawn = norm.logpdf(stars.extinction.value, true.extinction.value, scatter)
    assert np.mean(each - drawn) == pytest.approx(0, abs=0.01)


def test_distance_errors_inflated_or_ignored(world):
    stars = world.stars(50, distance_error=DISTANCE_ERROR)
    stars = stars[world.posterior.covers(stars)]
    ignored = gpdust.predictive_check(world.treated(distance="ignore"), stars)
    inflated = gpdust.predictive_check(world.treated(distance="inflate"), stars)
    assert_allclose(ignored.predictions.predicted, inflated.predictions.predicted)
    assert_array_equal(ignored.predictions.number, np.arange(len(stars)))
    moved = (stars.extinction * stars.distance_error / stars.distance).value
    map_error = ignored.predictions.error**2 - SIGMA**2
    assert_allclose(inflated.predictions.error**2, SIGMA**2 + moved**2 + map_error, rtol=1e-6)


@pytest.mark.parametrize("factor", [1.4, 0.7])
def test_wrong_errors_are_found_and_said(world, factor):
    stars = world.stars(8000, noise=lambda rng, n: factor * SIGMA * rng.standard_normal(n))
    check = gpdust.predictive_check(world.treated(), stars, held_out=True)
    sigma = check.statistics["robust_sigma"]
    assert sigma.value / sigma.expected == pytest.approx(factor, rel=0.05)
    (said,) = check.verdict
    wrong, by = ("underestimated", factor) if factor > 1 else ("overestimated", 1 / factor)
    assert said.startswith(f"errors look {wrong} by a factor ")
    assert float(said.split()[6]) == pytest.approx(by, rel=0.05)


def test_few_stars_do_not_shout(world):
    stars = world.stars(30, noise=lambda rng, n: 1.2 * SIGMA * rng.standard_normal(n))
    assert gpdust.predictive_check(world.treated(), stars, held_out=True).verdict == [NOTHING]


def test_a_biased_part_of_the_sky_is_named(world):
    stars = world.stars(8000, excess=lambda l, d: np.where(l < 70, 0.05, 0.0))
    check = gpdust.predictive_check(world.treated(), stars, held_out=True)
    (said,) = [each for each in check.verdict if "sky" in each]
    assert "more than the map" in said
    assert 50 < float(said.split("l = ")[1].split("°")[0]) < 70
    good = [group.significance for group in check.by_sky[8] if group.where["l"] > 75]
    assert np.abs(good).max() < 4


def test_a_bias_beyond_a_distance_is_named(world):
    stars = world.stars(8000, excess=lambda l, d: np.where(d > 420, -0.05, 0.0))
    check = gpdust.predictive_check(world.treated(), stars, held_out=True)
    (said,) = [each for each in check.verdict if " pc " in each]
    beyond = float(said.split()[1])
    assert said.startswith("beyond ") and "mag less than the map" in said
    assert beyond == pytest.approx(420, abs=20)
    assert float(said.split("see ")[1].split()[0]) == pytest.approx(0.05, abs=0.01)
    far = check.by_distance[-1]
    assert far.excess == pytest.approx(-0.05, abs=5 * far.excess_error)


def test_a_bias_everywhere_is_said_once(world):
    check = gpdust.predictive_check(world.treated(), world.stars(excess=lambda l, d: 0.03), held_out=True)
    assert sum(each.startswith("on the whole stars see 0.0") for each in check.verdict) == 1


def test_outliers_are_reported(world):
    stars = world.stars(noise=lambda rng, n: SIGMA * rng.standard_normal(n) + 2.0 * (rng.random(n) < 0.03))
    check = gpdust.predictive_check(world.treated(), stars, held_out=True)
    (said,) = [each for each in check.verdict if "outliers" in each]
    assert 0.025 < float(said.split()[0].rstrip("%")) / 100 < 0.035
    assert "beyond 5" in said and "student-t" in said
    treated = gpdust.predictive_check(world.treated(noise=gpdust.MixtureNoise(bad_width=1.5)), stars, held_out=True)
    assert not any("beyond 5" in each for each in treated.verdict)


def test_errors_that_neighbours_share_count_once(world):
    """A map with large errors is off by as much as it says, in the same way for thousands of stars."""
    uncertain = World(replace(world.posterior, spread=FullSpread(20 * world.posterior.spread.scale)))
    stars = uncertain.stars(8000)
    check = gpdust.predictive_check(uncertain.treated(), stars, held_out=True)
    assert kstest(check.predictions.pit, "uniform").pvalue < 1e-3
    assert check.verdict == [NOTHING]
    alone = gpdust.predictive_check(uncertain.treated(), stars[:2000], held_out=True).statistics["median"].error
    assert check.statistics["median"].error == pytest.approx(alone, rel=0.3)


def test_what_is_expected_is_nominal_where_draws_have_a_tail(world):
    """Extinctions of a log-normal map are skewed; their probabilities are uniform all the same."""
    uncertain = World(replace(world.posterior, spread=FullSpread(200 * world.posterior.spread.scale)))
    expected = gpdust.predictive_check(uncertain.treated(), uncertain.stars(2000), held_out=True).statistics
    for level in (50, 68, 95):
        assert expected[f"within_{level}"].expected == pytest.approx(level / 100, abs=0.01)


def test_a_map_without_draws_near_the_stars(world):
    """Where noise is far below the error of the map, some stars lie beyond all draws, and are no outliers for that."""
    uncertain = World(replace(world.posterior, spread=FullSpread(20 * world.posterior.spread.scale)))
    stars = uncertain.stars(2000, noise=lambda rng, n: 1e-4 * rng.standard_normal(n))
    precise = gpdust.StarCatalogue(
        **{name: getattr(stars, name) for name in ("l", "b", "distance", "extinction")},
        extinction_error=np.full(2000, 1e-4) * u.mag,
    )
    check = gpdust.predictive_check(uncertain.treated(), precise, samples=50, held_out=True)
    assert np.abs(check.predictions.residual).max() < 6


def test_fitted_stars(world):
    """Residuals of fitted stars are smaller than predictions say, which is expected of them."""
    truth = world.stars(1500)
    model = gpdust.DustModel(truth, GRID, world.posterior.prior, treatment=gpdust.StarTreatment(nodes=NODES))
    posterior = gpdust.fit(model, engine="natural", progress=False)
    fitted = gpdust.predictive_check(posterior, truth)
    assert fitted.verdict == [NOTHING]
    assert fitted.statistics["robust_sigma"].expected < 0.98
    assert "were fitted" in str(fitted)
    fresh = gpdust.predictive_check(posterior, world.stars(1500, seed=1), held_out=True)
    assert fresh.verdict == [NOTHING]
    assert "an honest test" in str(fresh)


def test_stars_thinly_spread_over_the_sky(world, monkeypatch):
    monkeypatch.setattr("gpdust.checks.groups.FEWEST", 40)
    check = gpdust.predictive_check(world.treated(), world.stars(30), held_out=True)
    assert [sum(group.stars for group in parts) for parts in check.by_sky.values()] == [30]
    assert len(check.plot()) == 4


def test_report_and_record(world):
    check = gpdust.predictive_check(world.treated(), world.stars(500), held_out=True)
    text, record = str(check), json.loads(json.dumps(check.as_dict(), allow_nan=False))
    assert "predictive check of 500 stars, 100 draws" in text
    assert text.endswith(f"verdict\n- {NOTHING}")
    assert max(map(len, text.splitlines())) <= 110
    assert sum(group["stars"] for group in record["by_distance"]) == 500
    assert record["verdict"] == [NOTHING]
    assert record["stars"]["used"] == 500


def test_only_some_of_very_many_stars(world, monkeypatch):
    monkeypatch.setattr("gpdust.checks.predictions.MAX_STARS", 300)
    monkeypatch.setattr("gpdust.checks.report.MAX_STARS", 300)
    check = gpdust.predictive_check(world.treated(), world.stars(500), seed=1)
    assert len(check.predictions) == 300
    assert "300 of 500 on the grid (of 300 taken at random)" in str(check)


def test_bad_input(world):
    stars = world.stars(100)
    with pytest.raises(PosteriorError, match=r"at least 20 stars on the grid.*5 stars on the grid"):
        gpdust.predictive_check(world.treated(), stars[:5])
    elsewhere = gpdust.StarCatalogue(
        l=np.full(50, 200.0) * u.deg, b=stars.b[:50], distance=stars.distance[:50], extinction=stars.extinction[:50],
        extinction_error=stars.extinction_error[:50],
    )  # fmt: skip
    with pytest.raises(PosteriorError, match="0 stars on the grid; left out: 50 outside its sky"):
        gpdust.predictive_check(world.treated(), elsewhere)
    with pytest.raises(PosteriorError, match="at least two draws"):
        gpdust.predictive_check(world.treated(), stars, samples=1)


def test_sightlines_are_held_out_whole(world):
    stars = world.stars(3000)
    fit, held_out = gpdust.hold_out_sightlines(stars, 0.2, nside=16, seed=0)
    pixels = [set(healpy.ang2pix(16, part.l.value, part.b.value, lonlat=True)) for part in (fit, held_out)]
    assert not pixels[0] & pixels[1]
    assert len(pixels[1]) == round(0.2 * len(pixels[0] | pixels[1]))
    assert_array_equal(np.sort(np.concatenate([fit.row, held_out.row])), stars.row)
    again = gpdust.hold_out_sightlines(stars, 0.2, nside=16, seed=0)[1]
    assert_array_equal(held_out.row, again.row)
    assert set(gpdust.hold_out_sightlines(stars, 0.2, nside=16, seed=1)[1].row) != set(held_out.row)
    for fraction, nside in ((1.5, 16), (0.2, 12)):
        with pytest.raises(CatalogueError, match=r"fraction must|power of two"):
            gpdust.hold_out_sightlines(stars, fraction, nside, 0)


def test_figure(world, tmp_path):
    check = gpdust.predictive_check(world.treated(), world.stars(1000), held_out=True)
    panels = check.plot()
    assert [panel.get_xlabel() for panel in panels] == [
        "predictive probability of a lower extinction",
        "measured distance / pc",
        "predicted extinction / mag",
        "$l$ / deg",
    ]
    assert gpdust.plot.save_figure(panels, tmp_path / "check.png").stat().st_size > 10_000
