"""Figures to image files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gpdust.files import atomic_path
from gpdust.plot.panels import AxesLike

DPI = 150


def save_figure(figure: Figure | AxesLike, path: str | PathLike) -> Path:
    """Save a figure, whole or not at all.

    Parameters
    ----------
    figure : Figure, Axes or array of Axes
        What the plot functions return.
    path : path-like
        PNG, or whatever the suffix says.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    if not isinstance(figure, Figure):
        figure = np.ravel(np.array(figure, dtype=object))[0].get_figure(root=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, bbox_inches="tight")
    return path
