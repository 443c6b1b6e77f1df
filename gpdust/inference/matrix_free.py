"""Λ = I + BᵀGB without a matrix: products, preconditioned conjugate gradients, stochastic Lanczos quadrature."""

from __future__ import annotations

import math

import torch

from gpdust.inference.cells import PriorOnCells
from gpdust.inference.conjugate_gradient import Operator, conjugate_gradient
from gpdust.inference.precision import Precision
from gpdust.inference.preconditioner import CoarsePreconditioner
from gpdust.inference.response import Response

MAX_ITERATIONS = 400
BATCH_LATENTS = 4_000_000  # of all right sides that are solved at once
PROBES = 8
PROBE_TOLERANCE = 0.1
PROBE_RESIDUAL = 60.0  # nats, at most: one relative to all latents grows with those that no star sees


class MatrixFreePrecision(Precision):
    """For 10⁵ to 10⁹ latents.

    Parameters
    ----------
    cells, response, metric
        See `Precision`.
    preconditioner : CoarsePreconditioner or None
    seed : int
        Of the probes of the determinant.

    Attributes
    ----------
    iterations : list of int
        Of each solve so far.
    """

    def __init__(
        self,
        cells: PriorOnCells,
        response: Response,
        metric: torch.Tensor,
        preconditioner: CoarsePreconditioner | None,
        seed: int = 0,
    ) -> None:
        super().__init__(cells, response, metric)
        self.preconditioner, self.seed = preconditioner, seed
        self.iterations: list[int] = []

    @property
    def _precondition(self) -> Operator:
        return self.preconditioner or (lambda right: right)

    @property
    def _batch(self) -> int:
        return max(1, BATCH_LATENTS // self.cells.model.prior.latent_size)

    def solve(
        self,
        right: torch.Tensor,
        tolerance: float,
        damping: float = 0.0,
        start: torch.Tensor | None = None,
        floor: float = 0.0,
    ) -> torch.Tensor:
        """(Λ + damping) ⁻¹ b: (batch, latent) to (batch, latent)."""

        def product(latent: torch.Tensor) -> torch.Tensor:
            moved = self.product(latent)
            return moved.add_(latent, alpha=damping) if damping else moved

        answers = []
        for first in range(0, len(right), self._batch):
            some = slice(first, first + self._batch)
            guess = None if start is None else start[some]
            solution = conjugate_gradient(
                product, right[some], self._precondition, tolerance, MAX_ITERATIONS, guess, floor=floor
            )
            answers.append(solution.x)
            self.iterations.append(solution.iterations)
        return torch.cat(answers)

    def _solve_draws(
        self, standard: torch.Tensor, from_stars: torch.Tensor, tolerance: float, start: torch.Tensor | None
    ) -> torch.Tensor:
        answers = []
        for first in range(0, len(standard), self._batch):
            some = slice(first, first + self._batch)
            right = standard[some] + from_stars[some]
            # Most latents no star sees: an error relative to all of them would leave those that are seen wrong.
            seen = (from_stars[some] * self._precondition(from_stars[some])).sum(-1)
            guess = self._precondition(right) if start is None else start[some]
            solution = conjugate_gradient(
                self.product, right, self._precondition, tolerance, MAX_ITERATIONS, guess, scale=seen
            )
            answers.append(solution.x)
            self.iterations.append(solution.iterations)
        return torch.cat(answers)

    def log_determinant(self) -> tuple[float, float]:
        """Ln |Λ| = ln |P| + tr ln P^{-1/2} Λ P^{-1/2}, the trace by Lanczos quadrature over random probes."""
        generator = torch.Generator().manual_seed(self.seed)
        size = self.cells.model.prior.latent_size
        forms = []
        while len(forms) < PROBES:
            batch = min(self._batch, PROBES - len(forms))
            probes = torch.randn(batch, size, dtype=torch.float64, generator=generator)
            if self.preconditioner:
                coarse = torch.randn(batch, self.preconditioner.n_cells, dtype=torch.float64, generator=generator)
                probes = self.preconditioner.coloured(probes, coarse)
            norm = (probes * self._precondition(probes)).sum(-1)
            scale = norm.clamp_max(PROBE_RESIDUAL / PROBE_TOLERANCE**2)
            solution = conjugate_gradient(
                self.product, probes, self._precondition, PROBE_TOLERANCE, MAX_ITERATIONS, scale=scale
            )
            forms += solution.log_form().tolist()
        forms = torch.tensor(forms)
        known = self.preconditioner.log_determinant if self.preconditioner else 0.0
        return known + float(forms.mean()), float(forms.std()) / math.sqrt(len(forms))
