"""What a model asks of the stars: their log-likelihood as a function of the extinction at the edges of the cells."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from gpdust.grid import RayGrid
from gpdust.grid.coarsen import Coarsening
from gpdust.likelihood.information import RayInformation


class StarLikelihood(ABC):
    """log L(A) of all stars, a sum over rays.

    Attributes
    ----------
    counts : Tensor, shape (ray, cell)
        Stars per cell.
    constant : float
        What belongs to no ray, nats: log L is the sum over rays less this.
    """

    counts: torch.Tensor

    @property
    def constant(self) -> float:
        """What belongs to no ray, nats."""
        return 0.0

    @property
    @abstractmethod
    def n_stars(self) -> int:
        """Number of stars."""

    def compressed(self) -> StarLikelihood:
        """The same function of extinction, of as few numbers as can be."""
        return self

    @abstractmethod
    def log_likelihood(self, extinction: torch.Tensor) -> torch.Tensor:
        """Log-likelihood of all stars; differentiable.

        Parameters
        ----------
        extinction : Tensor, shape (..., ray, cell)
            At the outer edges of the cells, mag.

        Returns
        -------
        Tensor, shape (...,)
        """

    @abstractmethod
    def log_likelihood_and_slope(self, extinction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log L and ∂ log L / ∂A, shapes (...,) and (..., ray, cell)."""

    @abstractmethod
    def information(self, extinction: torch.Tensor) -> RayInformation:
        """The Fisher information of the stars on the edges of each ray, at one extinction, shape (ray, cell)."""

    @abstractmethod
    def misfit(self, extinction: torch.Tensor) -> float:
        """How many times larger than their errors the stars' deviations from one extinction are."""

    @abstractmethod
    def with_errors_times(self, factor: float) -> StarLikelihood:
        """The same measurements with all errors of extinction so many times as large."""

    @abstractmethod
    def coarsened(self, grid: RayGrid, coarsening: Coarsening) -> StarLikelihood:
        """The same stars on a coarser grid than `grid`."""

    @abstractmethod
    def __getitem__(self, rays: slice) -> StarLikelihood:
        """The stars of some rays; the constant is left out."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """All numbers that it depends on."""
