"""Lines of sight: density on cells to extinction, at cell edges and at stars."""

from gpdust.los.cartesian import cube_extinction, cube_extinction_adjoint
from gpdust.los.operator import adjoint, integrate
from gpdust.los.stars import StarPositions, extinction_at, locate_stars

__all__ = [
    "StarPositions",
    "adjoint",
    "cube_extinction",
    "cube_extinction_adjoint",
    "extinction_at",
    "integrate",
    "locate_stars",
]
