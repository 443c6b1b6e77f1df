"""Checks of a posterior against stars."""

from gpdust.checks.check import PredictiveCheck, predictive_check
from gpdust.checks.groups import Group
from gpdust.checks.predictions import StarPredictions
from gpdust.checks.reference import Statistic

__all__ = ["Group", "PredictiveCheck", "StarPredictions", "Statistic", "predictive_check"]
