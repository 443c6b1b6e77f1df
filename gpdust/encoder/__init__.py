"""The V-net: a first guess of the density in a cube, learned from simulations."""

from gpdust.encoder.feed import Feed, Library
from gpdust.encoder.options import TrainingOptions
from gpdust.encoder.scaling import scale_density, scale_inputs, unscale_density
from gpdust.encoder.training import TrainingInterrupted, train
from gpdust.encoder.trust import Trust
from gpdust.encoder.vnet import VNet, VNetShape, count_parameters
from gpdust.encoder.weights import load_net, packaged, save_net

__all__ = [
    "Feed",
    "Library",
    "TrainingInterrupted",
    "TrainingOptions",
    "Trust",
    "VNet",
    "VNetShape",
    "count_parameters",
    "load_net",
    "packaged",
    "save_net",
    "scale_density",
    "scale_inputs",
    "train",
    "unscale_density",
]
