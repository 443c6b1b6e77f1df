"""Figures: functions that take and return matplotlib Axes, and never show or save anything by themselves."""

from gpdust.plot.extinction import plot_extinction
from gpdust.plot.loss import plot_loss
from gpdust.plot.predictive_check import plot_predictive_check
from gpdust.plot.ranks import plot_ranks
from gpdust.plot.residuals import plot_residuals, plot_standardised_residuals
from gpdust.plot.save import save_figure
from gpdust.plot.sightline import plot_sightline
from gpdust.plot.slices import plot_slices, plot_uncertainty
from gpdust.plot.topdown import plot_top_down
from gpdust.plot.trace import plot_trace

__all__ = [
    "plot_extinction",
    "plot_loss",
    "plot_predictive_check",
    "plot_ranks",
    "plot_residuals",
    "plot_sightline",
    "plot_slices",
    "plot_standardised_residuals",
    "plot_top_down",
    "plot_trace",
    "plot_uncertainty",
    "save_figure",
]
