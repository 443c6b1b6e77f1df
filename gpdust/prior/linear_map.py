"""The prior at some points: a linear map from white noise to log-density, φ = μ + B v, plus an independent residual."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LinearMap(ABC):
    """What inference needs of a prior; it never learns which one it has.

    Attributes
    ----------
    mean : Tensor, scalar
        μ = log10 of the mean density.
    step : Tensor, shape (points,)
        By how much the mean is higher at the points, dex; see `ForegroundStep`.
    residual_variance : Tensor, shape (points,)
        What the latents can't express of the prior's variance, dex². It brings points far from all latents back to
        the prior.
    """

    mean: torch.Tensor
    step: torch.Tensor
    residual_variance: torch.Tensor

    @abstractmethod
    def apply(self, latent: torch.Tensor) -> torch.Tensor:
        """B v: (..., latent) to (..., points)."""

    @abstractmethod
    def adjoint(self, cotangent: torch.Tensor) -> torch.Tensor:
        """Bᵀ y: (..., points) to (..., latent)."""

    @abstractmethod
    def rows(self, which: slice) -> torch.Tensor:
        """B at some of the points, without a gradient, shape (of them, latent)."""

    def log_density(self, latent: torch.Tensor) -> torch.Tensor:
        """φ without its residual, dex: (..., latent) to (..., points)."""
        return self.mean + self.step + self.apply(latent)


@dataclass(frozen=True)
class MatrixMap(LinearMap):
    """A prior whose B is a dense matrix.

    Attributes
    ----------
    matrix : Tensor, shape (points, latent)
        B, dex.
    """

    matrix: torch.Tensor

    def apply(self, latent: torch.Tensor) -> torch.Tensor:
        """B v: (..., latent) to (..., points)."""
        return latent @ self.matrix.mT

    def adjoint(self, cotangent: torch.Tensor) -> torch.Tensor:
        """Bᵀ y: (..., points) to (..., latent)."""
        return cotangent @ self.matrix

    def rows(self, which: slice) -> torch.Tensor:
        """B at some of the points, without a gradient, shape (of them, latent)."""
        return self.matrix[which].detach()
