"""The ELBO of a Gaussian q, the same for all engines, with its Monte-Carlo error."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision

DRAW_TOLERANCE = 0.03  # of the solves for new draws
WELL_KNOWN = 1.0  # nats


def theta_divergence(theta: torch.Tensor, covariance: torch.Tensor) -> float:
    """KL(N(θ̂, Σ_θ) ‖ N(0, I)), nats: what the learned hyperparameters cost; nothing where none is learned."""
    if not len(theta) or not len(covariance):
        return 0.0
    trace = float(covariance.diagonal().sum())
    return 0.5 * (trace + float(theta.square().sum()) - len(theta) - float(torch.logdet(covariance)))


def gaussian_elbo(
    objective: Objective,
    place: Place,
    precision: Precision,
    standards: Iterable[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[float, float]:
    """E_q[log L] − KL(q(v) ‖ N(0, I)), and its standard error, nats.

    Parameters
    ----------
    objective : Objective
    place : Place
        The mean of q.
    precision : Precision
        Λ of q.
    standards : iterable of (Tensor, Tensor), shapes (pairs, latent) and (pairs, cells)
        Standard normals, none of which the fit has seen. Batches are taken until the ELBO is known well enough.

    Returns
    -------
    elbo, error : float

    Notes
    -----
    The mean has been fitted to the draws that it was found with, and they flatter it: where stars are few and draws
    wide, by hundreds of nats. So these are others.

    tr Λ⁻¹ − M = −E[dᵀGd] with d = Bδ, estimated from the same draws as E_q[log L]: the two estimates share nearly all
    of their noise, which leaves what is cubic and beyond.
    """
    log_determinant, log_determinant_error = precision.log_determinant()
    each = place.mean.new_empty(0)
    for latents, cells in standards:
        drawn = objective.place(place.mean, precision.draws(latents, cells, DRAW_TOLERANCE))
        energies = objective.energies(drawn).unflatten(0, (2, -1)).mean(0)
        quadratic = (drawn.offsets * precision.metric.weigh(drawn.offsets)).sum(-1)
        each = torch.cat([each, energies - 0.5 * quadratic])
        scatter = float(each.std()) / math.sqrt(len(each))
        if scatter < max(WELL_KNOWN, 0.5 * log_determinant_error):
            break
    divergence = 0.5 * (float(place.mean.square().sum()) + log_determinant)
    return -float(each.mean()) - divergence, math.hypot(scatter, 0.5 * log_determinant_error)
