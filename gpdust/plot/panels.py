"""Axes to draw in: those that were given, or a new figure."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from gpdust.errors import PosteriorError

AxesLike = Axes | Sequence[Axes] | np.ndarray


def given_axes(axes: AxesLike, shape: tuple[int, ...]) -> np.ndarray:
    """Axes that were given, as an array of the shape that is needed.

    Raises
    ------
    PosteriorError
        If their number is another.
    """
    array = np.array(axes, dtype=object)
    if array.size != np.prod(shape):
        raise PosteriorError(f"this figure has {np.prod(shape)} panels, but {array.size} axes were given for them")
    return array.reshape(shape)


def single_panel(axes: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the axes given, or those of a new figure of some size in inches."""
    if axes is not None:
        return given_axes(axes, ()).item()
    return plt.subplots(figsize=size, layout="constrained")[1]


def stacked_panels(axes: AxesLike | None, n: int, size: tuple[float, float], xlabel: str) -> np.ndarray:
    """Panels one above another that share their x axis, shape (n,); `size` is that of one panel, in inches."""
    if axes is not None:
        panels = given_axes(axes, (n,))
    else:
        width, height = size
        _, grid = plt.subplots(n, 1, figsize=(width, n * height), sharex=True, squeeze=False, layout="constrained")
        panels = grid[:, 0]
    panels[-1].set_xlabel(xlabel)
    return panels


def tiled_panels(
    axes: AxesLike | None, positions: np.ndarray, columns: int, size: tuple[float, float], labels: tuple[str, str]
) -> np.ndarray:
    """Panels of one size on a raster, with labels at its left and lower rim only.

    Parameters
    ----------
    axes : Axes or array of Axes, optional
        Use these, and label each of them.
    positions : ndarray of int
        Which places of the raster, counted row by row, are in use.
    columns : int
        Width of the raster.
    size : tuple of float
        Width and height of a panel, inches.
    labels : tuple of str
        Of x and y.

    Returns
    -------
    ndarray of Axes
        Of the shape of `positions`.
    """
    if axes is not None:
        panels = given_axes(axes, positions.shape)
        for panel in panels.flat:
            panel.set(xlabel=labels[0], ylabel=labels[1])
        return panels
    rows = positions.max() // columns + 1
    # Room for a colour bar: below a single row, else at the right.
    inches = (columns * size[0] + 0.6, size[1] + 1.1) if rows == 1 else (columns * size[0] + 1, rows * size[1])
    figure = plt.figure(figsize=inches, layout="compressed")
    figure.get_layout_engine().set(w_pad=0.08)  # inches: between the tick labels of neighbours
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, panel in enumerate(grid):
        if place not in positions:
            panel.remove()
            continue
        lowest, leftmost = place + columns not in positions, place % columns == 0
        panel.tick_params(labelbottom=lowest, labelleft=leftmost)
        panel.set(xlabel=labels[0] if lowest else "", ylabel=labels[1] if leftmost else "")
    return grid[positions]
