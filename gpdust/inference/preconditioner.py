"""A coarse posterior as a preconditioner: the stars' information on few large cells, inverted exactly.

Near stars are precise and every far star sees all the dust in front of it, so that the information of the stars spans
six orders of magnitude, nearly all of it in smooth modes. Those a grid of few cells sees as well as a fine one: there
P = I + BᵀGB of the coarse model is Λ, up to a factor of order one, and Woodbury's identity inverts it,

    P⁻¹ = I − BᵀL (I + LᵀKL)⁻¹ LᵀB,   G = L Lᵀ ray by ray,   K = B Bᵀ.
"""

from __future__ import annotations

import torch

from gpdust.errors import InferenceError
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.response import Response
from gpdust.model import DustModel
from gpdust.prior import SpectralGP

COARSE_CELLS = 1000
STALE = 0.15  # dex
COVARIANCE_LATENTS = 300_000  # of all rows held at once: they stay in the caches


class CoarsePosterior:
    """The coarse model at given hyperparameters.

    Parameters
    ----------
    model : DustModel
        The fine one.
    coarse : DustModel
        See `DustModel.coarsened`.
    theta : Tensor, shape (P,)
    """

    def __init__(self, model: DustModel, coarse: DustModel, theta: torch.Tensor) -> None:
        self.cells = PriorOnCells(coarse, theta)
        self.response = Response(coarse)
        self.latent_size = model.prior.latent_size
        self._shared = None
        if isinstance(model.prior, SpectralGP) and coarse.prior.box != model.prior.box:
            self._shared = coarse.prior.box.transfer_indices(model.prior.box)
        self.covariance = self._covariance()

    def _covariance(self) -> torch.Tensor:
        """K = B Bᵀ of the coarse cells, dex², from those latents alone that the fine model has too."""
        size = self.cells.model.prior.latent_size
        shared = torch.ones(size, dtype=torch.float64)
        if self._shared is not None:
            shared.zero_()[self._shared[0]] = 1.0
        identity = torch.eye(len(self.cells.offset), dtype=torch.float64)
        rows = max(1, COVARIANCE_LATENTS // size)
        return torch.cat([self.cells.apply(self.cells.adjoint(some).mul_(shared)) for some in identity.split(rows)])

    def restrict(self, latent: torch.Tensor) -> torch.Tensor:
        """Those latents that the coarse model has: (..., fine latent) to (..., coarse latent)."""
        if self._shared is None:
            return latent
        here, there = self._shared
        coarse = latent.new_zeros(*latent.shape[:-1], self.cells.model.prior.latent_size)
        coarse[..., here] = latent[..., there]
        return coarse

    def prolong(self, latent: torch.Tensor) -> torch.Tensor:
        """Adjoint of `restrict`: latents that only the fine model has are zero."""
        if self._shared is None:
            return latent
        here, there = self._shared
        fine = latent.new_zeros(*latent.shape[:-1], self.latent_size)
        fine[..., there] = latent[..., here]
        return fine

    def without(self, latent: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Fine latents less the prolongation of coarse ones."""
        if self._shared is None:
            return latent - coarse
        here, there = self._shared
        left = latent.clone()
        left[..., there] -= coarse[..., here]
        return left


class CoarsePreconditioner:
    """P at one place.

    Parameters
    ----------
    coarse : CoarsePosterior
    latent : Tensor, shape (fine latent,)
        Where the extinction is linearised.
    """

    def __init__(self, coarse: CoarsePosterior, latent: torch.Tensor) -> None:
        self.coarse = coarse
        self._log_density = coarse.cells.log_density(coarse.restrict(latent))
        self.metric = coarse.response.metric(self._log_density).blocks(slice(None))
        n = self.metric.shape[-1]
        scale = self.metric.diagonal(dim1=-2, dim2=-1).clamp_min(1e-200).sqrt()
        unit = self.metric / (scale[:, :, None] * scale[:, None, :])
        unit.diagonal(dim1=-2, dim2=-1).fill_(1.0)
        self._factor = scale[:, :, None] * _cholesky(unit)
        blocks = coarse.covariance.unflatten(0, (-1, n)).unflatten(-1, (-1, n))  # ray, cell, ray, cell
        inner = torch.einsum("rji,rjsk->risk", self._factor, blocks)
        inner = torch.einsum("risk,skl->risl", inner, self._factor).flatten(2, 3).flatten(0, 1)
        inner.diagonal().add_(1.0)
        cholesky = _cholesky(0.5 * (inner + inner.mT))
        self.log_determinant = 2 * float(cholesky.diagonal().log().sum())
        self._inverse = torch.cholesky_inverse(cholesky)

    def is_stale(self, latent: torch.Tensor) -> bool:
        """Whether the density has moved so much since this was built that building it anew pays."""
        log_density = self.coarse.cells.log_density(self.coarse.restrict(latent))
        return float((log_density - self._log_density).abs().max()) > STALE

    def __call__(self, right: torch.Tensor) -> torch.Tensor:
        """P⁻¹ b: (batch, fine latent) to (batch, fine latent)."""
        seen = self.coarse.cells.apply(self.coarse.restrict(right)).unflatten(-1, self._factor.shape[:2])
        inner = torch.einsum("rji,brj->bri", self._factor, seen).flatten(1) @ self._inverse
        outer = torch.einsum("rij,brj->bri", self._factor, inner.unflatten(-1, self._factor.shape[:2])).flatten(1)
        return self.coarse.without(right, self.coarse.cells.adjoint(outer))

    def coloured(self, standard: torch.Tensor, standard_cells: torch.Tensor) -> torch.Tensor:
        """Noise with covariance P from standard normals: (batch, fine latent) and (batch, coarse cells)."""
        standard_cells = standard_cells.unflatten(-1, self._factor.shape[:2])
        noise = torch.einsum("rij,brj->bri", self._factor, standard_cells).flatten(1)
        return standard + self.coarse.prolong(self.coarse.cells.adjoint(noise))

    @property
    def n_cells(self) -> int:
        """Cells of the coarse model."""
        return len(self._inverse)


def _cholesky(matrix: torch.Tensor) -> torch.Tensor:
    """Cholesky factor of matrices that only rounding makes indefinite: a preconditioner may be off by so much.

    Raises
    ------
    InferenceError
        If there is no factor even so: a density has overflowed.
    """
    size = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None]
    for jitter in (1e-12, 1e-9, 1e-6, 1e-3):
        shifted = matrix.clone()
        shifted.diagonal(dim1=-2, dim2=-1).add_(jitter * size)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if not failed.any():
            return factor
    raise InferenceError(
        "the information of the stars can't be inverted on the coarse grid: a density has overflowed. Check the "
        "prior's mean density and amplitude, and the errors of the brightest stars"
    )
