"""Cubes of simulated dust, by the thousand: what the V-net learns from."""

from gpdust.simulate.cubes.levy import LevyFlights
from gpdust.simulate.cubes.library import CubeLibrary
from gpdust.simulate.cubes.log_normal import log_normal_density
from gpdust.simulate.cubes.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "CubeLibrary", "LevyFlights", "Recipe", "log_normal_density"]
