"""Lines of sight: density on cells to extinction, at cell edges and at stars."""

from gpdust.los.operator import adjoint, integrate
from gpdust.los.stars import StarPositions, extinction_at, locate_stars

__all__ = ["StarPositions", "adjoint", "extinction_at", "integrate", "locate_stars"]
