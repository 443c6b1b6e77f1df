"""The fitted posterior and its products."""

from gpdust.posterior.estimate import Estimate
from gpdust.posterior.maps import PercentileMaps
from gpdust.posterior.posterior import Posterior

__all__ = ["Estimate", "PercentileMaps", "Posterior"]
