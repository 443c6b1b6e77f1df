"""Slices through a map at chosen distances: the values, and how uncertain they are."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from matplotlib.colors import Normalize

from gpdust.errors import PosteriorError
from gpdust.export.lookup import cell_at, values_of
from gpdust.grid import RayGrid
from gpdust.plot.colours import colour_bar, colour_norm
from gpdust.plot.labels import UNITS, map_label
from gpdust.plot.panels import AxesLike, tiled_panels
from gpdust.plot.sky import SKY_LABELS, SkyMesh
from gpdust.posterior.maps import PercentileMaps
from gpdust.units import PARSEC, as_array, as_quantity

MAX_COLUMNS = 4


def plot_slices(
    maps: PercentileMaps,
    distances: u.Quantity,
    percentile: float = 50,
    quantity: str = "density",
    *,
    truth: u.Quantity | None = None,
    axes: AxesLike | None = None,
    norm: str | Normalize = "log",
    cmap: str = "inferno",
) -> np.ndarray:
    """Draw the sky at chosen distances, one panel each, on one colour scale.

    Parameters
    ----------
    maps : PercentileMaps
        On a `SphericalGrid` or `HealpixGrid`.
    distances : Quantity, shape (n,) or scalar
        Densities are those of the cells that hold them, extinctions those at the nearest outer edges, which the
        titles give.
    percentile : float
        One of those the maps hold.
    quantity : {"density", "extinction"}
        What to draw.
    truth : Quantity, shape (ray, cell), optional
        A true density or extinction on the cells of the maps, drawn below each slice.
    axes : array of Axes, optional
        As many as the result has.
    norm : {"log", "linear"} or Normalize
        Colour scale. A logarithmic one spans four decades at most.
    cmap : str
        Colour map.

    Returns
    -------
    ndarray of Axes, shape (n,), or (2, n) with a truth
        The maps' panels come first.

    Raises
    ------
    PosteriorError
        If the maps do not hold a distance or the percentile, or the truth has another shape.
    """
    pictures = [values_of(maps, quantity, percentile)]
    if truth is not None:
        pictures.append(as_array(truth, UNITS.get(quantity), "truth"))
        if pictures[1].shape != maps.grid.shape:
            raise PosteriorError(f"the truth has shape {pictures[1].shape}, but the maps have {maps.grid.shape}")
    label = map_label(quantity, maps.meta)
    panels = _draw(maps.grid, pictures, distances, quantity, label, axes, norm, cmap)
    return panels if truth is not None else panels[0]


def plot_uncertainty(
    maps: PercentileMaps,
    distances: u.Quantity,
    quantity: str = "density",
    *,
    axes: AxesLike | None = None,
    norm: str | Normalize = "linear",
    cmap: str = "viridis",
) -> np.ndarray:
    """Draw the relative uncertainty, half the range from the 16th to the 84th percentile over the median.

    See `plot_slices` for the parameters.

    Raises
    ------
    PosteriorError
        If the maps do not hold the percentiles 16, 50 and 84, or a distance.
    """
    low, median, high = (values_of(maps, quantity, percentile) for percentile in (16, 50, 84))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(median > 0, (high - low) / 2 / median, np.nan)
    label = f"relative uncertainty of {quantity}\n(half of 16–84 % / median)"
    return _draw(maps.grid, [relative], distances, quantity, label, axes, norm, cmap)[0]


def _draw(
    grid: RayGrid,
    pictures: list[np.ndarray],
    distances: u.Quantity,
    quantity: str,
    label: str,
    axes: AxesLike | None,
    norm: str | Normalize,
    cmap: str,
) -> np.ndarray:
    """Draw pictures (ray, cell) at some distances, one picture's slices below the other's; shape (pictures, n)."""
    wanted = as_quantity(np.atleast_1d(as_array(distances, PARSEC, "distances")), PARSEC)
    cells = [cell_at(grid, distance, quantity) for distance in wanted]
    sky, columns = SkyMesh(grid), _columns(len(cells))
    row, column = np.divmod(np.arange(len(cells)), columns)
    rows = row * len(pictures) + np.arange(len(pictures))[:, None]
    size = sky.panel_size(3.0 if columns > 1 else 5.0)
    panels = tiled_panels(axes, rows * columns + column, columns, size, SKY_LABELS)
    scale = colour_norm(np.stack([picture[:, cells] for picture in pictures]), norm)
    for picture, panel_row, suffix in zip(pictures, panels, ("", ", truth"), strict=False):
        for panel, cell, distance in zip(panel_row, cells, wanted.value, strict=True):
            mesh = sky.draw(panel, picture[:, cell], scale, cmap)
            where = f"to {grid.edges[cell + 1]:g}" if quantity == "extinction" else f"{distance:g}"
            panel.set_title(f"{where} pc{suffix}")
    # Beside a single row there is no room for the label of a colour bar.
    bar = (
        {"location": "bottom", "aspect": 40, "pad": 0.03}
        if rows.max() == 0
        else {"location": "right", "aspect": 30, "pad": 0.02}
    )
    colour_bar(mesh, panels.ravel().tolist(), label, **bar)
    return panels


def _columns(n: int) -> int:
    """Width of a raster of n panels with rows as even as can be."""
    rows = -(-n // MAX_COLUMNS)
    return -(-n // rows)
