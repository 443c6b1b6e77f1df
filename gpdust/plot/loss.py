"""How a training went: the losses, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpdust.errors import EncoderError
from gpdust.plot.panels import single_panel

SIZE = (6.5, 3.6)


def plot_loss(history: Mapping[str, Sequence[float]], *, axes: Axes | None = None) -> Axes:
    """Draw the losses of training and validation cubes against the epoch, and mark the epoch that was kept.

    Parameters
    ----------
    history : mapping
        "train" and "validation", one number an epoch, as in the record of a training.
    axes : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    EncoderError
        If no epoch is done yet.
    """
    if not len(history["validation"]):
        raise EncoderError("no epoch of the training is done yet")
    panel = single_panel(axes, SIZE)
    epochs = np.arange(1, len(history["validation"]) + 1)
    marker = "." if len(epochs) < 50 else ""
    for name, colour in (("train", "C0"), ("validation", "C1")):
        label = "training" if name == "train" else name
        panel.plot(epochs, history[name], color=colour, linewidth=1.2, marker=marker, label=label)
    best = int(np.argmin(history["validation"]))
    lowest = history["validation"][best]
    label = f"kept: epoch {best + 1}, {lowest:.3g}"
    panel.plot(epochs[best], lowest, "o", markersize=8, markerfacecolor="none", markeredgecolor="k", label=label)
    panel.set(yscale="log", xlabel="epoch", ylabel="mean squared error of 10 ln(1 + density)")
    panel.set_xlim(0.5, len(epochs) + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    panel.legend()
    return panel
