"""One value per ray drawn on the sky, with l increasing to the left, as astronomers look at it."""

from __future__ import annotations

import healpy
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, MultipleLocator

from gpdust.errors import PosteriorError
from gpdust.grid import HealpixGrid, RayGrid, SphericalGrid
from gpdust.units import DEGREE, as_array

SKY_LABELS = ("$l$ / deg", "$b$ / deg")
STEPS_PER_PIXEL = 4  # of a HEALPix raster
MAX_STEPS = 720


class SkyMesh:
    """Where a value per ray goes on a picture of the sky.

    Rays of a spherical grid are drawn with their true edges. HEALPix pixels are looked up on a fine raster.

    Parameters
    ----------
    grid : SphericalGrid or HealpixGrid

    Attributes
    ----------
    l_edges, b_edges : ndarray
        Of the picture's cells, degrees; the longitudes increase and may run past 360 or below 0.

    Raises
    ------
    PosteriorError
        If the grid is a bare set of rays, which tile no part of the sky.
    """

    def __init__(self, grid: RayGrid) -> None:
        if isinstance(grid, SphericalGrid):
            self.l_edges, self.b_edges = as_array(grid.l_edges, DEGREE, "l"), as_array(grid.b_edges, DEGREE, "b")
        elif isinstance(grid, HealpixGrid):
            self.l_edges, self.b_edges = _raster(grid)
        else:
            raise PosteriorError("a bare set of rays can't be drawn on the sky; use a SphericalGrid or HealpixGrid")
        l, b = np.meshgrid(_middles(self.l_edges), _middles(self.b_edges))
        self._rays = grid.locate_rays(l, b)

    @property
    def aspect(self) -> float:
        """Length of a degree of b over one of l in the middle of the map."""
        middle = (self.b_edges[0] + self.b_edges[-1]) / 2
        return 1 / np.cos(np.radians(min(abs(middle), 60.0)))

    def panel_size(self, width: float) -> tuple[float, float]:
        """Inches that a panel of some width needs, with room for its title and labels."""
        height = width * self.aspect * np.ptp(self.b_edges) / np.ptp(self.l_edges)
        return width, float(np.clip(height, 0.3 * width, 1.6 * width)) + 0.5

    def image(self, values: np.ndarray) -> np.ndarray:
        """Values (rays,) laid out as (b, l), NaN where there is no ray."""
        return np.where(self._rays >= 0, values[self._rays], np.nan)

    def draw(self, axes: Axes, values: np.ndarray, norm: Normalize, cmap: str) -> QuadMesh:
        """Draw values (rays,) into axes; labels are up to the caller."""
        mesh = axes.pcolormesh(self.l_edges, self.b_edges, self.image(values), norm=norm, cmap=cmap, rasterized=True)
        axes.set_xlim(self.l_edges[-1], self.l_edges[0])
        axes.set_ylim(self.b_edges[0], self.b_edges[-1])
        axes.set_aspect(self.aspect)
        axes.xaxis.set_major_locator(_degree_ticks(self.l_edges))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda l, _: f"{round(l, 6) % 360:g}"))
        axes.yaxis.set_major_locator(_degree_ticks(self.b_edges))
        return mesh


def _degree_ticks(edges: np.ndarray) -> Locator:
    """Ticks of an angle: circles are not decimal."""
    for step in (5, 10, 15, 30, 45, 60, 90):
        if 3 * step <= np.ptp(edges) <= 6 * step:
            return MultipleLocator(step)
    return MaxNLocator(5, steps=[1, 2, 5, 10])


def _raster(grid: HealpixGrid) -> tuple[np.ndarray, np.ndarray]:
    """Edges of a raster around the pixels, whose longitudes begin after the widest gap between them."""
    size = healpy.nside2resol(grid.nside, arcmin=True) / 60
    l, b = np.sort(as_array(grid.l, DEGREE, "l")), as_array(grid.b, DEGREE, "b")
    gaps = np.diff(l, append=l[0] + 360)
    widest = gaps.argmax()
    first, span = l[(widest + 1) % l.size], 360 - gaps[widest]
    first, span = (-180.0, 360.0) if gaps[widest] <= 3 * size else (first - size, span + 2 * size)
    low, high = max(b.min() - size, -90), min(b.max() + size, 90)
    return _steps(first, first + span, size), _steps(low, high, size)


def _steps(low: float, high: float, pixel: float) -> np.ndarray:
    return np.linspace(low, high, 1 + min(MAX_STEPS, int(np.ceil(STEPS_PER_PIXEL * (high - low) / pixel))))


def _middles(edges: np.ndarray) -> np.ndarray:
    return (edges[1:] + edges[:-1]) / 2
