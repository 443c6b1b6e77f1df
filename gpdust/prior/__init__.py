"""Whitened Gaussian-process priors of the log-density."""

from gpdust.prior.hyperparameters import Hyperparameter, Hyperparameters
from gpdust.prior.inducing import InducingGP, LinearMap
from gpdust.prior.placement import SampledVolume

__all__ = ["Hyperparameter", "Hyperparameters", "InducingGP", "LinearMap", "SampledVolume"]
