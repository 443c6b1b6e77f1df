"""Scores of joint draws: against the formulas on whole arrays, and calibration where it is known."""

import json
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import norm

from gpdust import Region
from gpdust.errors import PosteriorError
from gpdust.likelihood import NodeOptions
from gpdust.scores import (
    coverage,
    crps,
    draw_scores,
    log_predictive_density,
    posterior_scores,
    rank_coverage,
    relative_error,
)
from gpdust.scores import draws as draws_module
from gpdust.simulate import GridTruth, mock_survey

DENSITY = u.mag / u.pc
GRID = Region(l=(0, 10) * u.deg, b=(-5, 5) * u.deg, distance=(100, 200) * u.pc).grid((8, 8, 20))


def make(draws: int, width: float = 0.2, spread: float = 0.2, seed: int = 0, grid=GRID) -> tuple[np.ndarray, GridTruth]:
    """Draws and a truth about common medians, log-normal with the given widths in dex."""
    rng = np.random.default_rng(seed)
    middle = 1.6e-3 * 10 ** (0.3 * rng.standard_normal(grid.shape))
    truth = middle * 10 ** (spread * rng.standard_normal(grid.shape))
    return middle * 10 ** (width * rng.standard_normal((draws, *grid.shape))), GridTruth(grid, truth * DENSITY)


def test_scores_are_the_formulas_on_whole_arrays(monkeypatch):
    draws, truth = make(41)
    monkeypatch.setattr(draws_module, "CHUNK_VALUES", 41 * 20 * 3)
    scores = draw_scores(draws * DENSITY, truth)
    true, true_extinction = truth.density.value, truth.extinction.value
    extinction = np.cumsum(draws * GRID.cell_lengths, axis=-1)
    error = relative_error(np.median(draws, axis=0), true)
    dense = true >= 3.2e-3
    assert (scores.cells, scores.structure_cells, scores.draws) == (1280, dense.sum(), 41)
    assert_allclose([scores.error_median, scores.error_p90], np.percentile(error, [50, 90]))
    assert_allclose([scores.structure_error_median, scores.structure_error_p90], np.percentile(error[dense], [50, 90]))
    off = np.median(extinction, axis=0) - true_extinction
    assert_allclose([scores.extinction_bias, scores.extinction_scatter], [off.mean(), off.std()])
    assert_allclose(scores.log_density_crps, crps(np.log10(draws), np.log10(true)).mean())
    assert_allclose(scores.density_crps, crps(draws, true).mean())
    assert_allclose(scores.extinction_crps, crps(extinction, true_extinction).mean())
    # The interval of 95 % leaves out 1.05 of 42 ranks at each end.
    ordered = np.sort(draws, axis=0)
    outer, inner = (coverage(ordered[i], ordered[-1 - i], true) for i in (0, 1))
    assert_allclose(scores.density_coverage[95], 0.05 * inner + 0.95 * outer)


@pytest.mark.parametrize("draws", [39, 200])
def test_honest_draws_have_nominal_coverage_however_few(draws):
    fine = Region(l=(0, 10) * u.deg, b=(-5, 5) * u.deg, distance=(100, 200) * u.pc).grid((30, 30, 20))
    scores = draw_scores(*_with_unit(make(draws, grid=fine)))
    for level, found in scores.density_coverage.items():
        assert found == pytest.approx(level / 100, abs=0.012)


def test_draws_that_are_too_sure_or_too_shy_show():
    sure = draw_scores(*_with_unit(make(100, width=0.1)))
    shy = draw_scores(*_with_unit(make(100, width=0.4)))
    for level, expected in ((50, norm.ppf(0.75)), (68, norm.ppf(0.84)), (95, norm.ppf(0.975))):
        assert sure.density_coverage[level] == pytest.approx(2 * norm.cdf(expected / 2) - 1, abs=0.04)
        assert shy.density_coverage[level] == pytest.approx(2 * norm.cdf(expected * 2) - 1, abs=0.04)
    assert sure.log_density_crps > 0.9 * shy.log_density_crps > 0


def test_ranks():
    assert rank_coverage(np.array([0, 0, 1, 0, 0]), 50) == pytest.approx(1)
    assert rank_coverage(np.array([1, 0, 0, 0, 1]), 50) == 0
    assert rank_coverage(np.array([1, 0, 0, 0, 1]), 80) == pytest.approx(0.5)  # half of the outer ranks lies inside
    for level in (50, 68, 95):
        assert rank_coverage(np.ones(8), level) == pytest.approx(level / 100)


