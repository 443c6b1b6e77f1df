"""The V-net: cubes of extinction in, cubes of density out; a first guess of the map."""

from gpdust.encoder.cube import CubeGrid
from gpdust.encoder.finite_difference import finite_difference
from gpdust.encoder.monte_carlo import monte_carlo
from gpdust.encoder.neighbours import ExtinctionCube
from gpdust.encoder.observation import Observation

__all__ = ["CubeGrid", "ExtinctionCube", "Observation", "finite_difference", "monte_carlo"]
