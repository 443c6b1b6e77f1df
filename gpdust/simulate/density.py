"""What a true density is: a function of position, and sums of such functions."""

from __future__ import annotations

from abc import ABC, abstractmethod

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from gpdust.units import DENSITY, PARSEC, as_array, as_quantity


class TrueDensity(ABC):
    """An extinction density that is known everywhere; true densities add up with ``+``.

    A new shape needs one method, `__call__`.
    """

    @abstractmethod
    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Density at heliocentric Cartesian points.

        Parameters
        ----------
        points : ndarray, shape (..., 3)
            x towards the Galactic centre, z towards the north Galactic pole, pc.

        Returns
        -------
        ndarray, shape (...)
            mag/pc, not negative.
        """

    def at(self, coordinates: SkyCoord) -> u.Quantity:
        """Density at sky coordinates with distances, mag/pc; see `__call__`."""
        return as_quantity(np.asarray(self(position(coordinates, "coordinates"))), DENSITY)

    def __add__(self, other: TrueDensity) -> SumDensity:
        if not isinstance(other, TrueDensity):
            return NotImplemented
        return SumDensity(self, other)


class SumDensity(TrueDensity):
    """The sum of true densities.

    Parameters
    ----------
    *parts : TrueDensity
        At least one. Sums among them are opened up.
    """

    def __init__(self, first: TrueDensity, *others: TrueDensity) -> None:
        self.parts: tuple[TrueDensity, ...] = sum(
            (part.parts if isinstance(part, SumDensity) else (part,) for part in (first, *others)), ()
        )

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Add up the parts; see `TrueDensity.__call__`."""
        total = self.parts[0](points)
        for part in self.parts[1:]:
            total = total + part(points)
        return total

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


def position(value: SkyCoord | u.Quantity, name: str) -> np.ndarray:
    """Turn sky coordinates with distances, or x, y, z along the last axis, into Cartesian points in pc.

    Raises
    ------
    MissingUnitError
        If the distance is missing, or x, y, z have no unit.
    ValueError
        If the last axis is not x, y, z.
    """
    if isinstance(value, SkyCoord):
        value = np.moveaxis(value.galactic.cartesian.xyz, 0, -1)
    points = as_array(value, PARSEC, name)
    if points.shape[-1:] != (3,):
        raise ValueError(f"{name} must be a SkyCoord or x, y, z along the last axis, not of shape {points.shape}")
    return points
