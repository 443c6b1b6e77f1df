"""Simple shapes of dust: uniform, disc, sheet, clump, shell and filament.

Every width is the standard deviation of a Gaussian cross-section, so that a straight path across a component gathers
peak · width · √(2π) magnitudes. Positions are a SkyCoord with a distance, or heliocentric Galactic x, y, z.
"""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from gpdust.errors import ConfigError
from gpdust.simulate.density import TrueDensity, position
from gpdust.units import DENSITY, PARSEC, as_array, as_float

Position = SkyCoord | u.Quantity


@dataclass(frozen=True, eq=False)
class _Component(TrueDensity):
    """A shape described by a few numbers, which are checked as soon as it is made."""

    def __post_init__(self) -> None:
        self(np.zeros((1, 3)))  # an unusable number shows here rather than deep inside a simulation


@dataclass(frozen=True, eq=False)
class UniformDensity(_Component):
    """The same density everywhere.

    Parameters
    ----------
    density : Quantity
        mag/pc.
    """

    density: u.Quantity

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """See `TrueDensity.__call__`."""
        return np.full(points.shape[:-1], _peak(self.density, "uniform density"))


@dataclass(frozen=True, eq=False)
class ExponentialDisc(_Component):
    """A plane-parallel disc through the Sun, ρ = ρ₀ exp(−|z| / h).

    Parameters
    ----------
    midplane : Quantity
        ρ₀, mag/pc.
    scale_height : Quantity
        h, a length.
    """

    midplane: u.Quantity
    scale_height: u.Quantity

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """See `TrueDensity.__call__`."""
        return _peak(self.midplane, "disc midplane") * np.exp(
            -np.abs(points[..., 2]) / _width(self.scale_height, "disc scale_height")
        )


@dataclass(frozen=True, eq=False)
class Sheet(_Component):
    """An infinite flat sheet.

    Parameters
    ----------
    point : SkyCoord or Quantity, shape (3,)
        Any point in the sheet.
    normal : array_like, shape (3,)
        Direction across the sheet in x, y, z; its length does not matter.
    thickness, peak : Quantity
        Gaussian half thickness, a length; density in the middle, mag/pc.
    """

    point: Position
    normal: tuple[float, float, float]
    thickness: u.Quantity
    peak: u.Quantity

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """See `TrueDensity.__call__`."""
        normal = np.asarray(self.normal, dtype=np.float64)
        length = np.linalg.norm(normal)
        if normal.shape != (3,) or not 0 < length < np.inf:
            raise ConfigError(f"sheet normal must be a direction of three numbers, not {self.normal}")
        offset = (points - position(self.point, "sheet point")) @ (normal / length)
        return _gaussian(offset**2, self.thickness, self.peak, "sheet")


@dataclass(frozen=True, eq=False)
class GaussianClump(_Component):
    """A Gaussian overdensity.

    Parameters
    ----------
    centre : SkyCoord or Quantity, shape (3,)
        Its middle.
    sigma : Quantity, scalar or shape (3,)
        Standard deviation, or those along x, y and z; lengths.
    peak : Quantity
        Density in the middle, mag/pc.
    """

    centre: Position
    sigma: u.Quantity
    peak: u.Quantity

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """See `TrueDensity.__call__`."""
        sigma = _width(self.sigma, "clump sigma")
        if sigma.shape not in ((), (3,)):
            raise ConfigError(f"clump sigma must be one length or three, not of shape {sigma.shape}")
        offset = (points - position(self.centre, "clump centre")) / sigma
        return _peak(self.peak, "clump peak") * np.exp(-0.5 * np.einsum("...i,...i", offset, offset))


@dataclass(frozen=True, eq=False)
class Shell(_Component):
    """A spherical shell, such as the wall of a bubble.

    Parameters
    ----------
    centre : SkyCoord or Quantity, shape (3,)
        Its middle.
    radius, thickness : Quantity
        Radius of the densest layer; Gaussian half thickness; lengths.
    peak : Quantity
        Density of the densest layer, mag/pc.
    """

    centre: Position
    radius: u.Quantity
    thickness: u.Quantity
    peak: u.Quantity

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """See `TrueDensity.__call__`."""
        radius = np.linalg.norm(points - position(self.centre, "shell centre"), axis=-1)
        return _gaussian((radius - _width(self.radius, "shell radius")) ** 2, self.thickness, self.peak, "shell")


@dataclass(frozen=True, eq=False)
class Filament(_Component):
    """A straight filament with round ends.

    Parameters
    ----------
    start, end : SkyCoord or Quantity, shape (3,)
        The ends of its spine.
    width, peak : Quantity
        Gaussian half width, a length; density on the spine, mag/pc.
    """

    start: Position
    end: Position
    width: u.Quantity
    peak: u.Quantity

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """See `TrueDensity.__call__`."""
        start = position(self.start, "filament start")
        spine = position(self.end, "filament end") - start
        if not spine @ spine > 0:
            raise ConfigError("filament start and end are the same place; use a GaussianClump")
        offset = points - start
        along = np.clip(offset @ spine / (spine @ spine), 0, 1)
        offset -= along[..., None] * spine  # what is left points from the nearest place on the spine
        return _gaussian(np.einsum("...i,...i", offset, offset), self.width, self.peak, "filament")


def _gaussian(squared_distance: np.ndarray, width: u.Quantity, peak: u.Quantity, name: str) -> np.ndarray:
    return _peak(peak, f"{name} peak") * np.exp(-0.5 * squared_distance / _width(width, f"{name} width") ** 2)


def _width(value: u.Quantity, name: str) -> np.ndarray:
    width = as_array(value, PARSEC, name)
    if not ((width > 0) & np.isfinite(width)).all():
        raise ConfigError(f"{name} must be positive, not {value}")
    return width


def _peak(value: u.Quantity, name: str) -> float:
    peak = as_float(value, DENSITY, name)
    if not 0 <= peak < np.inf:
        raise ConfigError(f"{name} can't be negative or infinite: {value}")
    return peak
