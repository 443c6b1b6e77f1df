"""The values of a map over the sky at one distance."""

from __future__ import annotations

import astropy.units as u
import numpy as np

from gpdust.errors import PosteriorError
from gpdust.grid import RayGrid
from gpdust.posterior.maps import PercentileMaps
from gpdust.units import PARSEC, as_float


def values_of(maps: PercentileMaps, quantity: str, percentile: float) -> np.ndarray:
    """Density (mag/pc) or extinction (mag) of all cells, shape (ray, cell).

    Raises
    ------
    PosteriorError
        If `quantity` is neither "density" nor "extinction", or the maps do not hold the percentile.
    """
    if quantity not in ("density", "extinction"):
        raise PosteriorError(f"quantity must be 'density' or 'extinction', not {quantity!r}")
    values = maps.density_values if quantity == "density" else maps.extinction_values
    return values[maps.index(percentile)]


def cell_at(grid: RayGrid, distance: u.Quantity, quantity: str) -> int:
    """Index of the cell that answers for a distance.

    A density holds in the cell around the distance. An extinction is known at the outer edges of cells, so it is that
    of the nearest one.

    Raises
    ------
    PosteriorError
        If the distance lies outside the grid.
    """
    wanted, edges = as_float(distance, PARSEC, "distance"), grid.edges
    if not edges[0] <= wanted <= edges[-1]:
        raise PosteriorError(f"these maps reach from {edges[0]:g} to {edges[-1]:g} pc; {wanted:g} pc lies outside")
    if quantity == "extinction":
        return int(np.abs(edges[1:] - wanted).argmin())
    return int(grid.locate_cells(np.array(wanted)))


def sky_values(maps: PercentileMaps, distance: u.Quantity, quantity: str, percentile: float) -> np.ndarray:
    """Value of every ray at one distance, plain numbers, shape (rays,); see `cell_at`."""
    return values_of(maps, quantity, percentile)[:, cell_at(maps.grid, distance, quantity)]
