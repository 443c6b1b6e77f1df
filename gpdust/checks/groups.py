"""Residuals of groups of stars: along distance and extinction, and over the sky."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import healpy
import numpy as np

from gpdust.checks.predictions import StarPredictions
from gpdust.checks.reference import INTERVALS, own_variance

FEWEST = 20  # stars of a group
MOST_BINS = 12
LARGEST_NSIDE = 64
MOSTLY = 0.8  # of the stars lie in pixels with FEWEST of them
SIGMA_ERROR = 0.962  # of half the range from the 16th to the 84th percentile of a normal, times √n


@dataclass(frozen=True)
class Group:
    """Stars that have something in common.

    Attributes
    ----------
    where : dict
        low and high (pc or mag), or the pixel with l, b (deg) of the middle of its stars.
    stars : int
    median, median_error : float
        Of the standardised residual; the error holds what the stars' map errors have in common.
    sigma, sigma_error : float
        Half of 16–84 % of the standardised residual; the error is that of independent stars.
    excess, excess_error : float
        Median of measured − predicted, mag, from standardised residuals times predictive errors.
    """

    where: dict
    stars: int
    median: float
    median_error: float
    sigma: float
    sigma_error: float
    excess: float
    excess_error: float

    @property
    def significance(self) -> float:
        """How many standard errors the median lies above zero."""
        return self.median / self.median_error

    def as_dict(self) -> dict:
        """As plain data."""
        return asdict(self) | {"significance": self.significance}


@dataclass(frozen=True)
class Groups:
    """Makes groups of the stars of one check.

    Attributes
    ----------
    predictions : StarPredictions
    held_out : bool
    stretch : float
        How many times larger than expected residuals are on the whole, which makes medians as much less certain.
    """

    predictions: StarPredictions
    held_out: bool
    stretch: float

    @cached_property
    def _own(self) -> np.ndarray:
        return own_variance(self.predictions, self.held_out)

    def measure(self, which: np.ndarray, where: dict) -> Group:
        """Look at some stars, by index."""
        stars, n = self.predictions, len(which)
        residual = stars.residual[which]
        low, median, high = np.percentile(residual, [16, 50, 84])
        sigma = (high - low) / 2 / INTERVALS[68]
        variance = math.pi / 2 * self._own[which].mean() / n
        if self.held_out:
            variance += stars.shifts[:, which].mean(1).var(ddof=1)
        error = self.stretch * math.sqrt(variance)
        excess, size = np.median(residual * stars.error[which]), np.median(stars.error[which])
        numbers = (median, error, sigma, sigma * SIGMA_ERROR / math.sqrt(n), excess, error * size)
        return Group(where, n, *map(float, numbers))

    def bins(self, values: np.ndarray) -> list[np.ndarray]:
        """Indices of stars in bins of equal numbers along a value of theirs."""
        count = int(np.clip(len(values) // (2 * FEWEST), 1, MOST_BINS))
        return np.array_split(np.argsort(values, kind="stable"), count)

    def along(self, values: np.ndarray) -> list[Group]:
        """Groups of equal numbers along a value, from low to high."""
        return [self.measure(which, _range(values[which])) for which in self.bins(values)]

    def runs(self, values: np.ndarray, unit: str) -> Iterator[tuple[str, Group]]:
        """All runs of neighbouring bins with words for where they lie: the whole, then those that reach an end.

        `unit` is a number's format with its unit, as "{:.0f} pc".
        """
        bins = self.bins(values)
        runs = combinations_with_replacement(range(len(bins)), 2)
        for first, last in sorted(runs, key=lambda run: (run[0] > 0) + (run[1] < len(bins) - 1)):
            which = np.concatenate(bins[first : last + 1])
            group = self.measure(which, _range(values[which]))
            low, high = (unit.format(end) for end in group.where.values())
            if last == len(bins) - 1:
                yield (f"beyond {low}" if first else "on the whole"), group
            else:
                yield (f"from {low} to {high}" if first else f"up to {high}"), group

    @cached_property
    def nsides(self) -> list[int]:
        """Resolutions of the sky, coarse to fine, at which most stars have enough company."""
        found = [1]
        while found[-1] < LARGEST_NSIDE:
            _, place, counts = np.unique(self._pixels(2 * found[-1]), return_inverse=True, return_counts=True)
            if np.mean(counts[place] >= FEWEST) < MOSTLY:
                break
            found.append(2 * found[-1])
        return found

    def sky(self, nside: int) -> list[Group]:
        """Groups by HEALPix pixel (ring order), those with at least 20 stars; all of them where none has so many."""
        pixels = self._pixels(nside)
        order = np.argsort(pixels, kind="stable")
        found, starts = np.unique(pixels[order], return_index=True)
        members = list(zip(found, np.split(order, starts[1:]), strict=True))
        enough = [(pixel, which) for pixel, which in members if len(which) >= FEWEST]
        return [self.measure(which, {"pixel": int(pixel)} | self._middle(which)) for pixel, which in enough or members]

    def _pixels(self, nside: int) -> np.ndarray:
        return healpy.ang2pix(nside, self.predictions.l, self.predictions.b, lonlat=True)

    def _middle(self, which: np.ndarray) -> dict[str, float]:
        """Direction of the middle of some stars, deg."""
        vectors = healpy.ang2vec(self.predictions.l[which], self.predictions.b[which], lonlat=True)
        l, b = healpy.vec2ang(vectors.mean(0), lonlat=True)
        return {"l": float(l[0] % 360), "b": float(b[0])}


def _range(values: np.ndarray) -> dict[str, float]:
    return {"low": float(values.min()), "high": float(values.max())}
