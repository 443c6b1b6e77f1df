"""The gradient of the evidence by the hyperparameters, most of which is Occam's factor: the volume that stars leave."""

from __future__ import annotations

import math

import torch

from gpdust.inference.curvature import ThetaCurvature, random_signs
from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision

LEAST_PROBES, MOST_PROBES = 8, 200  # random signs of the volume term
PROBE_NUMBERS = 1_000_000  # of all of them, latents or cells: where they cost little, many are taken
TOLERANCE, ROOT_TOLERANCE = 0.3, 1e-4  # of their solves; the second at fixed v, where large numbers cancel


def theta_gradient(
    objective: Objective, place: Place, curvature: ThetaCurvature, precision: Precision, seed: int
) -> torch.Tensor:
    """Of −ln evidence by θ, from the moments of q, shape (P,).

    By Fisher's identity the slope of the evidence is an expectation over the posterior; of q it takes the mean, at
    which slopes average over its draws to −m, and Λ⁻¹.

    Where a prior scales its latents one by one, ∂B = B D, v = m ± δ moves along such that φ stays: then the likelihood
    does not change at all, and only KL(q ‖ prior) does, by −pᵀm for the mean and tr D (I − Λ⁻¹) for the volume. At
    fixed v the gradient would be the difference of two numbers up to a million times larger. Under another prior it is
    taken there: by E[slope]ᵀ∂φ for the mean and tr ∂Bᵀ G B Λ⁻¹ for the volume, which are the same two numbers wherever
    ∂B = B D. Slopes at the draws in place of G would see how far the draws of a Gaussian go astray, and take it for
    too large an amplitude.

    What the mean is still short of its place counts to first order.

    Parameters
    ----------
    objective : Objective
    place : Place
        Where the mean has been found, with draws around it.
    curvature : ThetaCurvature
        There.
    precision : Precision
        Λ there.
    seed : int
        Of the random signs.
    """
    cells, mean = objective.cells, place.mean
    latents = cells.theta_latents(mean)
    slope = objective.slope(place)[1]
    left = objective.gradient_of(place, slope)
    if latents is not None:
        of_mean = curvature.relaxed @ left - latents @ mean
        return cells.theta + of_mean + cells.theta_volume(_known(precision, seed))
    probes, seen = _volume(precision, seed)
    at_fixed_v = cells.theta_gradient(torch.cat([mean[None], probes]), torch.cat([slope[None], seen]), slope)
    return cells.theta + at_fixed_v - curvature.response @ left


def _probes(precision: Precision, seed: int) -> torch.Tensor:
    """Latents z of which the mean of z zᵀ is the identity, shape (probes, M): for very few latents exactly.

    Their noise is the same at every step, so that a search comes to rest; but it shifts where it does.
    """
    size = precision.cells.model.prior.latent_size
    count = PROBE_NUMBERS // max(size, len(precision.cells.offset))
    count = max(LEAST_PROBES, min(MOST_PROBES, count))
    if size <= count:
        return math.sqrt(size) * torch.eye(size, dtype=torch.float64)
    return random_signs(count, size, seed)


def _known(precision: Precision, seed: int) -> torch.Tensor:
    """The diagonal of I − Λ⁻¹, shape (M,).

    Draws have it too, as 1 − δ², but to them every latent of which stars know little adds noise.
    """
    probes = _probes(precision, seed)
    return (probes * precision.known(probes, TOLERANCE)).mean(0)


def _volume(precision: Precision, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents z and cotangents y of cells such that Σ yᵀ∂B z is tr ∂Bᵀ G B Λ⁻¹, shapes (probes, M), (probes, cells)."""
    probes = _probes(precision, seed)
    left = probes - precision.known(probes, ROOT_TOLERANCE)  # Λ⁻¹ of each
    return probes, precision.metric.weigh(precision.cells.apply(left)) / len(probes)
