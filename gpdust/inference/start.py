"""Where a fit starts when it goes on from another one's posterior, perhaps under another prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gpdust.inference.cells import PriorOnCells
from gpdust.inference.conjugate_gradient import conjugate_gradient
from gpdust.model import DustModel
from gpdust.prior import InducingGP, SpectralGP

if TYPE_CHECKING:
    from gpdust.posterior import Posterior

CLOSENESS = 0.03  # dex: how closely another prior's field is followed
ITERATIONS = 100


def start_from(posterior: Posterior, model: DustModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of v and standardised hyperparameters at which a model comes nearest to a posterior.

    Parameters
    ----------
    posterior : Posterior
        Of any engine and prior; its grid must hold the model's cells.
    model : DustModel

    Returns
    -------
    mean : Tensor, shape (latent_size,)
    theta : Tensor, shape (theta_size,)
        Hyperparameters of the same name carry over, as far as the model learns them.
    """
    known = posterior.hyperparameters
    theta = torch.tensor(
        [
            parameter.standardised(known[parameter.name]) if parameter.name in known else 0.0
            for parameter in model.prior.hyperparameters.learned()
        ],
        dtype=torch.float64,
    )
    if _same_latents(posterior.prior, model.prior):
        return posterior.mean.clone(), theta
    with torch.no_grad():
        log_density = [
            posterior.prior.fields(posterior.mean[None], posterior.theta).read(torch.from_numpy(points))[0][0]
            for points in model.grid.cell_points()
        ]
    return _projected(torch.cat(log_density), PriorOnCells(model, theta)), theta


def _same_latents(one: InducingGP | SpectralGP, other: InducingGP | SpectralGP) -> bool:
    if isinstance(one, InducingGP) and isinstance(other, InducingGP):
        return one.points.shape == other.points.shape and torch.equal(one.points, other.points)
    return isinstance(one, SpectralGP) and isinstance(other, SpectralGP) and one.box == other.box


def _projected(log_density: torch.Tensor, cells: PriorOnCells) -> torch.Tensor:
    """The mean of v given the field on the cells, as if it had been measured to CLOSENESS."""

    def product(latent: torch.Tensor) -> torch.Tensor:
        return latent + cells.adjoint(cells.apply(latent)) / CLOSENESS**2

    right = cells.adjoint((log_density - cells.offset)[None]) / CLOSENESS**2
    return conjugate_gradient(product, right, lambda residual: residual, 1e-3, ITERATIONS).x[0]
