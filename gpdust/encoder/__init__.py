"""The V-net: cubes of extinction in, cubes of density out; a first guess of the map, learned from simulations."""

from gpdust.encoder.cube import CubeGrid
from gpdust.encoder.encoder import Encoder, TrustWarning
from gpdust.encoder.finite_difference import finite_difference
from gpdust.encoder.maps import CubeMaps
from gpdust.encoder.monte_carlo import monte_carlo
from gpdust.encoder.neighbours import ExtinctionCube
from gpdust.encoder.net_file import load_net, packaged, save_net
from gpdust.encoder.observation import Observation
from gpdust.encoder.options import TrainingOptions
from gpdust.encoder.scaling import scale_density, scale_inputs, unscale_density
from gpdust.encoder.seeding import guessed, seed
from gpdust.encoder.substitution import forward_substitution
from gpdust.encoder.training import TrainingInterrupted, train
from gpdust.encoder.trust import Trust
from gpdust.encoder.vnet import VNet, VNetShape, count_parameters

__all__ = [
    "CubeGrid",
    "CubeMaps",
    "Encoder",
    "ExtinctionCube",
    "Observation",
    "TrainingInterrupted",
    "TrainingOptions",
    "Trust",
    "TrustWarning",
    "VNet",
    "VNetShape",
    "count_parameters",
    "finite_difference",
    "forward_substitution",
    "guessed",
    "load_net",
    "monte_carlo",
    "packaged",
    "save_net",
    "scale_density",
    "scale_inputs",
    "seed",
    "train",
    "unscale_density",
]