def test_margins_count_in_the_extinction_only():
    region = Region(GRID.l_edges[[0, -1]], (-5, 5) * u.deg, (100, 200) * u.pc, 2, 20 * u.pc)
    draws, truth = make(50, grid=region.grid((3, 3, 10)))
    scores = draw_scores(draws * DENSITY, truth)
    assert scores.cells == 90
    inner = truth.grid.interior_cells
    assert_allclose(
        scores.extinction_bias,
        (
            np.median(np.cumsum(draws * truth.grid.cell_lengths, axis=-1), axis=0)[:, inner]
            - truth.extinction.value[:, inner]
        ).mean(),
    )


def test_extinctions_can_be_given():
    draws, truth = make(50)
    extinction = np.cumsum(draws * GRID.cell_lengths, axis=-1)
    assert draw_scores(draws * DENSITY, truth, extinction * u.mag) == draw_scores(draws * DENSITY, truth)
    shifted = draw_scores(draws * DENSITY, truth, (extinction + 0.5) * u.mag)
    assert shifted.extinction_bias == pytest.approx(draw_scores(draws * DENSITY, truth).extinction_bias + 0.5)
    with pytest.raises(PosteriorError, match="50 draws of density, but 40 of extinction"):
        draw_scores(draws * DENSITY, truth, extinction[:40] * u.mag)


def test_what_can_not_be_scored_is_refused():
    draws, truth = make(50)
    with pytest.raises(PosteriorError, match="38 draws are too few"):
        draw_scores(draws[:38] * DENSITY, truth)
    with pytest.raises(PosteriorError, match=r"the truth has \(64, 20\)"):
        draw_scores(draws[:, :5] * DENSITY, truth)
    with pytest.raises(PosteriorError, match="positive everywhere"):
        draw_scores(draws * DENSITY, GridTruth(GRID, 0 * truth.density))


def test_without_dense_cells_there_is_nothing_to_say_of_them():
    draws, truth = make(50)
    scores = draw_scores(draws * DENSITY, truth, structure=1 * DENSITY)
    assert scores.structure_coverage is None and scores.structure_error_p90 is None
    assert str(scores).count("there are none") == 3
    record = json.loads(json.dumps(scores.as_dict()))
    assert record["structure_coverage_68"] is None
    assert record["density_coverage_95"] == scores.density_coverage[95]


def test_a_posterior_is_scored_by_its_draws(small_posterior):
    density, _ = small_posterior.sample(count=60, seed=3)
    truth = GridTruth(small_posterior.grid, density[0])
    streamed = posterior_scores(small_posterior, truth, samples=60, seed=3)
    assert streamed == draw_scores(density, truth)
    with pytest.raises(PosteriorError, match="too few"):
        posterior_scores(small_posterior, truth, samples=20)


def test_held_out_stars(small_posterior, region, catalogue):
    truth = GridTruth(small_posterior.grid, small_posterior.sample(count=1)[0][0])
    stars = mock_survey(truth, region, 40, seed=5).catalogue
    each = log_predictive_density(small_posterior, stars, samples=80, seed=2)
    predicted = small_posterior.predict(stars, 80, 2).samples
    density = norm.pdf(stars.extinction.value, predicted.value, stars.extinction_error.value)
    assert_allclose(each, np.log(density.mean(axis=0)), rtol=1e-10)
    scores = posterior_scores(small_posterior, truth, held_out=stars, samples=80, seed=2)
    assert scores.held_out_stars == 40
    assert scores.held_out_log_density == pytest.approx(each.mean())
    assert "40 stars held out" in str(scores)
    columns = (getattr(stars, name).value for name in ("l", "b", "distance", "extinction", "extinction_error"))
    uncertain = catalogue(*columns, distance_error=np.full(40, 8.0) * u.pc)
    each = log_predictive_density(small_posterior, uncertain, samples=4, seed=2)
    extinction = torch.from_numpy(small_posterior.sample(count=4, seed=2)[1].value)
    treatment = replace(small_posterior.treatment, nodes=NodeOptions(least_share=0.0))
    for number in (0, 17):
        alone = treatment.star_by_star(uncertain[[number]], small_posterior.grid)
        assert each[number] == pytest.approx(float(alone.log_likelihood(extinction).exp().mean().log()), rel=1e-9)
    elsewhere = catalogue([10, 60], 0, 200, 0.1, 0.01)
    with pytest.raises(PosteriorError, match="1 of 2 stars lie off the grid"):
        posterior_scores(small_posterior, truth, held_out=elsewhere)


def _with_unit(made: tuple[np.ndarray, GridTruth]) -> tuple[u.Quantity, GridTruth]:
    return made[0] * DENSITY, made[1]
