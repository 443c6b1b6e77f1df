"""Figures of sightlines, residuals and traces: the right curves, with units."""

import astropy.units as u
import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from gpdust.catalogue import StarCatalogue
from gpdust.errors import PosteriorError
from gpdust.grid import Region
from gpdust.inference.trace import Trace
from gpdust.plot import plot_residuals, plot_sightline, plot_standardised_residuals, plot_trace
from gpdust.plot.labels import map_label, with_unit
from gpdust.posterior.maps import PercentileMaps

GRID = Region(l=(350, 10) * u.deg, b=(-10, 10) * u.deg, distance=(100, 400) * u.pc).grid((5, 4, 6))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def maps() -> PercentileMaps:
    density = np.sort(np.random.default_rng(0).lognormal(-7, 1, (3, *GRID.shape)), axis=0)
    return PercentileMaps(GRID, (16.0, 50.0, 84.0), density, np.cumsum(density, axis=-1))


def make_stars(n: int, distance_errors: bool = True) -> StarCatalogue:
    """Stars around (l, b) = (359.9, 0), every tenth of them 5 degrees off."""
    index = np.arange(n)
    return StarCatalogue(
        l=(359.9 + 0.5 * (index % 3 - 1)) * u.deg,
        b=np.where(index % 10 == 9, 5, 0.1) * u.deg,
        distance=np.linspace(110, 390, n) * u.pc,
        distance_error=np.full(n, 7) * u.pc if distance_errors else None,
        extinction=np.linspace(0, 1, n) * u.mag,
        extinction_error=np.full(n, 0.1) * u.mag,
    )


def test_sightline_draws_the_ray_that_holds_the_direction(maps):
    panels = plot_sightline(maps, -9 * u.deg, 4 * u.deg)
    ray = int(GRID.locate_rays(np.array(351.0), np.array(4.0)))
    band, median = panels[0].patches
    assert_array_equal(median.get_data().values, maps.density_values[1, ray])
    assert_array_equal(median.get_data().edges, GRID.edges)
    assert_array_equal(band.get_data().values, maps.density_values[2, ray])
    assert_array_equal(band.get_data().baseline, maps.density_values[0, ray])
    (line,) = panels[1].lines
    assert_array_equal(line.get_xdata(), GRID.edges[1:])
    assert_array_equal(line.get_ydata(), maps.extinction_values[1, ray])
    assert panels[0].get_ylabel() == r"density / ($\mathrm{mag\ pc^{-1}}$)"
    assert panels[1].get_ylabel() == r"extinction / $\mathrm{mag}$"
    assert panels[1].get_xlabel() == "distance / pc"
    assert "352" in panels[0].get_title()


def test_sightline_in_given_axes(maps):
    _, axes = plt.subplots(2, 1)
    assert list(plot_sightline(maps, 0 * u.deg, 0 * u.deg, axes=axes)) == list(axes)


@pytest.mark.parametrize("distance_errors", [True, False])
def test_stars_around_the_sightline(maps, distance_errors):
    panels = plot_sightline(maps, 0 * u.deg, 0 * u.deg, make_stars(200, distance_errors), radius=60 * u.arcmin)
    (bars,) = panels[1].containers
    assert len(bars.lines[0].get_xdata()) == 180
    assert (bars.lines[0].get_xdata() != make_stars(200).distance[9].value).all()
    assert (bars.has_xerr, bars.has_yerr) == (distance_errors, True)
    assert bars.get_label() == "180 stars within 1°"


def test_many_stars_are_thinned_and_it_says_so(maps):
    panels = plot_sightline(maps, 0 * u.deg, 0 * u.deg, make_stars(1000))
    (bars,) = panels[1].containers
    shown = bars.lines[0].get_xdata()
    assert len(shown) == len(set(shown)) == 300
    assert panels[1].get_legend().get_texts()[0].get_text() == "300 of 900 stars within 1°"


def test_no_star_is_near(maps):
    panels = plot_sightline(maps, 0 * u.deg, 9 * u.deg, make_stars(9), radius=0.1 * u.deg)
    assert panels[1].get_legend().get_texts()[0].get_text() == "0 stars within 0.1°"


