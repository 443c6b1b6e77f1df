"""Draws of the log-density that can be read off at any points, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Fields:
    """Some draws of a prior's field at given hyperparameters.

    Attributes
    ----------
    read : callable
        Points (n, 3), pc, to φ without its residual, shape (draws, n), and the residual's variance, shape (n,).
    """

    read: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

    def density(self, points: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Density at some points.

        Parameters
        ----------
        points : Tensor, shape (points, 3)
            Heliocentric Galactic x, y, z, pc.
        noise : Tensor, shape (draws, points)
            Standard normal, for the prior's residual.

        Returns
        -------
        Tensor, shape (draws, points)
            mag/pc.
        """
        with torch.no_grad():
            log_density, residual_variance = self.read(points)
            return torch.pow(10.0, log_density + residual_variance.sqrt() * noise)
