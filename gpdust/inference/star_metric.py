"""The Gauss–Newton metric of the stars on the cells: what they know of the log-density, ray by ray.

G = Dᵀ Rᵀ F R D with D = dρ/dφ, either at one density or averaged over draws, and F the information of the stars on the
extinction at cell edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch

from gpdust.likelihood import Blocks, RayInformation, Tridiagonal
from gpdust.likelihood.information import outward_sums

BLOCK_BYTES = 4e6  # of temporary memory: a few of these stay in the caches


class CellMetric(ABC):
    """A metric on the cells, ray by ray. Cells lie ray after ray; shape is (rays, cells of each)."""

    shape: tuple[int, int]

    @abstractmethod
    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""

    @abstractmethod
    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""


class StarMetric(CellMetric):
    """One that draws can be made of: what stars know."""

    @abstractmethod
    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """L y with G = L Lᵀ, of standard normals noise with G as its covariance: (batch, cells) to (batch, cells)."""

    @abstractmethod
    def root_adjoint(self, field: torch.Tensor) -> torch.Tensor:
        """Lᵀ φ: (batch, cells) to (batch, cells)."""


class PlainMetric(StarMetric):
    """G at one density.

    Parameters
    ----------
    slope : Tensor, shape (rays, cells of each)
        What the extinction behind a cell gains per dex of its density, mag: D times the length of the cell.
    information : RayInformation
    """

    def __init__(self, slope: torch.Tensor, information: RayInformation) -> None:
        self.shape, self.slope, self.information = slope.shape, slope, information
        self._tail, self._neighbour = information.tail_sums() if isinstance(information, Tridiagonal) else (None, None)

    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""
        fields = field.unflatten(-1, self.shape)
        if self._tail is None:
            edges = self.information.product((fields * self.slope).cumsum(-1))
            return (outward_sums(edges) * self.slope).flatten(-2)
        weighed = torch.empty_like(fields)
        for rays in runs(self.shape[0], fields[..., 0, :].numel() * 8):
            torch.mul(self._tridiagonal(fields[..., rays, :], rays), self.slope[rays], out=weighed[..., rays, :])
        return weighed.flatten(-2)

    def _tridiagonal(self, fields: torch.Tensor, rays: slice) -> torch.Tensor:
        """RᵀWRD φ on some rays, whose elements depend on the farther of two cells: two running sums do for it."""
        tail = self._tail[rays]
        seen = fields * self.slope[rays]
        nearer, farther = seen.cumsum(-1), outward_sums(seen * tail)
        total = nearer.mul_(tail).sub_(seen * self._neighbour[rays])
        total[..., :-1] += farther[..., 1:]
        return total

    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """L y with G = L Lᵀ: (batch, cells) to (batch, cells)."""
        edges = self.information.root(standard.unflatten(-1, self.shape))
        return (outward_sums(edges) * self.slope).flatten(-2)

    def root_adjoint(self, field: torch.Tensor) -> torch.Tensor:
        """Lᵀ φ: (batch, cells) to (batch, cells)."""
        extinction = (field.unflatten(-1, self.shape) * self.slope).cumsum(-1)
        return self.information.root_adjoint(extinction).flatten(-2)

    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""
        slope = self.slope[rays]
        return slope[:, :, None] * slope[:, None, :] * self.information.on_cells(rays)


class AveragedMetric(StarMetric):
    """E[G] over draws of the density, as matrices.

    Parameters
    ----------
    slopes : Tensor, shape (draws, rays, cells of each)
        See `PlainMetric`.
    information : RayInformation
    """

    def __init__(self, slopes: torch.Tensor, information: RayInformation) -> None:
        self.shape = slopes.shape[1:]
        n = self.shape[1]
        matrices = slopes.new_empty(self.shape[0], n, n)
        for rays in runs(self.shape[0], max(n, len(slopes)) * 8 * n):
            some = slopes[:, rays]
            products = some.permute(1, 2, 0) @ some.permute(1, 0, 2) / len(slopes)
            matrices[rays] = products * information.on_cells(rays)
        self._blocks = Blocks(matrices)

    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""
        return self._blocks.product(field.unflatten(-1, self.shape)).flatten(-2)

    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """L y with G = L Lᵀ: (batch, cells) to (batch, cells)."""
        return self._blocks.root(standard.unflatten(-1, self.shape)).flatten(-2)

    def root_adjoint(self, field: torch.Tensor) -> torch.Tensor:
        """Lᵀ φ: (batch, cells) to (batch, cells)."""
        return self._blocks.root_adjoint(field.unflatten(-1, self.shape)).flatten(-2)

    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""
        return self._blocks.matrices[rays]


class ConvexMetric(CellMetric):
    """G and a diagonal that is not negative: for steps, not for draws.

    Parameters
    ----------
    metric : StarMetric
        G.
    curvature : Tensor, shape (cells,)
        Not negative: a sum would not have to be positive.
    """

    def __init__(self, metric: StarMetric, curvature: torch.Tensor) -> None:
        self.shape, self.metric, self.curvature = metric.shape, metric, curvature

    def weigh(self, field: torch.Tensor) -> torch.Tensor:
        """G φ: (batch, cells) to (batch, cells)."""
        return self.metric.weigh(field).addcmul_(self.curvature, field)

    def blocks(self, rays: slice) -> torch.Tensor:
        """G of some rays as matrices, shape (rays, cell, cell)."""
        return self.metric.blocks(rays) + self.curvature.unflatten(0, self.shape)[rays].diag_embed()


def runs(n_rays: int, ray_bytes: int) -> Iterator[slice]:
    """Runs of rays that take no more than BLOCK_BYTES."""
    step = max(1, int(BLOCK_BYTES // ray_bytes))
    return (slice(start, min(start + step, n_rays)) for start in range(0, n_rays, step))
