"""Held-out stars: how probable their measured extinctions are under a posterior."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import logsumexp

from gpdust.catalogue import StarCatalogue
from gpdust.posterior import Posterior
from gpdust.units import MAGNITUDE, as_array


def log_predictive_density(posterior: Posterior, stars: StarCatalogue, samples: int = 200, seed: int = 0) -> np.ndarray:
    """Logarithm of the predictive density of each star's extinction, ln (1/K Σ_k N(A_obs; A_k, σ)).

    Parameters
    ----------
    posterior : Posterior
        Fitted without these stars.
    stars : StarCatalogue
        All of them on the grid of the fit (`Posterior.covers` tells which are).
    samples : int
        K, the number of joint draws of the map. Few of them underrate stars whose σ is much below the map's own error.
    seed : int

    Returns
    -------
    ndarray, shape (stars,)
        Natural logarithm of a density per mag; larger is better. Its mean compares two maps of the same stars.

    Raises
    ------
    PosteriorError
        If a star lies off the grid.
    """
    predicted = as_array(posterior.predict(stars, samples, seed).samples, MAGNITUDE, "extinction")
    measured = as_array(stars.extinction, MAGNITUDE, "extinction")
    error = as_array(stars.extinction_error, MAGNITUDE, "extinction_error")
    log_normal = -0.5 * ((measured - predicted) / error) ** 2 - np.log(error) - 0.5 * math.log(2 * math.pi)
    return logsumexp(log_normal, axis=0) - math.log(samples)
