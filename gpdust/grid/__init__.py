"""Rays and cells: where density is defined."""

from gpdust.grid.healpix import HealpixGrid
from gpdust.grid.rays import RayGrid
from gpdust.grid.region import Region
from gpdust.grid.spherical import SphericalGrid

__all__ = ["HealpixGrid", "RayGrid", "Region", "SphericalGrid", "grid_from_description"]

_KINDS = {grid.kind: grid for grid in (RayGrid, SphericalGrid, HealpixGrid)}


def grid_from_description(description: dict) -> RayGrid:
    """Build a grid again from what its `description` returned."""
    return _KINDS[description["kind"]].from_description(description)
