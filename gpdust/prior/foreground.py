"""A mean of its own for the dust in front of a region, where no star resolves it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ForegroundStep:
    """A step of the prior's mean at the near end of the region.

    Attributes
    ----------
    distance : float
        Where the region begins, pc.
    step : float
        By how much the mean log-density in front of it is higher, dex.
    """

    distance: float
    step: float

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """The step at some points, pc, shape (n, 3): dex, shape (n,)."""
        return torch.where(points.square().sum(-1) < self.distance**2, self.step, 0.0).to(points.dtype)


def step_at(foreground: ForegroundStep | None, points: torch.Tensor) -> torch.Tensor:
    """The step of a prior that may have none, shape (n,)."""
    return points.new_zeros(()).expand(len(points)) if foreground is None else foreground(points)


def foreground_from(description: dict) -> ForegroundStep | None:
    """The step of a prior that was described as plain data; files of older versions know of none."""
    stored = description.get("foreground")
    return ForegroundStep(**stored) if stored else None
