"""A predictive check in four panels: probability integral transform, residuals by distance and extinction, the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from scipy.stats import binom

from gpdust.grid import HealpixGrid
from gpdust.plot.colours import colour_bar
from gpdust.plot.panels import AxesLike, given_axes
from gpdust.plot.sky import SKY_LABELS, SkyMesh

if TYPE_CHECKING:
    from gpdust.checks import Group, PredictiveCheck

SIZE = (10.0, 7.6)
BINS = 20
REACH = 4.0  # σ, of the residuals that are drawn
MOST_POINTS = 5000
LEAST_SCALE = 0.5  # σ, at the ends of the colours: less is no matter for a deep red
BAND = 0.95


def plot_predictive_check(check: PredictiveCheck, *, axes: AxesLike | None = None) -> np.ndarray:
    """Draw a predictive check.

    Upper left, the histogram of the probability integral transform with the band that holds 95 % of the bins of a
    uniform one: a hump says that errors are overestimated, horns that they are underestimated, a slope that the map is
    off. Then the standardised residuals along distance and predicted extinction, with median (and its error) and
    robust sigma of bins; and their median on the sky.

    Parameters
    ----------
    check : PredictiveCheck
    axes : array of Axes, shape (4,), optional
        Where to draw.

    Returns
    -------
    ndarray of Axes, shape (4,)
    """
    if axes is None:
        panels = plt.subplots(2, 2, figsize=SIZE, layout="constrained")[1].ravel()
    else:
        panels = given_axes(axes, (4,))
    stars = check.predictions
    _histogram(panels[0], stars.pit)
    _residuals(panels[1], stars.distance, stars.residual, check.by_distance)
    panels[1].set_xlabel("measured distance / pc")
    _residuals(panels[2], stars.predicted, stars.residual, check.by_extinction)
    panels[2].set_xlabel("predicted extinction / mag")
    _sky(panels[3], check.by_sky)
    return panels


def _histogram(axes: Axes, pit: np.ndarray) -> None:
    counts, edges = np.histogram(pit, BINS, (0, 1))
    low, high = binom.interval(BAND, len(pit), 1 / BINS)
    axes.axhspan(low, high, color="0.85", label="95 % of bins, if uniform and stars independent")
    axes.stairs(counts, edges, fill=True, color="C0", alpha=0.6, label=f"{len(pit)} stars")
    axes.axhline(len(pit) / BINS, color="black", linewidth=0.8)
    axes.set(xlim=(0, 1), xlabel="predictive probability of a lower extinction", ylabel="stars per bin")
    axes.set_ylim(0, 1.3 * max(counts.max(), high))  # room for the legend
    axes.legend(frameon=False, loc="upper left")


def _residuals(axes: Axes, x: np.ndarray, residual: np.ndarray, groups: list[Group]) -> None:
    shown = np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).astype(int)
    axes.plot(x[shown], residual[shown], ".", color="0.7", markersize=2, rasterized=True, zorder=0)
    low, high, median, error, sigma = np.array(
        [[*group.where.values(), group.median, group.median_error, group.sigma] for group in groups]
    ).T
    middle = [np.median(x[(x >= a) & (x <= b)]) for a, b in zip(low, high, strict=True)]
    axes.errorbar(middle, median, error, fmt="o", color="C3", markersize=4, capsize=2, label="median")
    for sign, label in ((-1, "median ± robust sigma"), (1, None)):
        axes.plot(middle, median + sign * sigma, "_", color="C0", markersize=9, markeredgewidth=2, label=label)
    for level in (-1, 0, 1):
        axes.axhline(level, color="black", linewidth=0.8, linestyle="-" if level == 0 else ":")
    axes.set(ylim=(-REACH, REACH), ylabel="standardised residual\n(measured − predicted)")
    beyond = int(np.sum(np.abs(residual) > REACH))
    title = f"{beyond} stars beyond the axis" if beyond else None
    axes.legend(loc="upper right", ncols=2, reverse=True, fontsize="small", title=title, title_fontsize="small")


def _sky(axes: Axes, by_sky: dict[int, list[Group]]) -> None:
    nside, groups = max(by_sky.items())
    mesh = SkyMesh(HealpixGrid(nside, [0, 1] * u.pc, np.array([group.where["pixel"] for group in groups])))
    median = np.array([group.median for group in groups])
    reach = max(np.abs(median).max(), LEAST_SCALE)
    drawn = mesh.draw(axes, median, Normalize(-reach, reach), "RdBu_r")
    axes.set(xlabel=SKY_LABELS[0], ylabel=SKY_LABELS[1])
    colour_bar(
        drawn, [axes], f"median standardised residual in pixels of {58.6 / nside:.2g}°", location="bottom", aspect=30
    )
