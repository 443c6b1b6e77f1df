"""Percentile maps of density and extinction: the product that most users want."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from gpdust.errors import PosteriorError
from gpdust.grid import RayGrid
from gpdust.units import DENSITY, MAGNITUDE, as_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class PercentileMaps:
    """Percentiles of density and extinction in every cell of a grid.

    Attributes
    ----------
    grid : RayGrid
        The cells, without foreground and background.
    percentiles : tuple of float
        In increasing order, 0–100.
    density_values : ndarray, shape (percentile, ray, cell)
        mag/pc.
    extinction_values : ndarray, shape (percentile, ray, cell)
        From the Sun to the outer edge of each cell, mag.
    meta : dict
        Band, quantity and reference of the catalogue, seed, versions: whatever a product should carry.
    """

    grid: RayGrid
    percentiles: tuple[float, ...]
    density_values: np.ndarray
    extinction_values: np.ndarray
    meta: dict = field(default_factory=dict)

    @property
    def density(self) -> u.Quantity:
        """Extinction density, mag/pc, shape (percentile, ray, cell)."""
        return as_quantity(self.density_values, DENSITY)

    @property
    def extinction(self) -> u.Quantity:
        """Extinction at the outer edge of each cell, mag, shape (percentile, ray, cell)."""
        return as_quantity(self.extinction_values, MAGNITUDE)

    def index(self, percentile: float) -> int:
        """Position of a percentile along the first axis.

        Raises
        ------
        PosteriorError
            If the maps do not hold it.
        """
        for position, held in enumerate(self.percentiles):
            if np.isclose(held, percentile):
                return position
        raise PosteriorError(f"these maps hold the percentiles {self.percentiles}, not {percentile:g}")

    def write(self, path: str | PathLike) -> Path:
        """Write the maps to FITS, atomically; see `gpdust.export.write_maps`."""
        from gpdust.export import write_maps

        return write_maps(self, path)

    @classmethod
    def read(cls, path: str | PathLike) -> PercentileMaps:
        """Read maps that `write` has written."""
        from gpdust.export import read_maps

        return read_maps(path)

    def plot_slices(self, distances: u.Quantity, **options) -> np.ndarray[Axes]:
        """Draw the density at chosen distances; see `gpdust.plot.plot_slices`."""
        from gpdust.plot import plot_slices

        return plot_slices(self, distances, **options)

    def plot_extinction(self, **options) -> Axes:
        """Draw the total extinction; see `gpdust.plot.plot_extinction`."""
        from gpdust.plot import plot_extinction

        return plot_extinction(self, **options)
