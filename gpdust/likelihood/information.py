"""Information of the stars on the extinction at cell edges, ray by ray: F, a matrix along each ray."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch

FAINTEST = (1e-13, 1e-12, 1e-10, 1e-6)  # of what stars know of an edge or a cell: tried in turn; below lies rounding


def outward_sums(values: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Σ over a cell and those behind it."""
    return values.flip(dim).cumsum(dim).flip(dim)


class RayInformation(ABC):
    """F of every ray, positive semidefinite."""

    @abstractmethod
    def product(self, extinction: torch.Tensor) -> torch.Tensor:
        """F A: (..., ray, cell) to (..., ray, cell)."""

    @abstractmethod
    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """C y with F = C Cᵀ, C lower triangular: (..., ray, cell) to (..., ray, cell)."""

    @abstractmethod
    def root_adjoint(self, extinction: torch.Tensor) -> torch.Tensor:
        """Cᵀ A: (..., ray, cell) to (..., ray, cell)."""

    @abstractmethod
    def on_cells(self, rays: slice) -> torch.Tensor:
        """RᵀFR for cells of length one: Σ_{k≥i, l≥j} F_kl of some rays, shape (rays, cell, cell)."""


@dataclass(frozen=True)
class Tridiagonal(RayInformation):
    """F of stars that touch two neighbouring edges each: W.

    Attributes
    ----------
    diagonal : Tensor, shape (ray, cell)
        W_kk, mag⁻².
    coupling : Tensor, shape (ray, cell)
        W_{k−1,k} at position k, mag⁻²; zero at k = 0.
    """

    diagonal: torch.Tensor
    coupling: torch.Tensor

    def product(self, extinction: torch.Tensor) -> torch.Tensor:
        """W A: (..., ray, cell) to (..., ray, cell)."""
        product = self.diagonal * extinction
        product[..., 1:] += self.coupling[..., 1:] * extinction[..., :-1]
        product[..., :-1] += self.coupling[..., 1:] * extinction[..., 1:]
        return product

    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """C y with W = C Cᵀ: (..., ray, cell) to (..., ray, cell)."""
        diagonal, below = self._bidiagonal_root
        edges = diagonal * standard
        edges[..., 1:] += below[:, 1:] * standard[..., :-1]
        return edges

    def root_adjoint(self, extinction: torch.Tensor) -> torch.Tensor:
        """Cᵀ A: (..., ray, cell) to (..., ray, cell)."""
        diagonal, below = self._bidiagonal_root
        edges = diagonal * extinction
        edges[..., :-1] += below[:, 1:] * extinction[..., 1:]
        return edges

    def on_cells(self, rays: slice) -> torch.Tensor:
        """RᵀWR for cells of length one, which off the diagonal depends on the farther of two cells alone."""
        tail, neighbour = (values[rays] for values in self.tail_sums())
        n = tail.shape[-1]
        nearer = torch.ones(n, n, dtype=torch.bool).tril(-1)
        sums = torch.where(nearer, tail[:, :, None], tail[:, None, :])
        sums.diagonal(dim1=-2, dim2=-1).sub_(neighbour)
        return sums

    def tail_sums(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Σ_{l ≥ j} of the columns of W, and W_{j−1,j}, which the diagonal lacks; shape (ray, cell)."""
        columns = self.diagonal + self.coupling
        columns[:, :-1] += self.coupling[:, 1:]
        return outward_sums(columns), self.coupling

    @cached_property
    def _bidiagonal_root(self) -> tuple[torch.Tensor, torch.Tensor]:
        """C along each ray: its diagonal, and what stands left of it; shape (ray, cell)."""
        diagonal, below = torch.zeros_like(self.diagonal), torch.zeros_like(self.diagonal)
        for k in range(diagonal.shape[1]):
            left = self.diagonal[:, k]
            if k:
                inner = diagonal[:, k - 1]
                below[:, k] = torch.where(inner > 0, self.coupling[:, k] / inner.clamp_min(1e-300), 0.0)
                left = left - below[:, k].square()
            # Where rounding leaves nothing, no star has told this edge from the one before it.
            diagonal[:, k] = torch.where(left > 1e-14 * self.diagonal[:, k], left, 0.0).sqrt()
        return diagonal, below


@dataclass(frozen=True)
class Blocks(RayInformation):
    """F of stars that touch many edges each, as whole matrices.

    Attributes
    ----------
    matrices : Tensor, shape (ray, cell, cell)
        mag⁻².
    """

    matrices: torch.Tensor

    def product(self, extinction: torch.Tensor) -> torch.Tensor:
        """F A: (..., ray, cell) to (..., ray, cell)."""
        return _times(self.matrices, extinction)

    def root(self, standard: torch.Tensor) -> torch.Tensor:
        """C y with F = C Cᵀ: (..., ray, cell) to (..., ray, cell)."""
        return _times(self._cholesky, standard)

    def root_adjoint(self, extinction: torch.Tensor) -> torch.Tensor:
        """Cᵀ A: (..., ray, cell) to (..., ray, cell)."""
        return _times(self._cholesky.mT, extinction)

    @cached_property
    def _cholesky(self) -> torch.Tensor:
        return scaled_cholesky(self.matrices)

    def on_cells(self, rays: slice) -> torch.Tensor:
        """RᵀFR for cells of length one."""
        return outward_sums(outward_sums(self.matrices[rays], -1), -2)


def scaled_cholesky(matrices: torch.Tensor) -> torch.Tensor:
    """Cholesky factors of positive semidefinite matrices, shape (ray, cell, cell), whatever their scale.

    A little on the unit diagonal stands in for directions that no star sees; more where rounding asks for it.
    """
    scale = matrices.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    unit = matrices / (scale[:, :, None] * scale[:, None, :]).clamp_min(1e-300)
    for faint in FAINTEST:
        unit.diagonal(dim1=-2, dim2=-1).fill_(1 + faint)
        factor, failed = torch.linalg.cholesky_ex(unit)
        if not failed.any():
            break
    return scale[:, :, None] * factor


def _times(matrices: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A matrix for each ray times values of shape (..., ray, cell)."""
    columns = values.reshape(-1, *values.shape[-2:]).permute(1, 2, 0)
    return torch.matmul(matrices, columns).permute(2, 0, 1).reshape(values.shape)
