"""A true density on a grid, and the extinction that it causes: what a map is scored against."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import astropy.units as u
import numpy as np
import torch
from astropy.coordinates import SkyCoord

from gpdust.catalogue import StarCatalogue
from gpdust.errors import GridError
from gpdust.grid import RayGrid
from gpdust.los import extinction_at, integrate, locate_stars
from gpdust.simulate.density import TrueDensity
from gpdust.simulate.truthfile import read_cubes, write_cubes
from gpdust.units import DEGREE, DENSITY, MAGNITUDE, PARSEC, as_array, as_quantity

CHUNK_POINTS = 1_000_000  # with the temporaries of a component, about 100 MB


@dataclass(frozen=True, eq=False)
class GridTruth:
    """A true density that is constant inside every cell of a grid.

    Parameters
    ----------
    grid : RayGrid
        The cells.
    density : Quantity, shape (ray, cell)
        mag/pc, not negative.

    Raises
    ------
    GridError
        If the density does not fit the grid, or is negative or not finite somewhere.
    """

    grid: RayGrid
    density: u.Quantity

    def __post_init__(self) -> None:
        density = as_array(self.density, DENSITY, "density")
        if density.shape != self.grid.shape:
            raise GridError(f"the density has shape {density.shape}, but the grid has {self.grid.shape} (rays, cells)")
        if not ((density >= 0) & np.isfinite(density)).all():
            raise GridError("a true density must be finite and not negative everywhere")
        object.__setattr__(self, "density", as_quantity(density, DENSITY))

    @classmethod
    def sample(cls, density: TrueDensity, grid: RayGrid) -> GridTruth:
        """Read a true density off at the centres of the cells of a grid."""
        values = np.empty(grid.shape)
        step = max(1, CHUNK_POINTS // grid.n_cells)
        for first in range(0, grid.n_rays, step):
            rays = slice(first, first + step)
            values[rays] = density(grid.cell_points(rays))
        return cls(grid, as_quantity(values, DENSITY))

    @cached_property
    def extinction(self) -> u.Quantity:
        """Extinction at the outer edge of every cell, mag, shape (ray, cell)."""
        density = torch.from_numpy(as_array(self.density, DENSITY, "density"))
        return as_quantity(integrate(density, torch.from_numpy(self.grid.cell_lengths)), MAGNITUDE)

    def extinction_at(self, stars: StarCatalogue | SkyCoord) -> u.Quantity:
        """Extinction of stars, exactly integrated along their rays.

        Parameters
        ----------
        stars : StarCatalogue or SkyCoord with distances, shape (stars,)
            Where the stars are.

        Returns
        -------
        Quantity, shape (stars,)
            mag.

        Raises
        ------
        GridError
            If a star lies outside the grid.
        """
        if isinstance(stars, SkyCoord):
            stars = stars.galactic
        positions = locate_stars(
            self.grid,
            as_array(stars.l, DEGREE, "l"),
            as_array(stars.b, DEGREE, "b"),
            as_array(stars.distance, PARSEC, "distance"),
        )
        if not positions.inside.all():
            outside = np.count_nonzero(~positions.inside)
            raise GridError(f"{outside} of {positions.ray.size} stars lie outside the grid of the truth, {self.grid}")
        extinction = torch.from_numpy(as_array(self.extinction, MAGNITUDE, "extinction"))
        return as_quantity(extinction_at(extinction, positions), MAGNITUDE)

    def write(self, path: str | os.PathLike) -> None:
        """Write density and extinction as FITS cubes; see `gpdust.simulate.truthfile.write_cubes`."""
        write_cubes(path, self.grid, self.density, self.extinction)

    @classmethod
    def read(cls, path: str | os.PathLike) -> GridTruth:
        """Read what `write` wrote; see `gpdust.simulate.truthfile.read_cubes`."""
        return cls(*read_cubes(path))
