"""Extinction to log-likelihood."""

from gpdust.likelihood.information import Blocks, RayInformation, Tridiagonal
from gpdust.likelihood.likelihood import StarLikelihood
from gpdust.likelihood.statistics import ExtinctionStatistics

__all__ = ["Blocks", "ExtinctionStatistics", "RayInformation", "StarLikelihood", "Tridiagonal"]
