"""How far a trained V-net may be trusted: the range of what it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

QUANTILES = (0.01, 0.99)


@dataclass(frozen=True)
class Trust:
    """The 1 % and 99 % quantiles over the training cubes of two numbers that say how much dust a cube holds.

    Attributes
    ----------
    extinction : tuple of float
        Of the largest extinction of a cube, mag.
    cell : tuple of float
        Of the mean of ρL over a cube: the extinction of a mean cell, mag.
    """

    extinction: tuple[float, float]
    cell: tuple[float, float]

    @classmethod
    def of(cls, extinctions: Sequence[float], cells: Sequence[float]) -> Trust:
        """Take the quantiles, from one number a training cube of each kind."""
        return cls(*(tuple(float(q) for q in np.quantile(values, QUANTILES)) for values in (extinctions, cells)))

    @classmethod
    def from_dict(cls, record: dict[str, Sequence[float]]) -> Trust:
        """Make it from `as_dict`."""
        return cls(tuple(record["extinction"]), tuple(record["cell"]))

    def as_dict(self) -> dict[str, list[float]]:
        """Return plain values, for JSON."""
        return {name: list(limits) for name, limits in asdict(self).items()}

    def check(self, extinction: np.ndarray, cell: np.ndarray | None = None) -> list[str]:
        """Say what about some cubes lies outside what the net has seen.

        Parameters
        ----------
        extinction : ndarray or Tensor, shape (..., n, n, n)
            What the net is given, mag. Cells that are not finite are left out.
        cell : ndarray or Tensor, shape (..., n, n, n), optional
            ρL of what the net has answered, mag.

        Returns
        -------
        list of str
            Plain warnings; none where all is well.
        """
        warnings = []
        if not np.isfinite(np.asarray(extinction)).any():
            return ["no cell of the extinction is a number"]
        top = _each_cube(extinction, np.max)
        warnings += _outside("the largest extinction", top, self.extinction)
        if cell is not None:
            warnings += _outside("the extinction of a mean cell", _each_cube(cell, np.mean), self.cell)
        return warnings


def _each_cube(values: np.ndarray, reduce: np.ufunc) -> np.ndarray:
    """One number a cube, of its finite cells; cubes that have none are left out."""
    values = np.asarray(values)
    cubes = values.reshape(-1, np.prod(values.shape[-3:]))
    return np.array([reduce(finite) for cube in cubes if len(finite := cube[np.isfinite(cube)])])


def _outside(what: str, found: np.ndarray, limits: tuple[float, float]) -> list[str]:
    low, high = limits
    seen = f"of the training cubes, 98 % lie within {low:.3g} to {high:.3g} mag"
    sides = [
        (found < low, f"below {low:.3g} mag", found.min(initial=np.inf), "it may see dust in what is noise"),
        (found > high, f"above {high:.3g} mag", found.max(initial=-np.inf), "it has never seen so much dust"),
    ]
    return [
        f"{what} is {side} in {off.sum()} of {len(found)} cubes (as far as {extreme:.3g} mag); {seen}: {so}"
        for off, side, extreme, so in sides
        if off.any()
    ]
