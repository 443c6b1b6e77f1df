"""How a fit went: the ELBO and the hyperparameters, step by step."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpdust.errors import PosteriorError
from gpdust.inference.trace import Trace
from gpdust.plot.labels import with_unit
from gpdust.plot.panels import AxesLike, stacked_panels

SIZE = (6.5, 1.7)
SHADES = ("0.92", "1.0", "0.85", "0.97")


def plot_trace(trace: Trace, *, axes: AxesLike | None = None) -> np.ndarray:
    """Draw the ELBO and every hyperparameter against the step, over shades that tell the phases apart.

    The ELBO of steps with a tempered likelihood is left out: it is on another scale.

    Parameters
    ----------
    trace : Trace
        The record of a fit.
    axes : array of Axes, optional
        As many as the result has.

    Returns
    -------
    ndarray of Axes, shape (1 + hyperparameters,)
        The ELBO comes first.

    Raises
    ------
    PosteriorError
        If the trace holds no step.
    """
    if not len(trace):
        raise PosteriorError("the trace holds no step yet")
    names = list(trace.hyperparameters)
    panels = stacked_panels(axes, 1 + len(names), SIZE, "step")
    steps = np.arange(1, len(trace) + 1)
    elbo = np.where(np.array(trace.tempering) == 1, trace.elbo, np.nan)
    curves = [elbo, *(trace.hyperparameters[name] for name in names)]
    tempered = np.isnan(elbo).any()
    labels = [
        "ELBO / nat" + "\n(full likelihood only)" * bool(tempered),
        *(with_unit(name.replace("_", " "), trace.units.get(name, "")).replace(" / ", "\n/ ") for name in names),
    ]
    for panel, curve, label in zip(panels, curves, labels, strict=True):
        _shade_phases(panel, trace.phase)
        panel.plot(steps, curve, color="C0", linewidth=1.2, marker="." if len(steps) < 50 else "")
        panel.set_ylabel(label)
        panel.set_xlim(0.5, len(trace) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    panels[0].figure.align_ylabels(panels.tolist())
    handles, texts = panels[0].get_legend_handles_labels()
    panels[0].legend(handles, texts, loc="lower right", ncols=len(texts), fontsize="small")
    return panels


def _shade_phases(axes: Axes, phases: list[str]) -> None:
    """Lay a grey behind each run of steps of one phase."""
    shades = dict(zip(dict.fromkeys(phases), SHADES * len(phases), strict=False))
    first, named = 0.5, set()
    for phase, run in groupby(phases):
        last = first + sum(1 for _ in run)
        label = None if phase in named else phase
        axes.axvspan(first, last, facecolor=shades[phase], edgecolor="0.6", linewidth=0.5, zorder=0, label=label)
        named.add(phase)
        first = last
