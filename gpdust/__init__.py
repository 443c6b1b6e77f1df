"""gpdust: posteriors over the three-dimensional density of interstellar dust."""

from gpdust._version import __version__
from gpdust.catalogue import StarCatalogue
from gpdust.errors import GpdustError
from gpdust.fitting import fit
from gpdust.grid import HealpixGrid, RayGrid, Region, SphericalGrid
from gpdust.model import DustModel
from gpdust.posterior import Estimate, PercentileMaps, Posterior
from gpdust.prior import InducingGP

__all__ = [
    "DustModel",
    "Estimate",
    "GpdustError",
    "HealpixGrid",
    "InducingGP",
    "PercentileMaps",
    "Posterior",
    "RayGrid",
    "Region",
    "SphericalGrid",
    "StarCatalogue",
    "__version__",
    "fit",
]
