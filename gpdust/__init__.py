"""gpdust: posteriors over the three-dimensional density of interstellar dust."""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from gpdust._version import __version__

# Threads that spin while they wait slow a fit down twentyfold as soon as another program wants a core; threads that
# sleep at once make it half as long again on a quiet machine. So GNU's OpenMP spins for a fraction of a millisecond,
# and others sleep. They read this once, when torch is loaded; whoever has set it keeps their own.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if TYPE_CHECKING:
    from gpdust.catalogue import StarCatalogue, hold_out_sightlines
    from gpdust.checks import PredictiveCheck, predictive_check
    from gpdust.comparison import compare
    from gpdust.config import Config
    from gpdust.errors import GpdustError
    from gpdust.fitting import fit
    from gpdust.grid import HealpixGrid, RayGrid, Region, SphericalGrid
    from gpdust.likelihood import GaussianNoise, MixtureNoise, StarTreatment, StudentNoise
    from gpdust.model import DustModel
    from gpdust.posterior import Estimate, PercentileMaps, Posterior
    from gpdust.prior import InducingGP, SpectralGP

__all__ = [
    "Config",
    "DustModel",
    "Estimate",
    "GaussianNoise",
    "GpdustError",
    "HealpixGrid",
    "InducingGP",
    "MixtureNoise",
    "PercentileMaps",
    "Posterior",
    "PredictiveCheck",
    "RayGrid",
    "Region",
    "SpectralGP",
    "SphericalGrid",
    "StarCatalogue",
    "StarTreatment",
    "StudentNoise",
    "__version__",
    "compare",
    "fit",
    "hold_out_sightlines",
    "predictive_check",
]

# torch, pyro and gpytorch take seconds to import, so that each name is loaded when it is first used (PEP 562).
_HOME = {
    "Config": "config",
    "DustModel": "model",
    "Estimate": "posterior",
    "GaussianNoise": "likelihood",
    "GpdustError": "errors",
    "HealpixGrid": "grid",
    "InducingGP": "prior",
    "MixtureNoise": "likelihood",
    "PercentileMaps": "posterior",
    "Posterior": "posterior",
    "PredictiveCheck": "checks",
    "RayGrid": "grid",
    "Region": "grid",
    "SpectralGP": "prior",
    "SphericalGrid": "grid",
    "StarCatalogue": "catalogue",
    "StarTreatment": "likelihood",
    "StudentNoise": "likelihood",
    "compare": "comparison",
    "fit": "fitting",
    "hold_out_sightlines": "catalogue",
    "predictive_check": "checks",
}
_MODULES = (
    "catalogue",
    "checks",
    "config",
    "encoder",
    "export",
    "grid",
    "inference",
    "likelihood",
    "los",
    "plot",
    "posterior",
    "prior",
    "scores",
    "simulate",
    "units",
)


def __getattr__(name: str) -> object:
    if name in _HOME:
        found = getattr(import_module(f"gpdust.{_HOME[name]}"), name)
    elif name in _MODULES:
        found = import_module(f"gpdust.{name}")
    else:
        raise AttributeError(f"module 'gpdust' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
