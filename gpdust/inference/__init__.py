"""Variational inference: engines that maximise the ELBO."""

from gpdust.inference.convergence import StoppingReport, StoppingRule
from gpdust.inference.gaussian import WhitenedGaussian
from gpdust.inference.newton import Newton
from gpdust.inference.newton_options import NewtonOptions
from gpdust.inference.progress import Progress
from gpdust.inference.start import Start
from gpdust.inference.state import NewtonState, State, SVIState
from gpdust.inference.svi import SVI
from gpdust.inference.svi_options import SVIOptions
from gpdust.inference.trace import Trace

__all__ = [
    "SVI",
    "Newton",
    "NewtonOptions",
    "NewtonState",
    "Progress",
    "SVIOptions",
    "SVIState",
    "Start",
    "State",
    "StoppingReport",
    "StoppingRule",
    "Trace",
    "WhitenedGaussian",
]
