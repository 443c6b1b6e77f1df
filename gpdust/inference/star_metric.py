"""The Gauss–Newton metric of the stars on the cells: what they know of the log-density, ray by ray.

G = Dᵀ Rᵀ W R D with D = dρ/dφ, either at one density or averaged over draws. W is tridiagonal, so that with x = D φ and
cells counted outwards (RᵀWR)_ij = Σ_{k≥i, l≥j} W_kl depends for i ≠ j on the farther of the two cells alone: two
running sums along a ray do for a product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import torch

from gpdust.likelihood import ExtinctionStatistics

BLOCK_BYTES = 4e6  # of temporary memory: a few of these stay in the caches
FAINTEST = 1e-10  # of a cell's information: below it lies rounding


class StarMetric(ABC):
    """What can be asked of G. Cells lie ray after ray; shape is (rays, cells of each)."""

    shape: tuple[int, int]

    @abstractmethod
    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""

    @abstractmethod
    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """L y with G = L Lᵀ, of standard normals noise with G as its covariance: (batch, cells) to (batch, cells)."""

    @abstractmethod
    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""


class PlainMetric(StarMetric):
    """G at one density, in memory and time as the cells.

    Parameters
    ----------
    slope : Tensor, shape (rays, cells of each)
        What the extinction behind a cell gains per dex of its density, mag: D times the length of the cell.
    statistics : ExtinctionStatistics
    """

    def __init__(self, slope: torch.Tensor, statistics: ExtinctionStatistics) -> None:
        self.shape, self.slope, self.statistics = slope.shape, slope, statistics
        self._tail, self._neighbour = tail_sums(statistics)

    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""
        fields = field.unflatten(-1, self.shape)
        weighed = torch.empty_like(fields)
        for rays in runs(self.shape[0], fields[..., 0, :].numel() * 8):
            slope, tail = self.slope[rays], self._tail[rays]
            seen = fields[..., rays, :] * slope
            nearer, farther = seen.cumsum(-1), outward_sums(seen * tail)
            total = nearer.mul_(tail).sub_(seen * self._neighbour[rays])
            total[..., :-1] += farther[..., 1:]
            torch.mul(total, slope, out=weighed[..., rays, :])
        return weighed.flatten(-2)

    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """L y with G = L Lᵀ: (batch, cells) to (batch, cells)."""
        diagonal, below = self._root
        standard = standard.unflatten(-1, self.shape)
        edges = diagonal * standard
        edges[..., 1:] += below[:, 1:] * standard[..., :-1]
        return (outward_sums(edges) * self.slope).flatten(-2)

    def root_adjoint(self, field: torch.Tensor) -> torch.Tensor:
        """Lᵀ φ: (batch, cells) to (batch, cells)."""
        diagonal, below = self._root
        extinction = (field.unflatten(-1, self.shape) * self.slope).cumsum(-1)
        edges = diagonal * extinction
        edges[..., :-1] += below[:, 1:] * extinction[..., 1:]
        return edges.flatten(-2)

    @cached_property
    def _root(self) -> tuple[torch.Tensor, torch.Tensor]:
        return bidiagonal_root(self.statistics)

    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""
        slope = self.slope[rays]
        return _farther(slope[:, :, None] * slope[:, None, :], self._tail[rays], self._neighbour[rays])


class AveragedMetric(StarMetric):
    """E[G] over draws of the density, as matrices.

    Parameters
    ----------
    slopes : Tensor, shape (draws, rays, cells of each)
        See `PlainMetric`.
    statistics : ExtinctionStatistics
    """

    def __init__(self, slopes: torch.Tensor, statistics: ExtinctionStatistics) -> None:
        self.shape = slopes.shape[1:]
        n = self.shape[1]
        tail, neighbour = tail_sums(statistics)
        self._blocks = slopes.new_empty(self.shape[0], n, n)
        for rays in runs(self.shape[0], max(n, len(slopes)) * 8 * n):
            some = slopes[:, rays]
            products = some.permute(1, 2, 0) @ some.permute(1, 0, 2) / len(slopes)
            self._blocks[rays] = _farther(products, tail[rays], neighbour[rays])

    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""
        columns = field.unflatten(-1, self.shape).permute(1, 2, 0)
        return torch.matmul(self._blocks, columns).permute(2, 0, 1).flatten(-2)

    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """L y with G = L Lᵀ: (batch, cells) to (batch, cells)."""
        standard = standard.unflatten(-1, self.shape)
        coloured = torch.empty_like(standard)
        for rays in runs(self.shape[0], self.shape[1] ** 2 * 8):
            block = self._blocks[rays]
            scale = block.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
            unit = block / (scale[:, :, None] * scale[:, None, :]).clamp_min(1e-300)
            unit.diagonal(dim1=-2, dim2=-1).fill_(1 + FAINTEST)
            factor, failed = torch.linalg.cholesky_ex(unit)
            if failed.any():
                unit.diagonal(dim1=-2, dim2=-1).add_(1e4 * FAINTEST)
                factor = torch.linalg.cholesky(unit)
            coloured[..., rays, :] = scale * torch.einsum("rij,...rj->...ri", factor, standard[..., rays, :])
        return coloured.flatten(-2)

    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""
        return self._blocks[rays]


def outward_sums(values: torch.Tensor) -> torch.Tensor:
    """Σ over a cell and those behind it, along the last axis."""
    return values.flip(-1).cumsum(-1).flip(-1)


def tail_sums(statistics: ExtinctionStatistics) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ_{l ≥ j} of the columns of W, and W_{j−1,j}, which the diagonal lacks; shape (ray, cell)."""
    columns = statistics.diagonal + statistics.coupling
    columns[:, :-1] += statistics.coupling[:, 1:]
    return outward_sums(columns), statistics.coupling


def bidiagonal_root(statistics: ExtinctionStatistics) -> tuple[torch.Tensor, torch.Tensor]:
    """C with W = C Cᵀ along each ray: its diagonal, and what stands left of it; shape (ray, cell)."""
    diagonal, below = torch.zeros_like(statistics.diagonal), torch.zeros_like(statistics.diagonal)
    for k in range(diagonal.shape[1]):
        left = statistics.diagonal[:, k]
        if k:
            inner = diagonal[:, k - 1]
            below[:, k] = torch.where(inner > 0, statistics.coupling[:, k] / inner.clamp_min(1e-300), 0.0)
            left = left - below[:, k].square()
        # Where rounding leaves nothing, no star has told this edge from the one before it.
        diagonal[:, k] = torch.where(left > 1e-14 * statistics.diagonal[:, k], left, 0.0).sqrt()
    return diagonal, below


def runs(n_rays: int, ray_bytes: int) -> Iterator[slice]:
    """Runs of rays that take no more than BLOCK_BYTES."""
    step = max(1, int(BLOCK_BYTES // ray_bytes))
    return (slice(start, min(start + step, n_rays)) for start in range(0, n_rays, step))


def _farther(products: torch.Tensor, tail: torch.Tensor, neighbour: torch.Tensor) -> torch.Tensor:
    """Products of slopes times the sums of W behind the farther cell, shape (rays, cell, cell)."""
    n = products.shape[-1]
    nearer = torch.ones(n, n, dtype=torch.bool).tril(-1)
    blocks = products * torch.where(nearer, tail[:, :, None], tail[:, None, :])
    blocks.diagonal(dim1=-2, dim2=-1).sub_(products.diagonal(dim1=-2, dim2=-1) * neighbour)
    return blocks
