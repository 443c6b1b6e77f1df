"""The ELBO of a Gaussian q, the same for all engines, with its Monte-Carlo error."""

from __future__ import annotations

import math

import torch

from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision


def theta_divergence(theta: torch.Tensor, covariance: torch.Tensor) -> float:
    """KL(N(θ̂, Σ_θ) ‖ N(0, I)), nats: what the learned hyperparameters cost; nothing where none is learned."""
    if not len(theta) or not len(covariance):
        return 0.0
    trace = float(covariance.diagonal().sum())
    return 0.5 * (trace + float(theta.square().sum()) - len(theta) - float(torch.logdet(covariance)))


def gaussian_elbo(
    objective: Objective, place: Place, precision: Precision, theta: torch.Tensor, theta_covariance: torch.Tensor
) -> tuple[float, float]:
    """E_q[log L] − KL(q(v) ‖ N(0, I)) − KL(q(θ) ‖ N(0, I)), and its standard error, nats.

    Parameters
    ----------
    objective : Objective
    place : Place
        With draws of q.
    precision : Precision
        Λ there.
    theta, theta_covariance : Tensor
        Of the learned hyperparameters; q(θ) is their Laplace approximation, and q(v) belongs to its mean.

    Returns
    -------
    elbo, error : float

    Notes
    -----
    tr Λ⁻¹ − M = −E[dᵀGd] with d = Bδ, estimated from the same draws as E_q[log L]: the two estimates share nearly all
    of their noise, which leaves what is cubic and beyond.
    """
    energies = objective.energies(place).unflatten(0, (2, -1)).mean(0)
    quadratic = (place.offsets * precision.metric.weigh(place.offsets)).sum(-1)
    each = energies - 0.5 * quadratic
    log_determinant, log_determinant_error = precision.log_determinant()
    divergence = 0.5 * (float(place.mean.square().sum()) + log_determinant)
    error = math.hypot(float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else 0.0, 0.5 * log_determinant_error)
    return -float(each.mean()) - divergence - theta_divergence(theta, theta_covariance), error
