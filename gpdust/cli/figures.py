"""The figures that a fit leaves as PNG files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from astropy import units as u

from gpdust.catalogue import StarCatalogue
from gpdust.cli.messages import Talk
from gpdust.cli.residuals import Residuals
from gpdust.plot import (
    plot_extinction,
    plot_residuals,
    plot_sightline,
    plot_slices,
    plot_standardised_residuals,
    plot_trace,
    plot_uncertainty,
    save_figure,
)
from gpdust.plot.panels import AxesLike
from gpdust.posterior import PercentileMaps, Posterior
from gpdust.units import DEGREE, PARSEC, as_array, as_quantity

SLICES = 6


@dataclass(frozen=True)
class Subject:
    """What there is to draw."""

    posterior: Posterior
    maps: PercentileMaps
    stars: StarCatalogue
    residuals: Residuals


def draw_figures(subject: Subject, folder: Path, talk: Talk) -> list[Path]:
    """Draw all figures; one that fails is warned of, and costs none of the others."""
    figures: dict[str, Callable[[Subject], AxesLike]] = {
        "density_slices.png": lambda of: plot_slices(of.maps, slice_distances(of.maps)),
        "extinction.png": lambda of: plot_extinction(of.maps),
        "uncertainty.png": lambda of: plot_uncertainty(of.maps, slice_distances(of.maps)),
        "residuals.png": _residuals,
        "trace.png": lambda of: plot_trace(of.posterior.trace),
        "sightline.png": _sightline,
    }
    written = [save(partial(draw, subject), folder / name, talk) for name, draw in figures.items()]
    return [path for path in written if path]


def save(draw: Callable[[], object], path: Path, talk: Talk) -> Path | None:
    """Draw and save one figure without a display; a failure is a warning, since the fit is worth more."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    try:
        return save_figure(draw(), path)
    except Exception as error:
        talk.warn(f"{path.name} could not be drawn: {error}")
        path.unlink(missing_ok=True)  # that of older maps would say something else
        return None
    finally:
        plt.close("all")


def slice_distances(maps: PercentileMaps, count: int = SLICES) -> u.Quantity:
    """Round distances at even steps through the maps."""
    edges = maps.grid.edges
    distances = edges[0] + (np.arange(count) + 0.5) / count * np.ptp(edges)
    rounded = np.array([float(f"{distance:.3g}") for distance in distances])
    return as_quantity(np.clip(rounded, edges[0], edges[-1]), PARSEC)


def _residuals(of: Subject) -> np.ndarray:
    import matplotlib.pyplot as plt

    _, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    plot_residuals(of.residuals.predicted, of.residuals.observed, axes=panels[0])
    plot_standardised_residuals(of.residuals.predicted, of.residuals.observed, of.residuals.error, axes=panels[1])
    return panels


def _sightline(of: Subject) -> AxesLike:
    """Draw the ray with the most dust, with stars about as far off as the fit can tell apart."""
    maps, grid = of.maps, of.posterior.grid
    ray = int(np.argmax(maps.extinction_values[maps.index(50), :, -1]))
    l, b = maps.grid.l[ray], maps.grid.b[ray]
    own = int(grid.locate_rays(as_array(l, DEGREE, "l"), as_array(b, DEGREE, "b")))
    width = np.sqrt(as_array(grid.solid_angle[own], DEGREE**2, "solid angle"))
    return plot_sightline(maps, l, b, of.stars, as_quantity(max(round(width / 2, 1), 0.2), DEGREE))
