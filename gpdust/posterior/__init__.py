"""The fitted posterior and its products."""

from gpdust.posterior.estimate import Estimate
from gpdust.posterior.maps import PercentileMaps
from gpdust.posterior.posterior import Posterior
from gpdust.posterior.spread import DrawnSpread, FullSpread

__all__ = ["DrawnSpread", "Estimate", "FullSpread", "PercentileMaps", "Posterior"]