def test_sightline_outside_or_without_percentiles(maps):
    with pytest.raises(PosteriorError, match="outside"):
        plot_sightline(maps, 180 * u.deg, 0 * u.deg)
    few = PercentileMaps(GRID, (2.5, 50.0, 97.5), maps.density_values, maps.extinction_values)
    with pytest.raises(PosteriorError, match="not 16"):
        plot_sightline(few, 0 * u.deg, 0 * u.deg)


def test_residuals():
    observed = np.zeros(1001)
    predicted = np.append(np.linspace(-1, 1, 1000) + 0.25, 50)
    axes = plot_residuals(predicted * u.mag, observed * u.mag)
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == 1000
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    assert_allclose(np.average(middles, weights=heights), 0.25, atol=0.02)
    (text,) = axes.get_legend().get_texts()
    assert "1001 stars, 1 beyond the axis" in text.get_text()
    assert "median 0.25 mag, robust σ 0.68 mag" in text.get_text()
    assert axes.get_xlabel().endswith("/ mag")


def test_standardised_residuals():
    rng = np.random.default_rng(1)
    error = rng.uniform(0.1, 1, 5000)
    _, mine = plt.subplots()
    axes = plot_standardised_residuals(
        rng.normal(size=5000) * error * u.mag, np.zeros(5000) * u.mag, error * 1e3 * u.mmag, axes=mine
    )
    assert axes is mine
    assert_allclose(sum(bar.get_height() * bar.get_width() for bar in axes.patches), 1, rtol=1e-3)
    (curve,) = axes.lines
    assert_allclose(curve.get_ydata().max(), 1 / np.sqrt(2 * np.pi))
    assert axes.get_legend().get_texts()[0].get_text().endswith("robust σ 0.99")


def test_residuals_that_make_no_sense():
    ones = np.ones(3) * u.mag
    with pytest.raises(PosteriorError, match="one per star"):
        plot_residuals(ones, ones[:1])
    with pytest.raises(PosteriorError, match="finite"):
        plot_residuals(ones * np.nan, ones)
    with pytest.raises(PosteriorError, match="1 errors are not positive"):
        plot_standardised_residuals(ones, ones, [1, 0, 2] * u.mag)
    assert len(plot_residuals(ones, ones).patches)  # all the same


@pytest.fixture
def trace() -> Trace:
    trace = Trace({"length_scale": "pc", "mean_density": "mag/pc", "slope": ""})
    for step in range(12):
        phase = "temper" if step < 3 else "learn" if step < 9 else "polish"
        values = {"length_scale": 20.0 + step, "mean_density": 1e-3, "slope": 2.0}
        trace.append(-1e9 if step < 3 else -100.0 + step, 0.5 if step < 3 else 1.0, phase, step / 2, values)
    return trace


def test_trace(trace):
    panels = plot_trace(trace)
    assert panels.shape == (4,)
    (elbo,) = panels[0].lines
    assert_array_equal(elbo.get_xdata(), np.arange(1, 13))
    assert np.isnan(elbo.get_ydata()[:3]).all()
    assert_array_equal(elbo.get_ydata()[3:], np.arange(-97, -88))
    assert panels[0].get_ylim()[0] > -110
    assert_array_equal(panels[1].lines[0].get_ydata(), 20.0 + np.arange(12))
    labels = [panel.get_ylabel().replace("\n", " ") for panel in panels]
    assert labels == ["ELBO / nat (full likelihood only)", "length scale / pc", "mean density / (mag/pc)", "slope"]
    assert panels[-1].get_xlabel() == "step"
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["temper", "learn", "polish"]
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in panels[2].patches]
    assert spans == [(0.5, 3.5), (3.5, 9.5), (9.5, 12.5)]


def test_trace_in_given_axes(trace):
    _, axes = plt.subplots(2, 2)
    assert list(plot_trace(trace, axes=axes)) == list(axes.ravel())


def test_trace_that_is_all_tempered_or_empty(trace):
    trace.tempering[:] = [0.5] * 12
    plot_trace(trace)[0].figure.canvas.draw()
    with pytest.raises(PosteriorError, match="no step"):
        plot_trace(Trace({}))


def test_labels():
    assert map_label("density", {"quantity": "E(B-V)"}) == r"density of E(B-V) / ($\mathrm{mag\ pc^{-1}}$)"
    assert map_label("extinction", {"quantity": "A_V", "band": None}) == r"extinction $A_{\mathrm{V}}$ / $\mathrm{mag}$"
    assert with_unit("mean", "log10(mag/pc)") == "mean / log10(mag/pc)"
