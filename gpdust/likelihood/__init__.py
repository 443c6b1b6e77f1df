"""Extinction to log-likelihood."""

from gpdust.likelihood.statistics import ExtinctionStatistics

__all__ = ["ExtinctionStatistics"]
