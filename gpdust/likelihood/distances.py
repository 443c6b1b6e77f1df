"""What was measured of each star's distance: a distance with its errors, or a parallax."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from gpdust.errors import CatalogueError

REACH = 6.5  # standard errors, beyond which nothing is integrated: 1e-10 of a Gaussian
STEPS = 10  # panels on either side of the measurement
FAR_REACH = 8.5  # of a parallax towards zero, where space, and with it the prior, grows without end
FARTHEST = 30_000.0  # pc, where a distance that a parallax leaves open ends


class DistanceMeasurements(Protocol):
    """Measured distances of stars, whatever was measured."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: np.ndarray | slice) -> Self:
        """Some of the stars."""

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> Self:
        """Chunks of stars as one."""

    @property
    def exact(self) -> np.ndarray:
        """Which stars have no distance error at all, boolean, shape (stars,)."""

    @property
    def best(self) -> np.ndarray:
        """The most likely distance, pc, shape (stars,)."""

    def log_likelihood(self, distance: np.ndarray) -> np.ndarray:
        """Log of the measurement's likelihood, about 0 at its best: (stars, points) in pc to (stars, points)."""

    def panels(self) -> np.ndarray:
        """Increasing distances, pc, shape (stars, points): the likelihood is smooth between them, zero outside."""


@dataclass(frozen=True)
class MeasuredDistances:
    """Distances with Gaussian errors, or with percentiles: half a Gaussian on either side, each with half the mass.

    A split normal without a jump, whose sides have as much as they are wide, would have another median.

    Attributes
    ----------
    distance : ndarray, shape (stars,)
        Median, pc.
    lower_error, upper_error : ndarray, shape (stars,)
        Distance to the 16th and 84th percentile, pc; both zero where the distance is known exactly.
    """

    distance: np.ndarray
    lower_error: np.ndarray
    upper_error: np.ndarray

    def __post_init__(self) -> None:
        _require(np.isfinite(self.distance) & (self.distance > 0), "distances must be positive numbers")
        errors = np.stack([self.lower_error, self.upper_error])
        _require(np.isfinite(errors).all(0) & (errors >= 0).all(0), "distance errors must not be negative")
        _require((self.lower_error > 0) == (self.upper_error > 0), "a distance error must not be zero on one side only")

    @classmethod
    def with_error(cls, distance: np.ndarray, error: np.ndarray | float) -> MeasuredDistances:
        """Distances with one error each; zero where they are exact."""
        distance = np.asarray(distance, dtype=float)
        error = np.array(np.broadcast_to(error, distance.shape), dtype=float)
        return cls(distance, error, error)

    def __len__(self) -> int:
        return len(self.distance)

    def __getitem__(self, which: np.ndarray | slice) -> MeasuredDistances:
        return MeasuredDistances(self.distance[which], self.lower_error[which], self.upper_error[which])

    @classmethod
    def concatenate(cls, parts: Iterable[MeasuredDistances]) -> MeasuredDistances:
        """Chunks of stars as one."""
        columns = zip(*((p.distance, p.lower_error, p.upper_error) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    @property
    def exact(self) -> np.ndarray:
        """Which stars have no distance error."""
        return self.upper_error == 0

    @property
    def best(self) -> np.ndarray:
        """The measured distance."""
        return self.distance

    def log_likelihood(self, distance: np.ndarray) -> np.ndarray:
        """−½ (d − distance)² / σ² − ln σ, with the error of that side, but for a constant."""
        offset = distance - self.distance[:, None]
        lower, upper = self.lower_error[:, None], self.upper_error[:, None]
        error = np.where(offset < 0, lower, upper)
        return -0.5 * (offset / error) ** 2 - np.log(error / np.sqrt(lower * upper))

    def panels(self) -> np.ndarray:
        """Equal steps on either side of the median, from zero on."""
        steps = np.linspace(0, REACH, STEPS + 1)
        below = self.distance[:, None] - self.lower_error[:, None] * steps[::-1]
        above = self.distance[:, None] + self.upper_error[:, None] * steps[1:]
        return np.maximum(np.concatenate([below, above], axis=1), 0)


@dataclass(frozen=True)
class MeasuredParallaxes:
    """Parallaxes with Gaussian errors; they may be negative, but then only a proper prior makes sense of them.

    Attributes
    ----------
    parallax, error : ndarray, shape (stars,)
        1/pc, free of the zero point. Distances end at 30 kpc.
    """

    parallax: np.ndarray
    error: np.ndarray

    def __post_init__(self) -> None:
        _require(np.isfinite(self.parallax), "parallaxes must be finite numbers")
        _require(np.isfinite(self.error) & (self.error >= 0), "parallax errors must not be negative")
        nearest = self.parallax + REACH * self.error
        _require(nearest > 1 / FARTHEST, f"parallaxes lie {REACH} errors and more below that of {FARTHEST:g} pc")

    def __len__(self) -> int:
        return len(self.parallax)

    def __getitem__(self, which: np.ndarray | slice) -> MeasuredParallaxes:
        return MeasuredParallaxes(self.parallax[which], self.error[which])

    @classmethod
    def concatenate(cls, parts: Iterable[MeasuredParallaxes]) -> MeasuredParallaxes:
        """Chunks of stars as one."""
        columns = zip(*((p.parallax, p.error) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    @property
    def exact(self) -> np.ndarray:
        """Which stars have no parallax error."""
        return self.error == 0

    @property
    def best(self) -> np.ndarray:
        """1 / parallax, at most 30 kpc."""
        return 1 / np.maximum(self.parallax, 1 / FARTHEST)

    def log_likelihood(self, distance: np.ndarray) -> np.ndarray:
        """−½ (1/d − parallax)² / σ²."""
        offset = 1 / np.maximum(distance, np.finfo(float).tiny) - self.parallax[:, None]
        return -0.5 * (offset / self.error[:, None]) ** 2

    def panels(self) -> np.ndarray:
        """Equal steps in parallax, and equal ratios of distance for the long tail of an uncertain one."""
        nearest = self.parallax + REACH * self.error
        farthest = np.maximum(self.parallax - FAR_REACH * self.error, 1 / FARTHEST)
        by_parallax = 1 / np.linspace(nearest, farthest, 2 * STEPS + 3, axis=1)
        by_ratio = np.geomspace(1 / nearest, 1 / farthest, 2 * STEPS + 1, axis=1)
        return np.sort(np.concatenate([by_parallax, by_ratio[:, 1:-1]], axis=1), axis=1)


def _require(condition: np.ndarray, message: str) -> None:
    if not np.all(condition):
        bad = np.flatnonzero(~condition)
        raise CatalogueError(f"{message}; {len(bad)} of {len(condition)} do not comply, the first is number {bad[0]}")
