"""Measured stars as plain numbers: all that a likelihood is made of, and can be made of again on another grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from gpdust.errors import CatalogueError
from gpdust.likelihood.distances import DistanceMeasurements


@dataclass(frozen=True)
class MeasuredStars:
    """Directions, distances and extinctions of stars, with their errors.

    Attributes
    ----------
    l, b : ndarray, shape (stars,)
        Degrees.
    distances : DistanceMeasurements
        Of as many stars.
    extinction : ndarray, shape (stars,)
        Measured, mag.
    lower_error, upper_error : ndarray, shape (stars,)
        Its σ below and above, mag.
    local_extinction : ndarray, shape (stars,)
        What a scatter in proportion to extinction is a share of, mag.
    number : ndarray of int, shape (stars,)
        The star's place in the whole table, of which this may be a chunk.
    """

    l: np.ndarray
    b: np.ndarray
    distances: DistanceMeasurements
    extinction: np.ndarray
    lower_error: np.ndarray
    upper_error: np.ndarray
    local_extinction: np.ndarray
    number: np.ndarray

    @classmethod
    def make(
        cls,
        l: np.ndarray,
        b: np.ndarray,
        distances: DistanceMeasurements,
        extinction: np.ndarray,
        error: np.ndarray,
        upper_error: np.ndarray | None = None,
        first: int = 0,
        local_extinction: np.ndarray | None = None,
    ) -> MeasuredStars:
        """Stars with one error of the extinction, or a lower and an upper one; numbered from `first` on.

        Without a local extinction, that is what was measured.

        Raises
        ------
        CatalogueError
            If there are not as many of each, an extinction is not finite, or an error not positive.
        """
        upper_error = error if upper_error is None else upper_error
        local = extinction if local_extinction is None else local_extinction
        columns = [np.array(column, dtype=float) for column in (l, b, extinction, error, upper_error, local)]
        if any(column.shape != (len(distances),) for column in columns):
            shapes = ", ".join(str(column.shape) for column in columns)
            raise CatalogueError(f"{len(distances)} distances need as many l, b, extinctions and errors, not {shapes}")
        l, b, extinction, lower_error, upper_error, local = columns
        if not all(np.isfinite(column).all() for column in columns):
            raise CatalogueError("directions, extinctions and their errors must be finite numbers")
        if not (np.minimum(lower_error, upper_error) > 0).all():
            raise CatalogueError("errors of the extinction must be positive")
        number = np.arange(first, first + len(distances))
        return cls(l, b, distances, extinction, lower_error, upper_error, local, number)

    def __len__(self) -> int:
        return len(self.extinction)

    def __getitem__(self, which: np.ndarray) -> MeasuredStars:
        return MeasuredStars(
            self.l[which],
            self.b[which],
            self.distances[which],
            self.extinction[which],
            self.lower_error[which],
            self.upper_error[which],
            self.local_extinction[which],
            self.number[which],
        )

    @classmethod
    def concatenate(cls, parts: Iterable[MeasuredStars]) -> MeasuredStars:
        """Chunks of stars as one."""
        parts = list(parts)
        kinds = {type(part.distances) for part in parts}
        if len(kinds) > 1:
            raise CatalogueError(f"chunks of stars have different distances: {', '.join(k.__name__ for k in kinds)}")
        before = ("l", "b"), ("extinction", "lower_error", "upper_error", "local_extinction", "number")
        columns = [[np.concatenate([getattr(part, name) for part in parts]) for name in names] for names in before]
        return cls(*columns[0], kinds.pop().concatenate(part.distances for part in parts), *columns[1])

    def with_errors_times(self, factor: float) -> MeasuredStars:
        """The same stars with errors of the extinction so many times as large."""
        return replace(self, lower_error=factor * self.lower_error, upper_error=factor * self.upper_error)


@dataclass(frozen=True)
class StarReport:
    """What became of the stars that were given.

    Attributes
    ----------
    used : int
        Stars in the likelihood.
    outside : int
        On no ray of the grid.
    too_near, too_far : int
        Too small a share of their probability on the grid, most of the rest in front of it or beyond it.
    bounds : int
        Used, though they most likely lie beyond the far end: what is in front of it is no more than they show.
    cut : int
        Used, and measured within the region itself, but with more than a quarter of their probability beyond the far
        end.
    dropped : float
        The largest share of any star in cells that were left out.
    """

    used: int = 0
    outside: int = 0
    too_near: int = 0
    too_far: int = 0
    bounds: int = 0
    cut: int = 0
    dropped: float = 0.0

    def __add__(self, other: StarReport) -> StarReport:
        return StarReport(
            self.used + other.used,
            self.outside + other.outside,
            self.too_near + other.too_near,
            self.too_far + other.too_far,
            self.bounds + other.bounds,
            self.cut + other.cut,
            max(self.dropped, other.dropped),
        )

    def __str__(self) -> str:
        left_out = [
            f"{count} {reason}"
            for count, reason in (
                (self.outside, "outside its sky"),
                (self.too_near, "nearer than its near end"),
                (self.too_far, "beyond its far end"),
            )
            if count
        ]
        bounds = f" or as bounds from beyond its far end ({self.bounds})" if self.bounds else ""
        cut = f"; {self.cut} may well lie beyond its far end, where it has no cells for them" if self.cut else ""
        return (
            f"{self.used} stars on the grid{bounds}" + (f"; left out: {', '.join(left_out)}" if left_out else "") + cut
        )
