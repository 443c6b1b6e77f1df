"""Λ = I + BᵀGB, the precision of q(v): what can be asked of it, and the dense answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import torch

from gpdust.errors import DensityOverflow
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.star_metric import CellMetric


class Precision(ABC):
    """The precision of the whitened latents at one place.

    Parameters
    ----------
    cells : PriorOnCells
    metric : CellMetric
        G; a StarMetric where there are to be draws.
    """

    def __init__(self, cells: PriorOnCells, metric: CellMetric) -> None:
        self.cells, self.metric = cells, metric

    def product(self, latent: torch.Tensor) -> torch.Tensor:
        """Λ v: (batch, latent) to (batch, latent)."""
        return self.cells.adjoint(self.metric.weigh(self.cells.apply(latent))).add_(latent)

    def draws(
        self, standard: torch.Tensor, standard_cells: torch.Tensor, tolerance: float, start: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Draws of N(0, Λ⁻¹): Λ⁻¹ times noise whose covariance is Λ.

        Parameters
        ----------
        standard, standard_cells : Tensor, shape (batch, latent) and (batch, cells)
            Standard normals.
        tolerance : float
            Error of a draw over what the stars have changed of it.
        start : Tensor, shape (batch, latent), optional
            A first guess.

        Returns
        -------
        Tensor, shape (batch, latent)
        """
        from_stars = self.cells.adjoint(self.metric.root(standard_cells))
        return self._solve_draws(standard, from_stars, tolerance, start)

    def _solve_draws(
        self, standard: torch.Tensor, from_stars: torch.Tensor, tolerance: float, start: torch.Tensor | None
    ) -> torch.Tensor:
        return self.solve(standard + from_stars, tolerance, start=start)

    @abstractmethod
    def solve(
        self,
        right: torch.Tensor,
        tolerance: float,
        damping: float = 0.0,
        start: torch.Tensor | None = None,
        floor: float = 0.0,
    ) -> torch.Tensor:
        """(Λ + damping) ⁻¹ b: (batch, latent) to (batch, latent).

        Parameters
        ----------
        right : Tensor, shape (batch, latent)
        tolerance : float
            Error of the answer, in the norm of Λ, over the norm of the right side in that of Λ⁻¹.
        damping : float
            Of Levenberg and Marquardt, in units of the prior's precision.
        start : Tensor, shape (batch, latent), optional
            A first guess.
        floor : float
            An error, nats, that is small enough whatever the right side.
        """

    def known(self, latent: torch.Tensor, tolerance: float) -> torch.Tensor:
        """(I − Λ⁻¹) v, what stars know of some latents: (batch, latent) to (batch, latent).

        Parameters
        ----------
        latent : Tensor, shape (batch, latent)
        tolerance : float
            Error of the answer, in the norm of Λ, over √(vᵀ(I − Λ⁻¹)v).
        """
        return latent - self.solve(latent, tolerance)

    @abstractmethod
    def log_determinant(self) -> tuple[float, float]:
        """Ln |Λ| and its Monte-Carlo standard error, nats."""


class DensePrecision(Precision):
    """Λ as a matrix and its Cholesky factor: for up to some thousands of latents."""

    def __init__(self, cells: PriorOnCells, metric: CellMetric) -> None:
        super().__init__(cells, metric)
        self._factors: dict[float, torch.Tensor] = {}

    @cached_property
    def matrix(self) -> torch.Tensor:
        """Λ, shape (latent, latent)."""
        n = self.metric.shape[1]
        matrix = torch.eye(self.cells.model.prior.latent_size, dtype=torch.float64)
        for which, linear_map in self.cells.maps():
            blocks = self.metric.blocks(slice(which.start // n, which.stop // n))
            weighted = blocks @ linear_map.matrix.unflatten(0, (-1, n))
            matrix.addmm_(linear_map.matrix.mT, weighted.flatten(0, 1))
        return 0.5 * (matrix + matrix.mT)

    def factor(self, damping: float = 0.0) -> torch.Tensor:
        """Lower Cholesky factor of Λ + damping."""
        if damping not in self._factors:
            identity = torch.eye(len(self.matrix), dtype=self.matrix.dtype)
            factor, failed = torch.linalg.cholesky_ex(self.matrix + damping * identity)
            if failed or not torch.isfinite(factor).all():
                raise DensityOverflow("the precision of the latents can't be inverted")
            self._factors[damping] = factor
        return self._factors[damping]

    def product(self, latent: torch.Tensor) -> torch.Tensor:
        """Λ v: (batch, latent) to (batch, latent)."""
        return latent @ self.matrix

    def solve(
        self,
        right: torch.Tensor,
        tolerance: float,
        damping: float = 0.0,
        start: torch.Tensor | None = None,
        floor: float = 0.0,
    ) -> torch.Tensor:
        """(Λ + damping) ⁻¹ b, exactly: neither tolerance nor a first guess is needed."""
        return torch.cholesky_solve(right.mT, self.factor(damping)).mT

    def log_determinant(self) -> tuple[float, float]:
        """Ln |Λ|, exactly."""
        return 2 * float(self.factor().diagonal().log().sum()), 0.0

    def covariance_factor(self) -> torch.Tensor:
        """S with S Sᵀ = Λ⁻¹, shape (latent, latent)."""
        identity = torch.eye(len(self.matrix), dtype=self.matrix.dtype)
        return torch.linalg.solve_triangular(self.factor(), identity, upper=False).mT.contiguous()
