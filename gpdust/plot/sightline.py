"""One line of sight: density and extinction against distance, over the stars around it."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from astropy.coordinates import angular_separation
from matplotlib.axes import Axes

from gpdust.catalogue import StarCatalogue
from gpdust.errors import PosteriorError
from gpdust.plot.labels import map_label
from gpdust.plot.panels import AxesLike, stacked_panels
from gpdust.posterior.maps import PercentileMaps
from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array, as_float

SIZE = (6.5, 3.0)
MAX_STARS = 300  # error bars: more hide one another


def plot_sightline(
    maps: PercentileMaps,
    l: u.Quantity,
    b: u.Quantity,
    stars: StarCatalogue | None = None,
    radius: u.Quantity = 1 * DEGREE,
    *,
    axes: AxesLike | None = None,
) -> np.ndarray:
    """Draw the median and the 68 % band of density and extinction along one ray.

    Parameters
    ----------
    maps : PercentileMaps
        With the percentiles 16, 50 and 84.
    l, b : Quantity
        A Galactic direction; drawn is the ray whose column holds it, which the title gives.
    stars : StarCatalogue, optional
        Those within `radius` of the direction are drawn over the extinction; 300 of them at most.
    radius : Quantity
        An angle.
    axes : array of 2 Axes, optional
        Where to draw.

    Returns
    -------
    ndarray of Axes, shape (2,)
        Density, extinction.

    Raises
    ------
    PosteriorError
        If the direction lies outside the maps, or a percentile is missing.
    """
    direction = as_float(l, DEGREE, "l"), as_float(b, DEGREE, "b")
    ray = int(maps.grid.locate_rays(*map(np.asarray, direction)))
    if ray < 0:
        raise PosteriorError(f"l = {direction[0]:g}°, b = {direction[1]:g}° lies outside these maps")
    low, median, high = (maps.index(percentile) for percentile in (16, 50, 84))
    density, extinction = maps.density_values[:, ray], maps.extinction_values[:, ray]
    panels = stacked_panels(axes, 2, SIZE, "distance / pc")
    edges = maps.grid.edges
    panels[0].stairs(density[high], edges, baseline=density[low], fill=True, color="C0", alpha=0.3, label="68 %")
    panels[0].stairs(density[median], edges, baseline=None, color="C0", linewidth=1.5, label="median")
    panels[1].fill_between(edges[1:], extinction[low], extinction[high], color="C0", alpha=0.3, linewidth=0)
    panels[1].plot(edges[1:], extinction[median], color="C0", linewidth=1.5)
    if stars is not None:
        _draw_stars(panels[1], stars, direction, as_float(radius, DEGREE, "radius"))
    panels[0].set_title(f"$l$ = {maps.grid.l[ray].value:.4g}°, $b$ = {maps.grid.b[ray].value:.4g}°")
    for panel, quantity in zip(panels, ("density", "extinction"), strict=True):
        panel.set_ylabel(map_label(quantity, maps.meta))
        panel.set_xlim(edges[0], edges[-1])
        panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]) if quantity == "extinction" else 0.0)
    panels[0].legend(frameon=False)
    panels[0].figure.align_ylabels(panels.tolist())
    return panels


def _draw_stars(axes: Axes, stars: StarCatalogue, direction: tuple[float, float], radius: float) -> None:
    """Draw the stars around a direction (degrees) with their error bars."""
    l, b = (np.radians(as_array(angle, DEGREE, "angle")) for angle in (stars.l, stars.b))
    near = np.flatnonzero(np.degrees(angular_separation(*np.radians(direction), l, b)) <= radius)
    shown = near if near.size <= MAX_STARS else near[np.linspace(0, near.size - 1, MAX_STARS).astype(int)]
    count = f"{near.size} stars" if shown.size == near.size else f"{shown.size} of {near.size} stars"
    chosen = stars[shown]
    distance_error = chosen.distance_error
    axes.errorbar(
        as_array(chosen.distance, PARSEC, "distance"),
        as_array(chosen.extinction, MAGNITUDE, "extinction"),
        as_array(chosen.extinction_error, MAGNITUDE, "extinction_error"),
        None if distance_error is None else as_array(distance_error, PARSEC, "distance_error"),
        fmt="o",
        color="0.6",
        markersize=2.5,
        elinewidth=0.6,
        zorder=0.5,
        label=f"{count} within {radius:g}°",
    )
    axes.legend(frameon=False, loc="upper left")
