"""The dust seen from the Galactic pole: density integrated over height."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke

from gpdust.errors import PosteriorError
from gpdust.export.lookup import values_of
from gpdust.grid import RayGrid
from gpdust.grid.coordinates import cartesian
from gpdust.plot.colours import colour_bar, colour_norm
from gpdust.plot.labels import map_label
from gpdust.plot.panels import single_panel
from gpdust.posterior.maps import PercentileMaps

PIXELS = 300  # along the longer side
LAYERS = 150
RIM = 2  # per cent of the picture, where the map is too thin to set the colour scale


def plot_top_down(
    maps: PercentileMaps,
    percentile: float = 50,
    *,
    axes: Axes | None = None,
    norm: str | Normalize = "log",
    cmap: str = "inferno",
) -> Axes:
    """Draw the density integrated over height z inside the map, on the plane (x, y) with the Sun at the origin.

    x points to the Galactic centre, y to l = 90°. Note that the integral of a percentile is not the percentile of the
    integral: this is a picture, not a measurement.

    Parameters
    ----------
    maps : PercentileMaps
        On a `SphericalGrid` or `HealpixGrid`.
    percentile : float
        One of those the maps hold.
    axes : Axes, optional
        Where to draw.
    norm : {"log", "linear"} or Normalize
        Colour scale.
    cmap : str
        Colour map.

    Returns
    -------
    Axes

    Raises
    ------
    PosteriorError
        If the maps do not hold the percentile.
    """
    x_edges, y_edges, column = column_density(maps.grid, values_of(maps, "density", percentile))
    axes = single_panel(axes, (6.0, 5.0))
    bulk = column[column >= np.nanpercentile(column, RIM)]
    mesh = axes.pcolormesh(x_edges, y_edges, column, norm=colour_norm(bulk, norm), cmap=cmap, rasterized=True)
    label = map_label("extinction", maps.meta).replace("extinction", "vertical extinction", 1)
    colour_bar(mesh, [axes], label)
    axes.plot(0, 0, "o", color="gold", markeredgecolor="black")
    outline = [withStroke(linewidth=2.5, foreground="white")]  # legible on any colour
    axes.annotate("Sun", (0, 0), xytext=(6, 6), textcoords="offset points", path_effects=outline)
    axes.set(xlabel="$x$ (to the Galactic centre) / pc", ylabel="$y$ / pc", aspect="equal")
    axes.use_sticky_edges = False
    axes.margins(0.04)
    return axes


def column_density(grid: RayGrid, density: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integrate a density over z by looking cells up on a fine raster, which no cell falls through.

    Parameters
    ----------
    grid : RayGrid
        One that can locate directions.
    density : ndarray, shape (ray, cell)
        mag/pc.

    Returns
    -------
    x_edges, y_edges : ndarray
        pc.
    column : ndarray, shape (y, x)
        mag; NaN where the map holds nothing.
    """
    ends = cartesian(grid.ray_l[:, None], grid.ray_b[:, None], grid.edges[[0, -1]]).reshape(-1, 3)
    margin = grid.edges[-1] * np.sqrt(grid.solid_angle.value.max())  # rays have a width
    low, high = ends.min(axis=0) - margin, ends.max(axis=0) + margin
    pixel = (high - low)[:2].max() / PIXELS
    x_edges, y_edges = (np.arange(low[i], high[i] + pixel, pixel) for i in (0, 1))
    heights = np.linspace(low[2], high[2], 2 * LAYERS + 1)[1::2]
    step = (high[2] - low[2]) / LAYERS
    x, y = np.meshgrid((x_edges[1:] + x_edges[:-1]) / 2, (y_edges[1:] + y_edges[:-1]) / 2)
    total, hits = np.zeros(x.shape), np.zeros(x.shape, dtype=int)
    for z in heights:
        radius = np.hypot(x, y)
        ray = grid.locate_rays(np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, radius)))
        cell = grid.locate_cells(np.hypot(radius, z))
        inside = (ray >= 0) & (cell >= 0)
        total += np.where(inside, density[ray, cell], 0.0) * step
        hits += inside
    if not hits.any():
        raise PosteriorError("the map is too thin to be seen from above")
    return x_edges, y_edges, np.where(hits > 0, total, np.nan)
