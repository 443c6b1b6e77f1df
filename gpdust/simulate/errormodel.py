"""How well a mock survey measures extinctions and distances."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from gpdust.errors import ConfigError
from gpdust.units import MAGNITUDE, as_float

SMALLEST_ERROR = 1e-6  # mag: no measurement is exact, not even one of no dust at all


@dataclass(frozen=True)
class ErrorModel:
    """Gaussian errors of extinction, σ_A = max(fraction · A_true, floor), and of distance, σ_d ∝ d.

    Parameters
    ----------
    fraction : float
        σ_A / A_true.
    floor : Quantity
        Smallest σ_A, mag. Whatever it is, σ_A is at least 1e-6 mag, so that a star without dust in front of it has
        an error too.
    distance_fraction : float
        σ_d / d; 0 for exact distances.

    Raises
    ------
    ConfigError
        If a number is negative.
    """

    fraction: float = 0.1
    floor: u.Quantity = 0 * MAGNITUDE
    distance_fraction: float = 0.0

    def __post_init__(self) -> None:
        for name in ("fraction", "distance_fraction"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"{name} of an ErrorModel can't be negative or infinite: {getattr(self, name)}")
        if not 0 <= as_float(self.floor, MAGNITUDE, "floor") < np.inf:
            raise ConfigError(f"floor of an ErrorModel can't be negative or infinite: {self.floor}")

    def extinction_error(self, extinction: np.ndarray) -> np.ndarray:
        """Standard error σ_A of stars with given true extinctions, mag."""
        return np.maximum(self.fraction * extinction, max(as_float(self.floor, MAGNITUDE, "floor"), SMALLEST_ERROR))

    def measure_distance(self, distance: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Measured distances of stars with given true distances, pc: Gaussian, drawn again until positive."""
        measured = distance * (1 + self.distance_fraction * generator.standard_normal(distance.size))
        while (bad := measured <= 0).any():
            measured[bad] = distance[bad] * (1 + self.distance_fraction * generator.standard_normal(bad.sum()))
        return measured
