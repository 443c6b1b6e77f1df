"""The gradient of the evidence by the hyperparameters, most of which is Occam's factor: the volume that stars leave."""

from __future__ import annotations

import torch

from gpdust.inference.curvature import ThetaCurvature, random_signs
from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import DensePrecision, Precision

PROBES, TOLERANCE = 8, 0.3  # of the volume term: random signs, and tolerance of their solves
FEW_LATENTS = 1000  # of which solves cost little without a matrix too
ROOT_PROBES, ROOT_TOLERANCE = 200, 1e-4  # likewise at fixed v, where large numbers cancel, and where latents are few


def theta_gradient(
    objective: Objective, place: Place, curvature: ThetaCurvature, precision: Precision, seed: int
) -> torch.Tensor:
    """Of −ln evidence by θ, from the moments of q, shape (P,).

    By Fisher's identity the slope of the evidence is an expectation over the posterior; of q it takes its mean and Λ⁻¹.

    Where a prior scales its latents one by one, v = m ± δ moves along such that φ stays: then the likelihood does
    not change at all, and only KL(q ‖ prior) does, by −pᵀm for the mean and tr D (I − Λ⁻¹) for the volume. At fixed
    v the gradient would be the difference of two numbers up to a million times larger. Under another prior it is
    taken there: by E[slope]ᵀ∂φ for the mean and tr ∂Bᵀ G B Λ⁻¹ for the volume, which are the same two numbers if the
    root of the prior is that of the cells. Slopes at the draws in place of G would see how far the draws of a Gaussian
    go astray, and take it for too large an amplitude.

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
        return cells.theta + of_mean + cells.theta_volume(_known(precision, seed, len(mean)))
    probes, seen = _volume(precision, seed, len(mean))
    at_fixed_v = cells.theta_gradient(torch.cat([mean[None], probes]), torch.cat([slope[None], seen]), slope)
    return cells.theta + at_fixed_v - curvature.response @ left


def _known(precision: Precision, seed: int, size: int) -> torch.Tensor:
    """The diagonal of I − Λ⁻¹, by random signs: unbiased, and the same signs at every step; shape (M,).

    Draws have it too, as 1 − δ², but to them every latent of which stars know little adds noise.
    """
    signs = random_signs(PROBES, size, seed)
    return (signs * precision.known(signs, TOLERANCE)).mean(0)


def _volume(precision: Precision, seed: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents z and cotangents y of cells such that Σ yᵀ∂B z is tr ∂Bᵀ G B Λ⁻¹: exactly for few latents, else by signs.

    Shapes (probes, M) and (probes, cells).
    """
    count = ROOT_PROBES if isinstance(precision, DensePrecision) or size <= FEW_LATENTS else PROBES
    if size <= count:
        probes, count = torch.eye(size, dtype=torch.float64), 1
    else:
        probes = random_signs(count, size, seed)
    left = probes - precision.known(probes, ROOT_TOLERANCE)  # Λ⁻¹ of each
    return probes, precision.metric.weigh(precision.cells.apply(left)) / count
