"""Held-out stars: how probable their measured extinctions are under a posterior."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import logsumexp

from gpdust.catalogue import StarCatalogue
from gpdust.errors import PosteriorError
from gpdust.posterior import Posterior


def log_predictive_density(posterior: Posterior, stars: StarCatalogue, samples: int = 200, seed: int = 0) -> np.ndarray:
    """Logarithm of the predictive density of each star's extinction, ln (1/K Σ_k p(A_obs | map k)).

    A star is treated as in the fit: its distance is summed over, and the noise is that which the fit has learned. A
    map that is smeared along the line of sight would else predict stars at their *measured* distances best. Scatter in
    proportion to extinction is a share of what the map predicts.

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
        Natural logarithm of a density per mag; larger is better. Its mean compares two maps of the same stars, where
        these were treated alike.

    Raises
    ------
    PosteriorError
        If a star lies off the grid.
    """
    off = int(np.sum(~posterior.covers(stars)))
    if off:
        raise PosteriorError(f"{off} of {len(stars)} stars lie off the grid of the fit: {posterior.grid!r}")
    nodes = replace(posterior.treatment.nodes, least_share=0.0)
    likelihood = replace(posterior.treatment, nodes=nodes).star_by_star(stars, posterior.grid)
    if likelihood.n_stars != len(stars):
        raise PosteriorError(f"only {likelihood.n_stars} of {len(stars)} stars can be used: {likelihood.report}")
    each = np.empty((samples, len(stars)))
    for rays, _, extinction in posterior.sample_chunks(posterior.grid, samples, seed):
        part = likelihood[rays].scattering_as(extinction)
        each[:, part.stars.number] = part.log_likelihood_of_each(extinction)
    return logsumexp(each, axis=0) - math.log(samples)
