"""Simulation-based calibration: ranks of truths among draws, and whether they are as uniform as they should be.

Draw a truth from the prior, simulate data in it, fit them, and count how many independent draws of the posterior lie
below the truth. Over many such runs all ranks are equally likely, for any number that can be computed from parameters
and data, if and only if the draws come from the exact posterior of that number (Talts et al. 2018, arXiv:1804.06788).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import binom, norm, poisson

from gpdust.errors import PosteriorError
from gpdust.scores.formulas import LEVELS, rank_coverage

SMALLEST_STEP = 1e-30  # probability of ranks in one place, below which a path is not followed
ROUNDING = 1e-9  # relative: tails that differ by less are equal
HALVINGS = 30  # of an interval in the logarithm, to find the width of a band


@dataclass(frozen=True)
class RankScores:
    """What the ranks of one quantity say, over independent runs; plain numbers.

    Attributes
    ----------
    runs, draws : int
        Number of ranks, and of the draws that each was taken among.
    p_value : float
        That uniform ranks stray as far from uniformity, anywhere; see `uniformity_p_value`.
    offset : float
        Mean of the ranks' normal scores: above zero where truths lie above the draws. 0 ± 1/√runs if calibrated.
    scatter : float
        Standard deviation of the normal scores: above one where draws are too narrow. 1 ± 1/√(2 runs) if calibrated.
    coverage : dict of int to float
        By the level in per cent, the share of truths within the central interval of the draws.
    """

    runs: int
    draws: int
    p_value: float
    offset: float
    scatter: float
    coverage: dict[int, float]

    def as_dict(self) -> dict[str, int | float | dict[int, float]]:
        """Return the scores by name, for JSON."""
        return asdict(self)


def truth_ranks(draws: np.ndarray, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """How many of the draws lie below the truth; ties are broken at random.

    Parameters
    ----------
    draws : ndarray, shape (draws, ...)
        Independent of one another. Mirrored pairs, m ± δ, are not: a number that is even in δ has the same value twice,
        so that every other rank never occurs. Give one of each pair.
    truth : ndarray, shape (...)
    seed : int
        Decides ties.

    Returns
    -------
    ndarray of int, shape (...)
        Between 0 and the number of draws.
    """
    below, equal = np.sum(draws < truth, axis=0), np.sum(draws == truth, axis=0)
    return below + np.random.default_rng(seed).integers(0, equal + 1)


def rank_scores(ranks: np.ndarray, draws: int) -> RankScores:
    """Score the ranks of one quantity.

    Parameters
    ----------
    ranks : ndarray of int, shape (runs,)
        One of each independent run.
    draws : int
        How many draws each rank was taken among.
    """
    counts = _counts(ranks, draws)
    scores = norm.ppf((np.arange(draws + 1) + 0.5) / (draws + 1))
    found, expected = scores[ranks], np.sqrt(np.mean(scores**2))
    return RankScores(
        len(ranks),
        draws,
        uniformity_p_value(ranks, draws),
        float(found.mean()),
        float(found.std() / expected),
        {level: rank_coverage(counts, level) for level in LEVELS},
    )


def uniformity_p_value(ranks: np.ndarray, draws: int) -> float:
    """Exact p-value of the largest excursion of the ranks' cumulative distribution, wherever it is.

    At each rank the number of ranks up to it is binomial. The statistic is the smallest of their two-sided tail
    probabilities, and the p-value the chance that uniform ranks have one as small anywhere.

    Parameters
    ----------
    ranks : ndarray of int, shape (runs,)
        Of independent runs.
    draws : int

    Notes
    -----
    Säilynoja, Bürkner & Vehtari (2022), Statistics and Computing 32, 32, whose bands `ecdf_band` gives: the p-value is
    at most 1 − level where the ranks leave the band of that level, and larger elsewhere.
    """
    reached = np.cumsum(_counts(ranks, draws))[:-1]
    tails = _tails(len(ranks), draws)
    smallest = tails[np.arange(draws), reached].min()
    return float(np.clip(1 - _probability_inside(tails > smallest * (1 + ROUNDING)), 0, 1))


def ecdf_band(runs: int, draws: int, level: float = 95) -> tuple[np.ndarray, np.ndarray]:
    """Limits within which the whole cumulative distribution of uniform ranks lies, with the chance of a level.

    Parameters
    ----------
    runs, draws : int
    level : float
        Per cent.

    Returns
    -------
    low, high : ndarray, shape (draws,)
        Of the share of ranks ≤ 0, 1, …, draws − 1. They hold at least what the level says: counts are whole numbers.
    """
    tails, outside = _tails(runs, draws), 1 - level / 100
    narrow, wide = np.log(2.0), np.log(outside / draws)  # the latter is wide enough whatever the correlations
    for _ in range(HALVINGS):
        middle = 0.5 * (narrow + wide)
        enough = _probability_inside(tails > np.exp(middle)) >= 1 - outside
        narrow, wide = (narrow, middle) if enough else (middle, wide)
    inside = tails > np.exp(wide)
    return inside.argmax(1) / runs, (runs - inside[:, ::-1].argmax(1)) / runs


def coverage_band(runs: int, level: float, confidence: float = 95) -> tuple[float, float]:
    """Binomial limits of the coverage that calibrated intervals of a level have in so many independent runs.

    Parameters
    ----------
    runs : int
    level, confidence : float
        Per cent: of the intervals, and of how often their coverage lies within the limits.
    """
    low, high = binom.interval(confidence / 100, runs, level / 100)
    return float(low / runs), float(high / runs)


def _counts(ranks: np.ndarray, draws: int) -> np.ndarray:
    """How often each rank occurs, shape (draws + 1,)."""
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or not len(ranks):
        raise PosteriorError(f"ranks must be one for each run, but have shape {ranks.shape}")
    if ranks.min() < 0 or ranks.max() > draws:
        raise PosteriorError(
            f"ranks among {draws} draws lie between 0 and {draws}, but these between {ranks.min()} and {ranks.max()}"
        )
    return np.bincount(ranks, minlength=draws + 1)


def _tails(runs: int, draws: int) -> np.ndarray:
    """Two-sided tail probability that so many ranks are ≤ k, shape (draws, runs + 1): at [k, count]."""
    share = np.arange(1, draws + 1)[:, None] / (draws + 1)
    count = np.arange(runs + 1)
    return 2 * np.minimum(binom.cdf(count, runs, share), binom.sf(count - 1, runs, share))


def _probability_inside(allowed: np.ndarray) -> float:
    """Chance that the running counts of uniform ranks are allowed everywhere, shape (draws, runs + 1).

    Given their sum, independent Poisson numbers are multinomial: each rank adds one of them to the running count, a
    convolution, from which the paths that are not allowed are taken away; at the end the count is that of the runs.
    """
    draws, runs = len(allowed), allowed.shape[1] - 1
    steps = poisson.pmf(np.arange(runs + 1), runs / (draws + 1))
    likely = steps[: np.flatnonzero(steps > SMALLEST_STEP)[-1] + 1]
    paths = np.zeros(runs + 1)
    paths[0] = 1.0
    for here in allowed:
        paths = np.convolve(paths, likely)[: runs + 1] * here
    return float(paths @ steps[::-1] / poisson.pmf(runs, runs))
