"""Extinction to log-likelihood."""

from gpdust.likelihood.distance_priors import ExponentialDisc
from gpdust.likelihood.distances import MeasuredDistances, MeasuredParallaxes
from gpdust.likelihood.free_noise import FreeNoise
from gpdust.likelihood.information import Blocks, RayInformation, Tridiagonal
from gpdust.likelihood.likelihood import StarLikelihood
from gpdust.likelihood.marginal import MarginalLikelihood
from gpdust.likelihood.measured_stars import MeasuredStars, StarReport
from gpdust.likelihood.nodes import NodeOptions
from gpdust.likelihood.noise import GaussianNoise, MixtureNoise, Noise, StudentNoise
from gpdust.likelihood.star_results import StarResults
from gpdust.likelihood.statistics import ExtinctionStatistics
from gpdust.likelihood.treatment import StarTreatment

__all__ = [
    "Blocks",
    "ExponentialDisc",
    "ExtinctionStatistics",
    "FreeNoise",
    "GaussianNoise",
    "MarginalLikelihood",
    "MeasuredDistances",
    "MeasuredParallaxes",
    "MeasuredStars",
    "MixtureNoise",
    "NodeOptions",
    "Noise",
    "RayInformation",
    "StarLikelihood",
    "StarReport",
    "StarResults",
    "StarTreatment",
    "StudentNoise",
    "Tridiagonal",
]
