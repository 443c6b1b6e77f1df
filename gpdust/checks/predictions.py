"""What a posterior predicts for each star, before its extinction is looked at, and where the measurement falls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from gpdust.catalogue import StarCatalogue
from gpdust.checks.noise_tails import log_tails
from gpdust.checks.predictive_pass import (
    ABOVE,
    BELOW,
    COLUMNS,
    MATCHED_ABOVE,
    MATCHED_BELOW,
    MEAN,
    VARIANCE,
    predictive_pass,
)
from gpdust.errors import PosteriorError
from gpdust.likelihood import StarReport
from gpdust.posterior import Posterior
from gpdust.units import DEGREE, as_array

MAX_STARS = 50_000  # more would not change a verdict
KEPT_DRAWS = 100  # of the map's error at every star, which neighbours share
CLIP = 8.0  # σ; a residual beyond is no better known than this


@dataclass(frozen=True, eq=False)
class StarPredictions:
    """Predictions for stars, and how they met the measurements; plain numbers.

    Attributes
    ----------
    number : ndarray of int, shape (stars,)
        The star's place in the catalogue.
    l, b, distance : ndarray, shape (stars,)
        deg and pc, as measured.
    measured, predicted, error : ndarray, shape (stars,)
        Measured extinction, mean of the prediction, and its standard deviation with the noise, mag. For a Student-t or
        a mixture the noise counts with the scale of its core.
    pit : ndarray, shape (stars,)
        Predictive probability of a lower measurement: uniform between 0 and 1 where all is right.
    residual : ndarray, shape (stars,)
        Its normal quantile, within ±8: unit normal where all is right. Positive where stars see more than the map.
    map_share : ndarray, shape (stars,)
        Share of the predictive variance that is the map's own.
    shifts : ndarray, shape (draws, stars)
        Draws of the map at each star, in units of `error`; up to 100. They are normal quantiles of their ranks, as
        residuals are of probabilities: a draw's extinction has a tail that neither of them has.
    report : StarReport
        How many stars are on the grid.
    """

    number: np.ndarray
    l: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    error: np.ndarray
    pit: np.ndarray
    residual: np.ndarray
    map_share: np.ndarray
    shifts: np.ndarray
    report: StarReport

    def __len__(self) -> int:
        return len(self.residual)


def predict_stars(posterior: Posterior, stars: StarCatalogue, samples: int, seed: int) -> StarPredictions:
    """Predict the stars on the grid of a posterior, at most 50 000 of them at random, a few rays at a time.

    Raises
    ------
    PosteriorError
        If there are fewer than two draws, or no star on the grid.
    """
    if samples < 2:
        raise PosteriorError(f"a check needs at least two draws of the map, not {samples}")
    chosen, outside = _on_the_sky(posterior, stars, seed)
    likelihood = posterior.treatment.star_by_star(stars[chosen], posterior.grid)
    report = replace(likelihood.report, outside=outside)
    if not likelihood.n_stars:
        raise PosteriorError(
            f"none of the {len(stars)} stars can be used on the grid of this fit ({posterior.grid!r}): {report}"
        )
    noise = posterior.treatment.noise
    numbers, table = noise.numbers(), log_tails(noise)
    rows = np.empty((len(chosen), COLUMNS))
    shifts = np.empty((min(samples, KEPT_DRAWS), len(chosen)), dtype=np.float32)
    for rays, _, extinction in posterior.sample_chunks(posterior.grid, samples, seed):
        part = likelihood[rays].scattering_as(extinction)
        here = part.stars.number
        rows[here], centre = predictive_pass(part.arrays, numbers, table, extinction.numpy())
        share = centre.var(1, ddof=1) / rows[here, VARIANCE]
        shifts[:, here] = np.sqrt(share) * _normal_scores(centre[:, : len(shifts)].T)
    order = np.argsort(likelihood.stars.number)
    measured, rows = likelihood.stars[order], rows[likelihood.stars.number[order]]
    shifts = shifts[:, measured.number]
    pit, residual = _pit_and_residual(rows, samples)
    return StarPredictions(
        number=chosen[measured.number],
        l=measured.l,
        b=measured.b,
        distance=measured.distances.best,
        measured=measured.extinction,
        predicted=rows[:, MEAN],
        error=np.sqrt(rows[:, VARIANCE]),
        pit=pit,
        residual=residual,
        map_share=shifts.var(0, ddof=1),
        shifts=shifts,
        report=report,
    )


def _pit_and_residual(rows: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of a lower measurement, and its normal quantile from whichever tail is the smaller.

    K draws can't tell tails below 1/K where the map's error is above the noise: one star in fifty would lie beyond all
    of 100. There the Gaussian of their mean and variance has a say.
    """
    below, above = (
        np.where(rows[:, drawn] < 1 / samples, np.maximum(rows[:, drawn], rows[:, matched]), rows[:, drawn])
        for drawn, matched in ((BELOW, MATCHED_BELOW), (ABOVE, MATCHED_ABOVE))
    )
    below, above = np.clip(below, 0, 1), np.clip(above, 0, 1)  # sums of weights in single precision
    with np.errstate(divide="ignore"):
        residual = np.where(below < above, ndtri(below), -ndtri(above))
    return np.where(below < above, below, 1 - above), np.clip(residual, -CLIP, CLIP)


def _normal_scores(draws: np.ndarray) -> np.ndarray:
    """Normal quantiles of the ranks of draws along the first axis, scaled to unit variance."""
    quantiles = ndtri((np.arange(len(draws)) + 0.5) / len(draws))
    return (quantiles / quantiles.std(ddof=1))[draws.argsort(0).argsort(0)]


def _on_the_sky(posterior: Posterior, stars: StarCatalogue, seed: int) -> tuple[np.ndarray, int]:
    """Which stars to look at: those in columns of the grid, or MAX_STARS of them; and how many are in no column."""
    l, b = as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b")
    found = np.flatnonzero(posterior.grid.locate_rays(l, b) >= 0)
    outside = len(stars) - len(found)
    if len(found) > MAX_STARS:
        found = np.sort(np.random.default_rng(seed).choice(found, MAX_STARS, replace=False))
    return found, outside
