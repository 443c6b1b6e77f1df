"""The formulas of the scores, on plain arrays."""

from __future__ import annotations

import numpy as np

LEVELS = (50, 68, 95)  # per cent, of the central intervals whose coverage is reported


def relative_error(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Relative error of arrays of one shape: the modulus of (estimate − truth) / truth."""
    return np.abs(estimate - truth) / truth


def coverage(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> float:
    """Fraction of places where low ≤ truth ≤ high, of arrays of one shape."""
    return float(np.mean((low <= truth) & (truth <= high)))


def bias_and_scatter(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of estimate − truth."""
    difference = estimate - truth
    return float(np.mean(difference)), float(np.std(difference))


def median_and_p90(values: np.ndarray) -> tuple[float, float]:
    """Median and 90th percentile of all values."""
    median, p90 = np.percentile(values, [50, 90])
    return float(median), float(p90)


def rank_coverage(counts: np.ndarray, level: float) -> float:
    """Coverage of the central interval of a level, from the ranks of the truth among the draws.

    Percentiles of n draws make intervals that are too narrow: that from 2.5 to 97.5 % of 20 draws holds another draw in
    86 % of cases only. Ranks do not have this fault. If truth and draws come from one distribution, all n + 1 ranks are
    equally likely, and the coverage found is the level on average, whatever n is. A rank at the border of the interval
    counts by the part of it that lies inside.

    Parameters
    ----------
    counts : ndarray, shape (draws + 1,)
        At position r, the number of places where r of the draws lie below the truth.
    level : float
        Per cent.

    Returns
    -------
    float
        Between 0 and 1.
    """
    ranks = len(counts)
    edges = np.arange(ranks + 1) / ranks
    inside = np.minimum(edges[1:], 0.5 + level / 200) - np.maximum(edges[:-1], 0.5 - level / 200)
    return float(counts @ np.clip(inside * ranks, 0, None) / counts.sum())


def crps(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of draws: E|X − y| − ½ E|X − X′|, in the unit of the truth y.

    Parameters
    ----------
    samples : ndarray, shape (draws, ...)
        At least two draws X; X′ is another draw than X, so that the score does not depend on how many there are.
    truth : ndarray, shape (...)

    Returns
    -------
    ndarray, shape (...)
        Smaller is better; for a single certain value it is the absolute error.
    """
    return crps_of_ordered(np.sort(samples, axis=0), truth)


def crps_of_ordered(ordered: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`crps` of draws that increase along the first axis."""
    n = len(ordered)
    # The mean of |X − X′| over pairs, from sorted draws.
    between = 2 * np.tensordot(2 * np.arange(1, n + 1) - n - 1.0, ordered, axes=1) / (n * (n - 1))
    return np.mean(np.abs(ordered - truth), axis=0) - between / 2
