"""How well a posterior predicts the stars that it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from gpdust.catalogue import StarCatalogue
from gpdust.checks.predictions import predict_stars
from gpdust.plot.residuals import robust_moments
from gpdust.posterior import Posterior
from gpdust.units import MAGNITUDE, as_array, as_quantity


@dataclass(frozen=True)
class Residuals:
    """Predicted and observed extinction of stars on the grid.

    Attributes
    ----------
    predicted, observed : Quantity, shape (stars,)
    error : Quantity, shape (stars,)
        The stars' own, with what their distances and the learned noise add. That of the map is not added: it was fitted
        to these stars, which draws it towards them.
    """

    predicted: u.Quantity
    observed: u.Quantity
    error: u.Quantity

    @classmethod
    def of(cls, posterior: Posterior, stars: StarCatalogue, samples: int = 100) -> Residuals:
        """Predict the stars on the grid, or 50 000 of them at random, wherever on their rays they may be."""
        found = predict_stars(posterior, stars, samples, seed=0)
        stated = as_array(stars.extinction_error, MAGNITUDE, "extinction_error")[found.number]
        # A map that is far less sure than the stars leaves nothing but rounding of the difference.
        error = np.maximum(stated, found.error * np.sqrt(np.clip(1 - found.map_share, 0, 1)))
        return cls(*(as_quantity(values, MAGNITUDE) for values in (found.predicted, found.measured, error)))

    def as_dict(self) -> dict[str, float | int]:
        """Robust moments (median, half of 16–84 %) of the differences and of their ratio to the error, for JSON."""
        difference, error = (as_array(q, MAGNITUDE, "residual") for q in (self.predicted - self.observed, self.error))
        median, spread = robust_moments(difference)
        return {
            "stars": difference.size,
            "median_mag": median,
            "robust_sigma_mag": spread,
            "robust_sigma_over_error": robust_moments(difference / error)[1],
        }
