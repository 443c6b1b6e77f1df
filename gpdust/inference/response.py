"""What the stars say of the log-density on the cells: energy, gradient and Gauss–Newton metric, ray by ray."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from gpdust.los import adjoint, integrate
from gpdust.model import LN10, DustModel

BLOCK_BYTES = 4e6  # of temporary memory: a few of these stay in the caches
FAINTEST = 1e-10  # of a cell's information: below it lies rounding


class Response:
    """−log L as a function of φ, log10 density on all cells, which lie ray after ray.

    Parameters
    ----------
    model : DustModel
    """

    def __init__(self, model: DustModel) -> None:
        self.statistics = model.statistics
        self.shape = model.grid.shape
        self.lengths = torch.from_numpy(model.grid.cell_lengths)
        self._tail, self._neighbour = self._kernel()

    def energy(self, log_density: torch.Tensor) -> torch.Tensor:
        """−log L, nats: (..., cells) to (...)."""
        return -self.statistics.log_likelihood(self._extinction(log_density))

    def energy_and_gradient(self, log_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """−log L and its derivative by φ: (..., cells) to (...) and (..., cells)."""
        density = torch.exp(LN10 * log_density).unflatten(-1, self.shape)
        extinction = integrate(density, self.lengths)
        residual = self.statistics.precision_product(extinction) - self.statistics.weighted
        gradient = LN10 * density * adjoint(residual, self.lengths)
        return -self.statistics.log_likelihood(extinction), gradient.flatten(-2)

    def metric(self, log_densities: torch.Tensor) -> torch.Tensor:
        """E[DᵀRᵀWRD] with D = dρ/dφ, averaged over draws: (draws, cells) to (rays, cell, cell).

        Notes
        -----
        (RᵀWR)_ij = Σ_{k≥i, l≥j} W_kl. W couples neighbours only, so that for i ≠ j it depends on the farther of the two
        cells alone: no product of matrices is needed.
        """
        n_rays, n = self.shape
        metric = torch.empty(n_rays, n, n, dtype=log_densities.dtype)
        draws = log_densities.unflatten(-1, self.shape)
        nearer = torch.ones(n, n, dtype=torch.bool).tril(-1)
        for rays in self.blocks(max(n, len(draws)) * 8 * n):
            slope = (LN10 * self.lengths) * torch.exp(LN10 * draws[:, rays]) / math.sqrt(len(draws))
            block = slope.permute(1, 2, 0) @ slope.permute(1, 0, 2)
            diagonal = block.diagonal(dim1=-2, dim2=-1) * self._neighbour[rays]
            tail = self._tail[rays]
            torch.mul(block, torch.where(nearer, tail[:, :, None], tail[:, None, :]), out=metric[rays])
            metric[rays].diagonal(dim1=-2, dim2=-1).sub_(diagonal)
        return metric

    def noise(self, metric: torch.Tensor, standard: torch.Tensor) -> torch.Tensor:
        """Noise on the cells with the metric as its covariance: (..., cells) of standard normals to (..., cells)."""
        standard = standard.unflatten(-1, self.shape)
        coloured = torch.empty_like(standard)
        for rays in self.blocks(self.shape[1] ** 2 * 8):
            block = metric[rays]
            scale = block.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
            unit = block / (scale[:, :, None] * scale[:, None, :]).clamp_min(1e-300)
            unit.diagonal(dim1=-2, dim2=-1).fill_(1 + FAINTEST)
            factor, failed = torch.linalg.cholesky_ex(unit)
            if failed.any():
                unit.diagonal(dim1=-2, dim2=-1).add_(1e4 * FAINTEST)
                factor = torch.linalg.cholesky(unit)
            coloured[..., rays, :] = scale * torch.einsum("rij,...rj->...ri", factor, standard[..., rays, :])
        return coloured.flatten(-2)

    def product(self, metric: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        """The metric times a field on the cells: (batch, cells) to (batch, cells)."""
        columns = field.unflatten(-1, self.shape).permute(1, 2, 0)
        return torch.matmul(metric, columns).permute(2, 0, 1).flatten(-2)

    def blocks(self, ray_bytes: int) -> Iterator[slice]:
        """Runs of rays that take no more than BLOCK_BYTES."""
        step = max(1, int(BLOCK_BYTES // ray_bytes))
        return (slice(start, min(start + step, self.shape[0])) for start in range(0, self.shape[0], step))

    def _extinction(self, log_density: torch.Tensor) -> torch.Tensor:
        return integrate(torch.exp(LN10 * log_density).unflatten(-1, self.shape), self.lengths)

    def _kernel(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Σ_{l ≥ j} of the columns of W, and W_{j−1,j}, which the diagonal lacks; shape (ray, cell)."""
        columns = self.statistics.diagonal + self.statistics.coupling
        columns[:, :-1] += self.statistics.coupling[:, 1:]
        return columns.flip(-1).cumsum(-1).flip(-1), self.statistics.coupling
