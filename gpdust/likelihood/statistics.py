"""The data, compressed exactly: −log L = ½ Aᵀ W A − hᵀ A + c with W tridiagonal along each ray."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from gpdust.grid import RayGrid
from gpdust.grid.coarsen import Coarsening
from gpdust.likelihood.coarsen import fold
from gpdust.likelihood.information import Tridiagonal
from gpdust.likelihood.likelihood import StarLikelihood
from gpdust.los import StarPositions


@dataclass(frozen=True)
class ExtinctionStatistics(StarLikelihood):
    """Sufficient statistics of Gaussian extinction measurements on a grid.

    A star at fraction f of cell k sees (1 − f) A_{k−1} + f A_k, so that it touches two edges of its ray only. Five sums
    per cell hold all that a likelihood can know of the stars in it; they add up over chunks of stars.

    Attributes
    ----------
    diagonal : Tensor, shape (ray, cell)
        W_kk, mag⁻².
    coupling : Tensor, shape (ray, cell)
        W_{k−1,k} at position k, mag⁻²; zero at k = 0, since A = 0 at the near end.
    weighted : Tensor, shape (ray, cell)
        h, mag⁻¹.
    squares : float
        Σ A² / σ² of the measured extinctions.
    normalisation : float
        Σ ln(σ √2π), in nats.
    counts : Tensor of int, shape (ray, cell)
        Stars per cell.
    """

    diagonal: torch.Tensor
    coupling: torch.Tensor
    weighted: torch.Tensor
    squares: float
    normalisation: float
    counts: torch.Tensor

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> ExtinctionStatistics:
        """No star at all: the likelihood is one."""
        zeros = torch.zeros(shape, dtype=torch.float64)
        return cls(zeros, zeros, zeros, 0.0, 0.0, torch.zeros(shape, dtype=torch.int64))

    @classmethod
    def from_stars(
        cls, shape: tuple[int, int], stars: StarPositions, extinction: np.ndarray, error: np.ndarray
    ) -> ExtinctionStatistics:
        """Compress stars, in one pass and float64.

        Parameters
        ----------
        shape : (rays, cells)
            Of the grid that they were located on.
        stars : StarPositions
            All of them on the grid.
        extinction, error : ndarray, shape (stars,)
            Measured extinction and its σ, mag.
        """
        cells = math.prod(shape)
        cell = stars.ray * shape[1] + stars.cell
        weight, outer = error**-2.0, stars.fraction
        inner = 1 - outer

        def total(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.bincount(cell, weights=values, minlength=cells).reshape(shape))

        coupling = total(weight * outer * inner)
        coupling[:, 0] = 0
        diagonal = _fold(total(weight * outer**2), total(weight * inner**2))
        weighted = _fold(total(weight * outer * extinction), total(weight * inner * extinction))
        squares = float(np.sum(weight * extinction**2))
        normalisation = float(np.sum(np.log(error)) + 0.5 * len(error) * math.log(2 * math.pi))
        counts = torch.from_numpy(np.bincount(cell, minlength=cells).reshape(shape))
        return cls(diagonal, coupling, weighted, squares, normalisation, counts)

    def __add__(self, other: ExtinctionStatistics) -> ExtinctionStatistics:
        return ExtinctionStatistics(
            self.diagonal + other.diagonal,
            self.coupling + other.coupling,
            self.weighted + other.weighted,
            self.squares + other.squares,
            self.normalisation + other.normalisation,
            self.counts + other.counts,
        )

    @classmethod
    def total(cls, shape: tuple[int, int], parts: Iterable[ExtinctionStatistics]) -> ExtinctionStatistics:
        """Add up the statistics of chunks of stars."""
        return sum(parts, start=cls.empty(shape))

    @property
    def constant(self) -> float:
        """The constant c of −log L, nats."""
        return 0.5 * self.squares + self.normalisation

    @property
    def n_stars(self) -> int:
        """Number of stars compressed."""
        return int(self.counts.sum())

    def to(self, device: torch.device | str) -> ExtinctionStatistics:
        """Move the tensors to a device."""
        return ExtinctionStatistics(
            self.diagonal.to(device),
            self.coupling.to(device),
            self.weighted.to(device),
            self.squares,
            self.normalisation,
            self.counts.to(device),
        )

    def __getitem__(self, rays: slice) -> ExtinctionStatistics:
        """Statistics of some rays; the constant, which belongs to no ray, is left out."""
        return ExtinctionStatistics(
            self.diagonal[rays], self.coupling[rays], self.weighted[rays], 0.0, 0.0, self.counts[rays]
        )

    def with_errors_times(self, factor: float) -> ExtinctionStatistics:
        """The same measurements with all their errors so many times as large."""
        weight = factor**-2
        return ExtinctionStatistics(
            weight * self.diagonal,
            weight * self.coupling,
            weight * self.weighted,
            weight * self.squares,
            self.normalisation + self.n_stars * math.log(factor),
            self.counts,
        )

    def misfit(self, extinction: torch.Tensor) -> float:
        """√(χ² per star) at one extinction, shape (ray, cell)."""
        chi_squared = -2 * (float(self.log_likelihood(extinction)) + self.normalisation)
        return math.sqrt(max(chi_squared, 0.0) / max(self.n_stars, 1))

    def coarsened(self, grid: RayGrid, coarsening: Coarsening) -> ExtinctionStatistics:
        """The same stars on a coarser grid than `grid`; see `likelihood.coarsen`."""
        sums = fold(self.precision, self.weighted, self.counts, grid, coarsening)
        return ExtinctionStatistics(*sums[:3], self.squares, self.normalisation, sums[3])

    @property
    def precision(self) -> Tridiagonal:
        """W."""
        return Tridiagonal(self.diagonal, self.coupling)

    def information(self, extinction: torch.Tensor | None = None) -> Tridiagonal:
        """W, at any extinction."""
        return self.precision

    def tensors(self) -> dict[str, torch.Tensor]:
        """All numbers that log L depends on, but for a constant."""
        return {"diagonal": self.diagonal, "coupling": self.coupling, "weighted": self.weighted}

    def log_likelihood_and_slope(self, extinction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log L and ∂ log L / ∂A = h − WA, shapes (...,) and (..., ray, cell)."""
        return self.log_likelihood(extinction), self.weighted - self.precision.product(extinction)

    def log_likelihood(self, extinction: torch.Tensor) -> torch.Tensor:
        """Log-likelihood of all stars.

        Parameters
        ----------
        extinction : Tensor, shape (..., ray, cell)
            At the outer edges of the cells, mag.

        Returns
        -------
        Tensor, shape (...,)
        """
        quadratic = self.diagonal * extinction**2
        neighbours = self.coupling[..., 1:] * extinction[..., 1:] * extinction[..., :-1]
        linear = self.weighted * extinction
        return (linear - 0.5 * quadratic).sum((-1, -2)) - neighbours.sum((-1, -2)) - self.constant


def _fold(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """Sum what a cell gives to its outer edge and what the next cell gives to its inner one, which is the same edge."""
    folded = outer.clone()
    folded[:, :-1] += inner[:, 1:]
    return folded
