"""Draws of the log-density that can be read off at any points, a few at a time."""

from __future__ import annotations

import math
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
    has_residual : bool
        Whether that is ever more than zero: else no noise need be made for it.
    """

    read: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    has_residual: bool = True

    def density(self, points: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Density at some points.

        Parameters
        ----------
        points : Tensor, shape (points, 3)
            Heliocentric Galactic x, y, z, pc.
        noise : Tensor, shape (draws, points), optional
            Standard normal, for the prior's residual; without it the residual is left out.

        Returns
        -------
        Tensor, shape (draws, points)
            mag/pc.
        """
        with torch.no_grad():
            log_density, residual_variance = self.read(points)
            if noise is not None:
                log_density = log_density + residual_variance.sqrt() * noise
            return log_density.mul(math.log(10.0)).exp_()
