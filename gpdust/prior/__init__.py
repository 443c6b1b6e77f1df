"""Whitened Gaussian-process priors of the log-density."""

from gpdust.prior.hyperparameters import Hyperparameter, Hyperparameters
from gpdust.prior.inducing import InducingGP
from gpdust.prior.linear_map import LinearMap, MatrixMap
from gpdust.prior.placement import SampledVolume
from gpdust.prior.spectral import SpectralGP
from gpdust.prior.transfer import transfer

__all__ = [
    "Hyperparameter",
    "Hyperparameters",
    "InducingGP",
    "LinearMap",
    "MatrixMap",
    "SampledVolume",
    "SpectralGP",
    "transfer",
]
