"""Variational inference: engines that maximise the ELBO."""

from gpdust.inference.checkpoint import fingerprint, load_state, save_state
from gpdust.inference.convergence import StoppingReport, StoppingRule
from gpdust.inference.gaussian import WhitenedGaussian
from gpdust.inference.progress import Progress
from gpdust.inference.svi import SVI, SVIOptions, SVIState
from gpdust.inference.trace import Trace

__all__ = [
    "SVI",
    "Progress",
    "SVIOptions",
    "SVIState",
    "StoppingReport",
    "StoppingRule",
    "Trace",
    "WhitenedGaussian",
    "fingerprint",
    "load_state",
    "save_state",
]
