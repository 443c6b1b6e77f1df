"""Colour scales common to several panels, and their bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

from gpdust.errors import PosteriorError

RANGE = 1e4  # what lies further below the maximum has the lowest colour of a logarithmic scale


def colour_norm(values: np.ndarray, norm: str | Normalize) -> Normalize:
    """Scale common to all values drawn: "log", "linear" (from 0, or the lowest below) or a norm of the caller's."""
    if isinstance(norm, Normalize):
        return norm
    if norm not in ("log", "linear"):
        raise PosteriorError(f"norm must be 'log', 'linear' or a matplotlib norm, not {norm!r}")
    finite = values[np.isfinite(values)]
    highest = finite.max(initial=0.0)
    if norm == "log" and highest > 0:
        # Clipped, so that empty space has the lowest colour and only missing values stay blank.
        return LogNorm(max(finite[finite > 0].min(), highest / RANGE), highest, clip=True)
    return Normalize(finite.min(initial=0.0), highest or 1.0)


def colour_bar(mesh: QuadMesh, axes: Sequence[Axes], label: str, **options) -> Colorbar:
    """Draw one bar for some axes; `options` go to matplotlib's ``colorbar``."""
    bar = axes[0].figure.colorbar(mesh, ax=axes, label=label, **options)
    if isinstance(mesh.norm, LogNorm) and 4 < mesh.norm.vmax / mesh.norm.vmin < 100:
        # matplotlib labels up to five ticks a decade here, which run into one another.
        bar.locator, bar.minorformatter = LogLocator(subs=(1, 2, 5)), NullFormatter()
        bar.formatter = LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf))
    return bar
