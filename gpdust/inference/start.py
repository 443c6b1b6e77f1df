"""Where a fit starts when a density is known beforehand: another fit's posterior, or a guess."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from gpdust.inference.cells import PriorOnCells
from gpdust.inference.conjugate_gradient import conjugate_gradient
from gpdust.likelihood import FreeNoise, Noise
from gpdust.model import LN10, DustModel
from gpdust.prior import InducingGP, SpectralGP

if TYPE_CHECKING:
    from gpdust.posterior import Posterior

CLOSENESS = 0.03  # dex: how closely another prior's field is followed
ITERATIONS = 100
AT_ONCE = 30_000_000  # numbers of a posterior's prior that are held while its density is read


@dataclass(frozen=True)
class Start:
    """A place to start a fit from.

    Attributes
    ----------
    mean : Tensor, shape (latent_size,)
        Of v.
    theta : Tensor, shape (theta_size,)
        Standardised hyperparameters.
    noise : Tensor, shape (free_noise.size,)
        Standardised parameters of the stars' noise; empty where nothing is known of it.
    """

    mean: torch.Tensor
    theta: torch.Tensor
    noise: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

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
        Of the same density, as far as the model's prior can make it. Hyperparameters, and parameters of the noise, of
        the same name carry over where the model learns them.
    """
    known = posterior.hyperparameters
    theta = torch.tensor(
        [
            parameter.standardised(known[parameter.name]) if parameter.name in known else 0.0
            for parameter in model.prior.hyperparameters.learned()
        ],
        dtype=torch.float64,
    )
    cells, log_density = PriorOnCells(model, theta), _log_density(posterior, model)
    mean = posterior.mean.clone()
    if not _makes(mean, log_density, cells):
        mean = projected(log_density, torch.tensor(CLOSENESS, dtype=torch.float64), cells)
    return Start(mean, theta, _carried_over(posterior.treatment.noise, model.free_noise))


def _log_density(posterior: Posterior, model: DustModel) -> torch.Tensor:
    """That of the posterior's mean on the model's cells, dex, averaged over the residual of its prior."""
    fields, parts = posterior.prior.fields(posterior.mean[None], posterior.theta), []
    points = torch.from_numpy(model.grid.cell_points()).reshape(-1, 3)
    with torch.no_grad():
        for some in points.split(max(1, AT_ONCE // posterior.prior.row_width)):
            log_density, residual_variance = fields.read(some)
            parts.append(log_density[0] + 0.5 * LN10 * residual_variance)
    return torch.cat(parts)


def _makes(mean: torch.Tensor, log_density: torch.Tensor, cells: PriorOnCells) -> bool:
    """Whether these latents make this density here too: the same points or box, kernel, mean and hyperparameters."""
    if len(mean) != cells.model.prior.latent_size:
        return False
    return float((cells.log_density(mean) - log_density).abs().max()) < CLOSENESS


def _carried_over(noise: Noise, free: FreeNoise) -> torch.Tensor:
    """The noise as a model knows it that learns some of its parameters, standardised."""
    known, own = (dict(zip(of.names, of.parameters(), strict=True)) for of in (noise, free.start))
    change = np.array([known.get(name, value) - value for name, value in own.items()])
    return torch.from_numpy(free.slope(change) / free.slope(np.ones(len(own))) ** 2)  # the slopes are the widths


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
