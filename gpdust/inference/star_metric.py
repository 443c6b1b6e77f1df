"""The Gauss–Newton metric of the stars on the cells: what they know of the log-density, ray by ray.

G = Dᵀ Rᵀ F R D with D = dρ/dφ, either at one density or averaged over draws, and F the information of the stars on the
extinction at cell edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import torch

from gpdust.likelihood import RayInformation, Tridiagonal
from gpdust.likelihood.information import outward_sums

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
    def root_adjoint(self, field: torch.Tensor) -> torch.Tensor:
        """Lᵀ φ: (batch, cells) to (batch, cells)."""

    @abstractmethod
    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""


class PlainMetric(StarMetric):
    """G at one density where F is tridiagonal, in memory and time as the cells.

    With x = D φ and cells counted outwards (RᵀWR)_ij depends for i ≠ j on the farther of the two cells alone: two
    running sums along a ray do for a product.

    Parameters
    ----------
    slope : Tensor, shape (rays, cells of each)
        What the extinction behind a cell gains per dex of its density, mag: D times the length of the cell.
    information : Tridiagonal
    """

    def __init__(self, slope: torch.Tensor, information: Tridiagonal) -> None:
        self.shape, self.slope, self.information = slope.shape, slope, information
        self._tail, self._neighbour = information.tail_sums()

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
        return self.information.bidiagonal_root()

    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""
        slope = self.slope[rays]
        return slope[:, :, None] * slope[:, None, :] * self.information.on_cells(rays)


class BlockMetric(StarMetric):
    """G at one density or averaged over draws, as a matrix for each ray, whatever F.

    Parameters
    ----------
    slopes : Tensor, shape (draws, rays, cells of each)
        See `PlainMetric`.
    information : RayInformation
    """

    def __init__(self, slopes: torch.Tensor, information: RayInformation) -> None:
        self.shape = slopes.shape[1:]
        n = self.shape[1]
        self._blocks = slopes.new_empty(self.shape[0], n, n)
        for rays in runs(self.shape[0], max(n, len(slopes)) * 8 * n):
            some = slopes[:, rays]
            products = some.permute(1, 2, 0) @ some.permute(1, 0, 2) / len(slopes)
            self._blocks[rays] = products * information.on_cells(rays)

    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""
        return self._multiply(self._blocks, field)

    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """L y with G = L Lᵀ: (batch, cells) to (batch, cells)."""
        return self._multiply(self._root, standard)

    def root_adjoint(self, field: torch.Tensor) -> torch.Tensor:
        """Lᵀ φ: (batch, cells) to (batch, cells)."""
        return self._multiply(self._root.mT, field)

    def _multiply(self, matrices: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        columns = field.unflatten(-1, self.shape).permute(1, 2, 0)
        return torch.matmul(matrices, columns).permute(2, 0, 1).flatten(-2)

    @cached_property
    def _root(self) -> torch.Tensor:
        root = torch.empty_like(self._blocks)
        for rays in runs(self.shape[0], self.shape[1] ** 2 * 8):
            block = self._blocks[rays]
            scale = block.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
            unit = block / (scale[:, :, None] * scale[:, None, :]).clamp_min(1e-300)
            unit.diagonal(dim1=-2, dim2=-1).fill_(1 + FAINTEST)
            factor, failed = torch.linalg.cholesky_ex(unit)
            if failed.any():
                unit.diagonal(dim1=-2, dim2=-1).add_(1e4 * FAINTEST)
                factor = torch.linalg.cholesky(unit)
            root[rays] = scale[:, :, None] * factor
        return root

    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""
        return self._blocks[rays]


def runs(n_rays: int, ray_bytes: int) -> Iterator[slice]:
    """Runs of rays that take no more than BLOCK_BYTES."""
    step = max(1, int(BLOCK_BYTES // ray_bytes))
    return (slice(start, min(start + step, n_rays)) for start in range(0, n_rays, step))
