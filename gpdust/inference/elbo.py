"""The ELBO of a Gaussian q, the same for all engines, with its Monte-Carlo error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch

from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision

DRAW_TOLERANCE = 0.03  # of the solves for new draws
PAIRS = (4, 10, 16)  # of new draws, one batch after another until the ELBO is known well enough
SEEDS = 1_000_003  # from batch to batch: far from the seeds that anyone gives
WELL_KNOWN, SHARE_KNOWN = 0.5, 0.3  # nats, and of the determinant's error: a scatter of few draws may be too small


def theta_divergence(theta: torch.Tensor, covariance: torch.Tensor) -> float:
    """KL(N(θ̂, Σ_θ) ‖ N(0, I)), nats: what the learned hyperparameters cost; nothing where none is learned."""
    if not len(theta) or not len(covariance):
        return 0.0
    trace = float(covariance.diagonal().sum())
    return 0.5 * (trace + float(theta.square().sum()) - len(theta) - float(torch.logdet(covariance)))


def unseen(
    standard: Callable[[int, int], tuple[torch.Tensor, torch.Tensor]], seed: int, least: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches, of at least so many pairs, of standard normals that no draw of a fit with that seed is made of."""
    for batch, pairs in enumerate(PAIRS, 1):
        yield standard(seed + batch * SEEDS, max(pairs, least))


def gaussian_elbo(
    objective: Objective,
    place: Place,
    precision: Precision,
    standards: Iterable[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[float, float, float]:
    """E_q[log L] − KL(q(v) ‖ N(0, I)), its standard error, and by how much the fit's own draws flatter it, nats.

    Parameters
    ----------
    objective : Objective
    place : Place
        The mean of q, with the draws that it was fitted to.
    precision : Precision
        Λ of q.
    standards : iterable of (Tensor, Tensor), shapes (pairs, latent) and (pairs, cells)
        Standard normals, none of which the fit has seen. Batches are taken until the ELBO is known well enough.

    Returns
    -------
    elbo, error, flattery : float

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
        each = torch.cat([each, _beyond_quadratic(objective, drawn, precision)])
        scatter = float(each.std()) / math.sqrt(len(each))
        if scatter < max(WELL_KNOWN, SHARE_KNOWN * 0.5 * log_determinant_error):
            break
    divergence = 0.5 * (float(place.mean.square().sum()) + log_determinant)
    flattery = float(each.mean() - _beyond_quadratic(objective, place, precision).mean())
    return -float(each.mean()) - divergence, math.hypot(scatter, 0.5 * log_determinant_error), flattery


def _beyond_quadratic(objective: Objective, place: Place, precision: Precision) -> torch.Tensor:
    """−log L less ½ dᵀGd of every pair of draws."""
    energies = objective.energies(place).unflatten(0, (2, -1)).mean(0)
    return energies - 0.5 * (place.offsets * precision.metric.weigh(place.offsets)).sum(-1)
