"""Where a fit starts when a density is known beforehand: another fit's posterior, or a guess."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Start:
    """A place to start a fit from.

    Attributes
    ----------
    mean : Tensor, shape (latent_size,)
        Of v.
    theta : Tensor, shape (theta_size,)
        Standardised hyperparameters.
    """

    mean: torch.Tensor
    theta: torch.Tensor

    @classmethod
    def at_prior(cls, prior: InducingGP | SpectralGP) -> Start:
        """The prior's mean, and that of its hyperparameters."""
        return cls(
            torch.zeros(prior.latent_size, dtype=torch.float64), torch.zeros(prior.theta_size, dtype=torch.float64)
        )


def start_from(posterior: Posterior, model: DustModel) -> Start:
    """Where a model comes nearest to a posterior.

    Parameters
    ----------
    posterior : Posterior
        Of any engine and prior; its grid must hold the model's cells.
    model : DustModel

    Returns
    -------
    Start
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
        return Start(posterior.mean.clone(), theta)
    with torch.no_grad():
        log_density = [
            posterior.prior.fields(posterior.mean[None], posterior.theta).read(torch.from_numpy(points))[0][0]
            for points in model.grid.cell_points()
        ]
    closeness = torch.tensor(CLOSENESS, dtype=torch.float64)
    return Start(projected(torch.cat(log_density), closeness, PriorOnCells(model, theta)), theta)


def _same_latents(one: InducingGP | SpectralGP, other: InducingGP | SpectralGP) -> bool:
    if isinstance(one, InducingGP) and isinstance(other, InducingGP):
        return one.points.shape == other.points.shape and torch.equal(one.points, other.points)
    return isinstance(one, SpectralGP) and isinstance(other, SpectralGP) and one.box == other.box


def projected(log_density: torch.Tensor, error: torch.Tensor, cells: PriorOnCells) -> torch.Tensor:
    """The mean of v given the field on the cells, as if it had been measured.

    Parameters
    ----------
    log_density : Tensor, shape (cells,)
        Dex; any finite number where the error is infinite.
    error : Tensor, shape (cells,) or ()
        Standard error of it, dex; infinite where nothing is known.
    cells : PriorOnCells

    Returns
    -------
    Tensor, shape (latent_size,)
    """
    weight = error**-2

    def product(latent: torch.Tensor) -> torch.Tensor:
        return latent + cells.adjoint(weight * cells.apply(latent))

    right = cells.adjoint((weight * (log_density - cells.offset))[None])
    return conjugate_gradient(product, right, lambda residual: residual, 1e-3, ITERATIONS).x[0]
