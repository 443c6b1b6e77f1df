"""The Gauss–Newton metric of (θ, v): how sharply the stars see each direction, and coordinates in which it is one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gpdust.inference.gaussian import WhitenedGaussian, signed
from gpdust.likelihood import StarLikelihood
from gpdust.los import adjoint, integrate
from gpdust.model import LN10, DustModel
from gpdust.prior import InducingGP, LinearMap

STEP = 1e-4  # of a standardised hyperparameter; a difference this fine is exact enough for a metric


@dataclass(frozen=True)
class Whitening:
    """Coordinates (η_θ, η_v) in which the posterior is about a unit ball.

    θ = θ₀ + C η_θ, and v = m₀ + D η_θ + U s η_v: a change of θ carries v along, so that the fit to the data holds.
    Moving θ at fixed v would fight the data and crawl.

    Attributes
    ----------
    rotation, scale : Tensor, shapes (M, M) and (M,)
        U and s: eigenvectors of the metric of v, and its eigenvalues to the power −½.
    theta_factor : Tensor, shape (P, P)
        C, a Cholesky factor of the (Laplace) covariance of θ.
    compensation : Tensor, shape (M, P)
        D.
    """

    rotation: torch.Tensor
    scale: torch.Tensor
    theta_factor: torch.Tensor
    compensation: torch.Tensor

    @property
    def theta_covariance(self) -> torch.Tensor:
        """Approximate posterior covariance of θ, with v integrated out, shape (P, P)."""
        return self.theta_factor @ self.theta_factor.mT

    def gaussian(self, mean: torch.Tensor, generator: torch.Generator) -> WhitenedGaussian:
        """The unit ball about a mean of v, shape (M,), with θ at rest."""
        return WhitenedGaussian(mean, self.rotation, self.scale, generator=generator)


def gauss_newton(
    model: DustModel,
    prior: InducingGP,
    mean: torch.Tensor,
    theta: torch.Tensor,
    basis: list[LinearMap] | None,
    with_theta: bool,
    draws: torch.Tensor | None = None,
) -> torch.Tensor:
    """JᵀFJ with J = ∂A/∂(θ, v): the information of the stars, without the prior's.

    Parameters
    ----------
    model : DustModel
    prior : InducingGP
        The model's, or one with its inducing points elsewhere.
    mean : Tensor, shape (M,)
        v at which the extinction is linearised.
    theta : Tensor, shape (P,)
        Standardised hyperparameters.
    basis : list of LinearMap or None
        The prior on the cells at θ.
    with_theta : bool
        Whether θ takes part; else only v does.
    draws : Tensor, shape (draws, M), optional
        Draws of v over which the information is averaged; at `mean` alone without them.

    Returns
    -------
    Tensor, shape (P + M, P + M) or (M, M)

    Notes
    -----
    Accumulated ray by ray. Along a ray, R and F meet in one small matrix of cells × cells, so that the cost is one
    product with the prior's matrix per ray and one rank-cells update.
    """
    size = len(mean) + (len(theta) if with_theta else 0)
    information = torch.zeros(size, size, dtype=mean.dtype)
    lengths = torch.from_numpy(model.grid.cell_lengths)
    n_cells = model.grid.n_cells
    for rays, linear_map in model.maps(prior, theta, basis):
        rows = linear_map.matrix
        if with_theta:
            rows = torch.cat([_theta_derivatives(model, prior, rays, mean, theta), rows], dim=-1)
        densities = model.density(mean[None] if draws is None else draws, linear_map)
        gram = _averaged(densities, lengths, model.likelihood[rays])
        information += _on_latents(gram, rows.unflatten(0, (-1, n_cells)))
    return 0.5 * (information + information.mT)


def expected_hessian(
    model: DustModel,
    prior: InducingGP,
    theta: torch.Tensor,
    basis: list[LinearMap] | None,
    draws: torch.Tensor,
) -> torch.Tensor:
    """The Hessian of −log L by v, averaged over draws: the metric, and what the curvature of the density adds.

    The Gaussian of the largest ELBO has its inverse covariance, with the prior's (Opper & Archambeau 2009).
    Exact where stars are compressed, with Gaussian noise and exact distances; else their information at the mean
    density stands for the curvature of −log L by the extinction.

    Parameters
    ----------
    draws : Tensor, shape (draws, M)
        Of v.
    model, prior, theta, basis
        See `gauss_newton`.

    Returns
    -------
    Tensor, shape (M, M)
        Symmetric; not always positive.
    """
    size = draws.shape[-1]
    hessian = torch.zeros(size, size, dtype=draws.dtype)
    lengths = torch.from_numpy(model.grid.cell_lengths)
    for rays, linear_map in model.maps(prior, theta, basis):
        densities, stars = model.density(draws, linear_map), model.likelihood[rays]
        _, slope = stars.log_likelihood_and_slope(integrate(densities, lengths))
        # d²ρ/dφ² = ln 10 dρ/dφ, so that the slope of −log L by φ tells what it adds.
        curvature = -(LN10**2 * densities * adjoint(slope, lengths)).mean(0)
        gram = _averaged(densities, lengths, stars) + curvature.diag_embed()
        hessian += _on_latents(gram, linear_map.matrix.unflatten(0, (-1, model.grid.n_cells)))
    return 0.5 * (hessian + hessian.mT)


def _averaged(densities: torch.Tensor, lengths: torch.Tensor, stars: StarLikelihood) -> torch.Tensor:
    """The metric by φ of some rays, averaged over draws of their densities: shape (ray, cell, cell)."""
    slopes = (LN10 * lengths * densities).permute(1, 2, 0)  # of the extinction behind a cell, per dex
    information = stars.information(integrate(densities.mean(0), lengths)).on_cells(slice(None))
    return slopes @ slopes.mT / len(densities) * information


def _on_latents(gram: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """BᵀGB of some rays: of shapes (ray, cell, cell) and (ray, cell, M)."""
    return rows.flatten(0, 1).mT @ (gram @ rows).flatten(0, 1)


def _theta_derivatives(
    model: DustModel, prior: InducingGP, rays: slice, mean: torch.Tensor, theta: torch.Tensor
) -> torch.Tensor:
    """∂(log10 density)/∂θ on the cells of some rays at fixed v, shape (cells, P).

    The residual variance is part of it: it shifts the density of every cell at once, which the stars see best of all.
    """
    points = model.points(rays)

    def log_density(at: torch.Tensor) -> torch.Tensor:
        return model.mean_log_density(mean, prior.at(points, at))

    here = log_density(theta)
    steps = STEP * torch.eye(len(theta), dtype=theta.dtype)
    return torch.stack([(log_density(theta + step) - here) / STEP for step in steps], dim=-1)


def whiten(information: torch.Tensor, tempering: float, theta_size: int) -> Whitening:
    """Coordinates in which the prior and the tempered information together are the identity.

    Parameters
    ----------
    information : Tensor, shape (P + M, P + M), or (M, M) where `theta_size` is 0
    tempering : float
        Weight of the likelihood.
    theta_size : int
        P.
    """
    precision = tempering * information + torch.eye(len(information), dtype=information.dtype)
    eigenvalues, rotation = torch.linalg.eigh(precision[theta_size:, theta_size:])
    rotation = signed(rotation)
    scale = eigenvalues.clamp_min(1.0).rsqrt()  # the prior alone gives one; rounding may give a little less
    cross = precision[theta_size:, :theta_size]
    carried = rotation @ (scale.square()[:, None] * (rotation.mT @ cross))
    marginal = precision[:theta_size, :theta_size] - cross.mT @ carried
    theta_factor = _covariance_factor(marginal)
    return Whitening(rotation, scale, theta_factor, -carried @ theta_factor)


def _covariance_factor(precision: torch.Tensor) -> torch.Tensor:
    """Cholesky factor of the inverse of a precision that is at least one: strong data lose that in rounding."""
    if not len(precision):
        return precision
    values, vectors = torch.linalg.eigh(0.5 * (precision + precision.mT))
    return torch.linalg.cholesky((vectors / values.clamp_min(1.0)) @ vectors.mT)
