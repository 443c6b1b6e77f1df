"""Preconditioned conjugate gradients for several right sides at once, with the Lanczos matrices they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Operator = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Solution:
    """What `conjugate_gradient` returns.

    Attributes
    ----------
    x : Tensor, shape (batch, n)
    iterations : int
    norm : Tensor, shape (batch,)
        bᵀP⁻¹b of the right sides.
    steps, ratios : list of Tensor, shape (batch,)
        α and β of each iteration; with `norm` they give quadratic forms of functions of the operator.
    """

    x: torch.Tensor
    iterations: int
    norm: torch.Tensor
    steps: list[torch.Tensor]
    ratios: list[torch.Tensor]

    def log_form(self) -> torch.Tensor:
        """bᵀ P^{-1/2} ln(P^{-1/2} A P^{-1/2}) P^{-1/2} b by Lanczos quadrature, shape (batch,); for a start at zero."""
        if not self.steps:  # nothing to solve: the operator is its preconditioner there
            return torch.zeros_like(self.norm)
        alpha, beta = torch.stack(self.steps), torch.stack(self.ratios)[:-1]
        diagonal = 1 / alpha
        diagonal[1:] += beta / alpha[:-1]
        beside = beta.sqrt() / alpha[:-1]
        total = torch.empty_like(self.norm)
        for i in range(len(total)):
            kept = int(torch.isfinite(diagonal[:, i]).sum())
            if not kept:
                total[i] = torch.nan
                continue
            lanczos = diagonal[:kept, i].diag() + beside[: kept - 1, i].diag(1) + beside[: kept - 1, i].diag(-1)
            values, vectors = torch.linalg.eigh(lanczos)
            total[i] = self.norm[i] * (vectors[0].square() * values.clamp_min(1e-300).log()).sum()
        return total


def conjugate_gradient(
    product: Operator,
    right: torch.Tensor,
    precondition: Operator,
    tolerance: float,
    max_iterations: int,
    start: torch.Tensor | None = None,
    floor: float = 0.0,
    scale: torch.Tensor | None = None,
    watch: Callable[[Solution], bool] | None = None,
) -> Solution:
    """Solve A x = b for a symmetric positive definite A.

    Parameters
    ----------
    product : callable
        (batch, n) to A times each row.
    right : Tensor, shape (batch, n)
    precondition : callable
        (batch, n) to P⁻¹ times each row.
    tolerance : float
        The residual rᵀP⁻¹r at which to stop is tolerance² times that of the right side, or times `scale`.
    max_iterations : int
    start : Tensor, shape (batch, n), optional
    floor : float
        A residual rᵀP⁻¹r that is never worth another iteration.
    scale : Tensor, shape (batch,), optional
        What the residual is compared with.
    watch : callable, optional
        Is shown what there is after every iteration, and says whether it is enough.

    Returns
    -------
    Solution

    Notes
    -----
    Hestenes & Stiefel (1952). A right side that is solved stands still while the others go on.
    """
    x = torch.zeros_like(right) if start is None else start.clone()
    residual = right.clone() if start is None else right - product(x)
    preconditioned = precondition(residual)
    gamma = _dots(residual, preconditioned)
    norm = gamma if start is None else _dots(right, precondition(right))
    direction = preconditioned.clone()
    steps, ratios = [], []
    enough = (tolerance**2 * (norm if scale is None else scale)).clamp_min(floor)
    while len(steps) < max_iterations:
        active = gamma > enough
        if not active.any():
            break
        moved = product(direction)
        alpha = torch.where(active, gamma / _dots(direction, moved), 0.0)
        x.addcmul_(alpha[:, None], direction)
        residual.addcmul_(alpha[:, None], moved, value=-1)
        preconditioned = precondition(residual)
        updated = _dots(residual, preconditioned)
        beta = torch.where(active, updated / gamma, 0.0)
        direction.mul_(beta[:, None]).add_(preconditioned)
        gamma = torch.where(active, updated, gamma)
        ratios.append(beta)
        # A right side that stands still is marked, so that its Lanczos matrix ends before.
        steps.append(torch.where(active, alpha, torch.nan))
        if watch is not None and watch(Solution(x, len(steps), norm, steps, ratios)):
            break
    return Solution(x, len(steps), norm, steps, ratios)


def _dots(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Row by row, without a product in between that would have to be written to memory."""
    return torch.bmm(one[:, None], other[:, :, None]).flatten()
