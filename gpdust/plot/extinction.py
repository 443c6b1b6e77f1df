"""The extinction on the sky, from the Sun to a distance."""

from __future__ import annotations

import astropy.units as u
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from gpdust.plot.panels import given_axes
from gpdust.plot.slices import plot_slices
from gpdust.posterior.maps import PercentileMaps


def plot_extinction(
    maps: PercentileMaps,
    distance: u.Quantity | None = None,
    percentile: float = 50,
    *,
    axes: Axes | None = None,
    norm: str | Normalize = "linear",
    cmap: str = "inferno",
) -> Axes:
    """Draw the extinction from the Sun to a distance.

    Parameters
    ----------
    maps : PercentileMaps
        On a `SphericalGrid` or `HealpixGrid`.
    distance : Quantity, optional
        The far end by default. The title gives the outer edge of cells that is nearest to it, which is drawn.
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
        If the maps do not hold the distance or the percentile.
    """
    distance = maps.grid.distance_edges[-1] if distance is None else distance
    axes = None if axes is None else given_axes(axes, (1,))
    return plot_slices(maps, distance, percentile, "extinction", axes=axes, norm=norm, cmap=cmap)[0]
