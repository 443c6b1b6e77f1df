"""Extinction to log-likelihood."""

from gpdust.likelihood.distance_priors import ExponentialDisc
from gpdust.likelihood.distances import MeasuredDistances, MeasuredParallaxes
from gpdust.likelihood.marginal import MarginalLikelihood
from gpdust.likelihood.measured_stars import MeasuredStars, StarReport
from gpdust.likelihood.nodes import NodeOptions
from gpdust.likelihood.noise import GaussianNoise, MixtureNoise, Noise, StudentNoise
from gpdust.likelihood.star_results import StarResults
from gpdust.likelihood.statistics import ExtinctionStatistics

__all__ = [
    "ExponentialDisc",
    "ExtinctionStatistics",
    "GaussianNoise",
    "MarginalLikelihood",
    "MeasuredDistances",
    "MeasuredParallaxes",
    "MeasuredStars",
    "MixtureNoise",
    "NodeOptions",
    "Noise",
    "StarReport",
    "StarResults",
    "StudentNoise",
]
