"""A log-likelihood for autograd, with the slope that the pass over the stars finds along with it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

ValueAndSlope = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class LogLikelihood(torch.autograd.Function):
    """Extinction (..., rays, cells) to log L (...,), by a function that returns log L and ∂log L / ∂A."""

    @staticmethod
    def forward(ctx: FunctionCtx, extinction: torch.Tensor, value_and_slope: ValueAndSlope) -> torch.Tensor:
        """Log L; its slope is kept."""
        value, slope = value_and_slope(extinction)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, cotangent: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Slope, times what comes from behind."""
        (slope,) = ctx.saved_tensors
        return cotangent[..., None, None] * slope, None
