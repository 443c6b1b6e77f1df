"""What a check would find if map and errors were right: residuals are simulated, with the error that the map shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpdust.checks.predictions import StarPredictions

REPLICATES = 100
LEAST_VARIANCE = 0.1  # of a fitted star's residual: the map can't follow it entirely
INTERVALS = {50: 0.674490, 68: 0.994458, 95: 1.959964}  # per cent to half widths of central intervals, σ
FAR = (3, 5)  # σ
NAMES = ("median", "robust_sigma", *(f"within_{level}" for level in INTERVALS), *(f"beyond_{far}" for far in FAR))


@dataclass(frozen=True)
class Statistic:
    """A number of all stars, beside what it would be.

    Attributes
    ----------
    value : float
        Found.
    expected, error : float
        If all is right: its mean, and its scatter from survey to survey.
    """

    value: float
    expected: float
    error: float

    @property
    def significance(self) -> float:
        """How many standard errors the value lies above what is expected."""
        return (self.value - self.expected) / self.error


def statistics(residual: np.ndarray) -> np.ndarray:
    """Median, robust σ, shares within intervals and shares far off of standardised residuals, in the order of NAMES."""
    low, middle, high = np.percentile(residual, [16, 50, 84])
    size = np.abs(residual)
    within = [np.mean(size < width) for width in INTERVALS.values()]
    return np.array([middle, (high - low) / 2 / INTERVALS[68], *within, *(np.mean(size > far) for far in FAR)])


def compare_with_reference(stars: StarPredictions, held_out: bool, seed: int) -> dict[str, Statistic]:
    """The statistics of all stars, and what they would be.

    Notes
    -----
    A share v of a star's predictive variance is the map's. For stars that the fit has not seen, z = √(1 − v) ε + u with
    ε a unit normal of each star's own and u a draw of the map, the same for all stars: errors of the map that
    neighbours share count once, not once a star. For stars that were fitted, residuals have the variance 1 − 2v (of a
    linear model with Gaussian noise s²: s² − m², against a predictive variance of s² + m²) and are drawn by themselves,
    which overrates the scatter of their means.

    Of 20 truths drawn from the prior of a fit (6 × 6 × 10 cells, 2500 stars, 30 % of the sky held out), the verdict
    spoke against none, neither by the fitted stars nor by the others; robust sigmas were 1.02 ± 0.02 times (scatter)
    what is expected of fitted stars, and 1.385 ± 0.03 times with errors understated by 1.4.
    """
    rng = np.random.default_rng([seed, 2])
    own = own_variance(stars, held_out)
    found = np.empty((REPLICATES, len(NAMES)))
    for row in range(REPLICATES):
        residual = np.sqrt(own) * rng.standard_normal(len(stars))
        if held_out:
            residual += stars.shifts[row % len(stars.shifts)]
        found[row] = statistics(residual)
    expected, scatter = found.mean(0), found.std(0, ddof=1)
    shares = np.array([not name.startswith(("median", "robust")) for name in NAMES])
    binomial = np.sqrt(np.maximum(expected * (1 - expected), 1 / len(stars)) / len(stars))
    error = np.where(shares, np.maximum(scatter, binomial), scatter)
    columns = zip(statistics(stars.residual), expected, error, strict=True)
    return {name: Statistic(*map(float, row)) for name, row in zip(NAMES, columns, strict=True)}


def own_variance(stars: StarPredictions, held_out: bool) -> np.ndarray:
    """Expected variance of a star's standardised residual that it does not share with others, shape (stars,)."""
    return np.maximum(1 - (1 if held_out else 2) * stars.map_share, 0 if held_out else LEAST_VARIANCE)
