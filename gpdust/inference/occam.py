"""The gradient of the ELBO by the hyperparameters, most of which is Occam's factor: the volume that stars leave."""

from __future__ import annotations

import torch

from gpdust.inference.curvature import ThetaCurvature, random_signs
from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision

PROBES, TOLERANCE = 8, 0.3  # of the volume term: random signs, and tolerance of their solves


def theta_gradient(
    objective: Objective,
    place: Place,
    draws: torch.Tensor,
    curvature: ThetaCurvature,
    precision: Precision,
    seed: int,
) -> torch.Tensor:
    """Of −ELBO by θ, with the prior of θ, shape (P,).

    Where a prior scales its latents one by one, v = m ± δ moves along such that φ stays: then the likelihood does
    not change at all, and only KL(q ‖ prior) does, by −pᵀm for the mean and tr D (I − Λ⁻¹) for the volume. At fixed
    v the gradient would be the difference of two numbers up to a million times larger. What the mean is still short
    of its place counts to first order.

    Parameters
    ----------
    objective : Objective
    place : Place
        Where the mean has been found.
    draws : Tensor, shape (pairs, M)
        Around it.
    curvature : ThetaCurvature
        There.
    precision : Precision
        Λ there.
    seed : int
        Of the random signs.
    """
    cells, mean = objective.cells, place.mean
    latents = cells.theta_latents(mean)
    if latents is not None:
        left = objective.gradient(place)[1]
        of_mean = curvature.relaxed @ left - latents @ mean
        return cells.theta + of_mean + cells.theta_volume(_known(precision, seed, len(mean)))
    slopes = objective.slopes(place) / (2 * len(draws))
    left = objective.gradient_of(place, slopes.sum(0))
    at_draws = cells.theta_gradient(torch.cat([mean + draws, mean - draws]), slopes)
    return cells.theta + at_draws - curvature.response @ left


def _known(precision: Precision, seed: int, size: int) -> torch.Tensor:
    """The diagonal of I − Λ⁻¹, by random signs: unbiased, and the same signs at every step; shape (M,).

    Draws have it too, as 1 − δ², but to them every latent of which stars know little adds noise.
    """
    signs = random_signs(PROBES, size, seed)
    return (signs * precision.known(signs, TOLERANCE)).mean(0)
