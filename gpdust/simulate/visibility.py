"""Which stars a magnitude-limited survey sees: dust hides the stars behind it."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from scipy.special import ndtr

from gpdust.errors import ConfigError
from gpdust.units import MAGNITUDE, as_float


@dataclass(frozen=True)
class MagnitudeLimit:
    """A limit on apparent magnitude, for stars with a Gaussian luminosity function.

    A star at distance d behind extinction A is seen with probability Φ((limit − M − 5 log10(d / 10 pc) − A) / spread).

    Parameters
    ----------
    limit : Quantity
        Faintest magnitude observed, in the band of the extinctions.
    absolute_magnitude, spread : Quantity
        Mean M and standard deviation of the absolute magnitudes.

    Raises
    ------
    ConfigError
        If the spread is not positive.
    """

    limit: u.Quantity
    absolute_magnitude: u.Quantity
    spread: u.Quantity

    def __post_init__(self) -> None:
        if not as_float(self.spread, MAGNITUDE, "spread") > 0:
            raise ConfigError(f"spread of a MagnitudeLimit must be positive, not {self.spread}")

    def probability(self, distance: np.ndarray, extinction: np.ndarray) -> np.ndarray:
        """Probability that stars at given distances (pc) behind given extinctions (mag) are seen."""
        limit, mean, spread = (
            as_float(getattr(self, name), MAGNITUDE, name) for name in ("limit", "absolute_magnitude", "spread")
        )
        return ndtr((limit - mean - 5 * np.log10(distance / 10) - extinction) / spread)
