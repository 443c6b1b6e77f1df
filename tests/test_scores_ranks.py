"""Ranks of truths: uniform ones pass, biased, too narrow and too wide draws are found, and bands hold what they say."""

import matplotlib
import numpy as np
import pytest
from scipy.stats import binom, norm

from gpdust.errors import PosteriorError
from gpdust.plot import plot_ranks
from gpdust.scores import coverage_band, ecdf_band, rank_scores, truth_ranks, uniformity_p_value

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RUNS, DRAWS = 200, 199


def ranks_of(truth_mean: float, truth_width: float, seed: int = 0, runs: int = RUNS) -> np.ndarray:
    """Ranks of normal truths among standard normal draws."""
    random = np.random.default_rng(seed)
    return truth_ranks(random.standard_normal((DRAWS, runs)), random.normal(truth_mean, truth_width, runs))


def test_a_rank_counts_the_draws_below():
    draws = np.array([[0.0, 5.0], [1.0, 6.0], [2.0, 7.0]])
    np.testing.assert_array_equal(truth_ranks(draws, np.array([1.5, 4.0])), [2, 0])


def test_ties_are_broken_at_random():
    ranks = truth_ranks(np.zeros((4, 5000)), np.zeros(5000))
    np.testing.assert_allclose(np.bincount(ranks) / 5000, 0.2, atol=0.03)


def test_mirrored_draws_hide_half_of_the_ranks_of_an_even_number():
    """Why one of each pair is ranked among: both members of a pair give the same value."""
    random = np.random.default_rng(0)
    half = random.standard_normal((DRAWS // 2, 500))
    mirrored = np.concatenate([half, -half])
    ranks = truth_ranks(mirrored**2, random.standard_normal(500) ** 2)
    assert not (ranks % 2).any()


# Uniformity


def test_uniform_ranks_pass():
    found = rank_scores(ranks_of(0, 1), DRAWS)
    assert found.p_value > 0.01
    assert abs(found.offset) < 3 / np.sqrt(RUNS)
    assert abs(found.scatter - 1) < 3 / np.sqrt(2 * RUNS)
    for level, share in found.coverage.items():
        assert abs(share - level / 100) < 3 * np.sqrt(level / 100 * (1 - level / 100) / RUNS)
    assert found.as_dict()["runs"] == RUNS


@pytest.mark.parametrize(("mean", "width"), [(0.5, 1), (-0.5, 1), (0, 1.6), (0, 0.6)])
def test_wrong_ranks_are_rejected(mean, width):
    """Draws too low, too high, too narrow, too wide."""
    found = rank_scores(ranks_of(mean, width), DRAWS)
    assert found.p_value < 1e-4
    assert found.offset == pytest.approx(mean, abs=0.25)
    assert found.scatter == pytest.approx(width, rel=0.2)
    assert (found.coverage[68] < 0.6) == (width > 1)


def test_p_values_of_uniform_ranks_are_uniform():
    """Exactly valid, and not much smaller than they could be: counts are whole numbers."""
    random = np.random.default_rng(1)
    found = np.array([uniformity_p_value(random.integers(0, 50, 60), 49) for _ in range(500)])
    for level in (0.05, 0.2, 0.5):
        share, error = np.mean(found <= level), np.sqrt(level * (1 - level) / 500)
        assert level - 0.05 - 3 * error < share < level + 3 * error


def test_one_rank_of_one_draw():
    """By hand: truth above or below a single draw, in two runs."""
    assert uniformity_p_value(np.array([0, 1]), 1) == pytest.approx(1)
    assert uniformity_p_value(np.array([1, 1]), 1) == pytest.approx(0.5)


@pytest.mark.parametrize(("runs", "level"), [(30, 95), (200, 95), (200, 80)])
def test_a_band_holds_its_share_of_whole_lines(runs, level):
    random, trials = np.random.default_rng(2), 4000
    counts = random.multinomial(runs, np.full(DRAWS + 1, 1 / (DRAWS + 1)), trials)
    line = np.cumsum(counts, axis=1)[:, :-1] / runs
    low, high = ecdf_band(runs, DRAWS, level)
    inside = np.mean(((line >= low - 1e-12) & (line <= high + 1e-12)).all(1))
    error = np.sqrt(level / 100 * (1 - level / 100) / trials)
    assert level / 100 - 4 * error < inside < level / 100 + 4 * error + 0.02


def test_ranks_leave_the_band_where_the_p_value_says_so():
    random = np.random.default_rng(3)
    low, high = ecdf_band(50, DRAWS, 90)
    for _ in range(200):
        ranks = np.floor(norm.cdf(random.normal(0, 1.2, 50)) * (DRAWS + 1)).astype(int)
        line = np.cumsum(np.bincount(ranks, minlength=DRAWS + 1))[:-1] / 50
        outside = ((line < low - 1e-12) | (line > high + 1e-12)).any()
        assert outside == (uniformity_p_value(ranks, DRAWS) <= 0.1)


def test_bands_of_coverage_are_binomial():
    low, high = coverage_band(200, 68)
    assert binom.cdf(200 * low - 1, 200, 0.68) < 0.025 < binom.cdf(200 * low, 200, 0.68)
    assert binom.sf(200 * high, 200, 0.68) < 0.025 < binom.sf(200 * high - 1, 200, 0.68)


@pytest.mark.parametrize("ranks", [[], [[1, 2]], [0, DRAWS + 1], [-1, 2]])
def test_impossible_ranks_are_refused(ranks):
    with pytest.raises(PosteriorError, match="ranks"):
        uniformity_p_value(np.array(ranks), DRAWS)


# The figure


def test_lines_outside_of_the_band_are_thick():
    axes = plot_ranks({"right": ranks_of(0, 1), "biased": ranks_of(0.5, 1)}, DRAWS)
    right, biased, _ = axes.lines
    assert biased.get_linewidth() > 2 * right.get_linewidth()
    assert biased.get_ydata().min() < -0.1  # truths above the draws
    low, high = ecdf_band(RUNS, DRAWS)
    share = np.arange(1, DRAWS + 1) / (DRAWS + 1)
    edges = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx(((low - share).min(), (high - share).max()))
    plt.close("all")


def test_quantities_of_different_runs_do_not_share_a_figure():
    with pytest.raises(PosteriorError, match="every run"):
        plot_ranks({"a": np.zeros(3, int), "b": np.zeros(4, int)}, DRAWS)
