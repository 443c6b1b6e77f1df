"""Λ = I + BᵀGB without a matrix: products, preconditioned conjugate gradients, stochastic Lanczos quadrature."""

from __future__ import annotations

import math

import torch

from gpdust.errors import DensityOverflow
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.conjugate_gradient import Operator, Solution, conjugate_gradient
from gpdust.inference.precision import Precision
from gpdust.inference.preconditioner import Preconditioner
from gpdust.inference.star_metric import CellMetric

MAX_ITERATIONS = 400
BATCH_LATENTS = 4_000_000  # of all right sides that are solved at once
PROBES = 8
PROBE_TOLERANCE = 1e-4
PROBE_LOOK = 4  # iterations between looks at a determinant
LEAST_RATIO, MOST_RATIO = 0.6, 0.9  # from look to look, of what a determinant comes down by: it slows


class MatrixFreePrecision(Precision):
    """For 10⁵ to 10⁹ latents.

    Parameters
    ----------
    cells, metric
        See `Precision`.
    preconditioner : Preconditioner or None
    iterations : list of (str, int), optional
        Where to note what each solve was for, and how many iterations it took.
    seed : int
        Of the probes of the determinant.
    """

    def __init__(
        self,
        cells: PriorOnCells,
        metric: CellMetric,
        preconditioner: Preconditioner | None,
        iterations: list[tuple[str, int]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(cells, metric)
        self.preconditioner, self.seed = preconditioner, seed
        self.iterations = [] if iterations is None else iterations

    @property
    def _precondition(self) -> Operator:
        return self.preconditioner or (lambda right: right)

    @property
    def _batch(self) -> int:
        return max(1, BATCH_LATENTS // self.cells.model.prior.latent_size)

    def _note(self, what: str, solution: Solution) -> None:
        self.iterations.append((what, solution.iterations))
        if self.preconditioner:
            self.preconditioner.was_used(solution.iterations, len(solution.x))

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
            self._note("solve", solution)
        return torch.cat(answers)

    def known(self, latent: torch.Tensor, tolerance: float) -> torch.Tensor:
        """(I − Λ⁻¹) v: (batch, latent) to (batch, latent).

        From the preconditioner's answer on, conjugate gradients stay among what stars see. From zero on they would
        meddle with all latents, of which most are seen by no star.
        """
        answers = []
        for some in latent.split(self._batch):
            guess = self._precondition(some)
            seen = (some * (some - guess)).sum(-1) if self.preconditioner else some.square().sum(-1)
            solution = conjugate_gradient(
                self.product, some, self._precondition, tolerance, MAX_ITERATIONS, guess, scale=seen
            )
            answers.append(some - solution.x)
            self._note("known", solution)
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
            self._note("draw", solution)
        return torch.cat(answers)

    def log_determinant(self) -> tuple[float, float]:
        """Ln |Λ| = ln |P| + tr ln P^{-1/2} Λ P^{-1/2}, the trace by Lanczos quadrature over random probes.

        What the quadrature has not come down to yet is taken off, and counts as an error.
        """
        generator = torch.Generator().manual_seed(self.seed)
        size = self.cells.model.prior.latent_size
        forms, left = [], 0.0
        while len(forms) < PROBES:
            batch = min(self._batch, PROBES - len(forms))
            probes = torch.randn(batch, size, dtype=torch.float64, generator=generator)
            if self.preconditioner:
                directions = torch.randn(batch, self.preconditioner.rank, dtype=torch.float64, generator=generator)
                probes = self.preconditioner.coloured(probes, directions)
            quadrature = Quadrature()
            solution = conjugate_gradient(
                self.product, probes, self._precondition, PROBE_TOLERANCE, MAX_ITERATIONS, watch=quadrature.is_enough
            )
            self._note("determinant", solution)
            forms += (solution.log_form() - quadrature.left + 0 * solution.norm).tolist()  # what is not finite stays so
            left = max(left, quadrature.left)
        forms = torch.tensor(forms)
        if not torch.isfinite(forms).all():
            raise DensityOverflow("the determinant of the posterior's precision is not finite")
        known = self.preconditioner.log_determinant if self.preconditioner else 0.0
        return known + float(forms.mean()), math.hypot(float(forms.std()) / math.sqrt(PROBES), left)


class Quadrature:
    """How a Lanczos quadrature of the logarithm converges: from above, and about geometrically.

    Attributes
    ----------
    left : float
        How much it still has to come down, by the last three looks at it; mean of the probes.
    """

    def __init__(self) -> None:
        self.left = 0.0
        self._means: list[float] = []

    def is_enough(self, solution: Solution) -> bool:
        """Whether what is left is no more than the scatter of the probes."""
        if solution.iterations % PROBE_LOOK:
            return False
        forms = solution.log_form()
        self._means.append(float(forms.mean()))
        if len(self._means) < 3:
            return False
        before, last = self._means[-3] - self._means[-2], self._means[-2] - self._means[-1]
        ratio = min(max(last / before, LEAST_RATIO), MOST_RATIO) if before > last else LEAST_RATIO
        self.left = max(last, 0.0) * ratio / (1 - ratio)
        scatter = float(forms.std()) / math.sqrt(PROBES) if len(forms) > 1 else 0.0
        return before >= last and self.left < scatter
