"""Ranks of truths among draws: how far their cumulative distribution is from uniform, with simultaneous bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from gpdust.errors import PosteriorError
from gpdust.plot.panels import single_panel
from gpdust.scores import ecdf_band

SIZE = (5.0, 3.6)
LEVELS = (95.0, 99.9)  # per cent, of the bands


def plot_ranks(ranks: Mapping[str, np.ndarray], draws: int, *, axes: Axes | None = None) -> Axes:
    """Draw the cumulative distribution of ranks minus that of uniform ones, a line for each quantity.

    The bands hold a whole line of a calibrated quantity with a chance of 95 and of 99.9 %. A line with a bump upward
    and then downward tells of draws that are too narrow, the other way round of too wide ones, and a line on one side
    of draws that lie too high (above) or too low. Lines that leave the wider band are drawn thick.

    Parameters
    ----------
    ranks : mapping of str to ndarray of int, shape (runs,)
        By the name of the quantity; see `gpdust.scores.truth_ranks`.
    draws : int
        How many draws each rank was taken among.
    axes : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Raises
    ------
    PosteriorError
        If there are no ranks, or quantities differ in their number of runs.
    """
    counts = {len(values) for values in ranks.values()}
    if len(counts) != 1:
        raise PosteriorError(f"each quantity must have a rank for every run, but they have {sorted(counts)} ranks")
    axes = single_panel(axes, SIZE)
    share = np.arange(1, draws + 1) / (draws + 1)
    for level, grey in zip(LEVELS, ("0.75", "0.9"), strict=True):
        low, high = ecdf_band(counts.copy().pop(), draws, level)
        label = f"{level:g} % of calibrated lines"
        axes.fill_between(share, low - share, high - share, color=grey, linewidth=0, zorder=-level, label=label)
    for colour, (name, values) in enumerate(ranks.items()):
        reached = np.cumsum(np.bincount(values, minlength=draws + 1))[:-1] / len(values)
        outside = ((reached < low) | (reached > high)).any()
        axes.plot(share, reached - share, color=f"C{colour}", linewidth=2.5 if outside else 1.0, label=name)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="rank / (draws + 1)", ylabel="ECDF − uniform", xlim=(0, 1))
    return axes
