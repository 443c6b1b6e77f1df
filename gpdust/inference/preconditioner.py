"""What stars know best, found once and inverted exactly: a preconditioner of rank some hundreds.

Near stars are precise and every far star sees all the dust in front of it, so that the information of the stars spans
six orders of magnitude and more; yet only some hundreds of its eigenvalues stand far above one. With G = L Lᵀ and
V = BᵀL, a subspace Q that holds the leading eigenvectors of A = VᵀV gives a P that never exceeds Λ = I + V Vᵀ,

    P = I + V Q Qᵀ Vᵀ,   P⁻¹ = I − V Q (I + Qᵀ A Q)⁻¹ Qᵀ Vᵀ,

and the eigenvalues of P⁻¹Λ lie between one and 1 + ‖(I − QQᵀ) A (I − QQᵀ)‖. Q is a block Krylov space of A, for which
as many products are enough as it has dimensions (Musco & Musco 2015).
"""

from __future__ import annotations

import math

import torch

from gpdust.errors import DensityOverflow
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.conjugate_gradient import Operator
from gpdust.inference.objective import Objective, Place
from gpdust.inference.response import Response
from gpdust.inference.star_metric import PlainMetric
from gpdust.model import DustModel
from gpdust.prior.box import PeriodicBox

EXACT_CELLS = 1500  # up to which A is held as a matrix
BLOCK = 40
MOST_VECTORS = 1600
MOST_NUMBERS = 40_000_000  # of all vectors of the subspace
ROWS_LATENTS = 600_000  # of all rows that are multiplied at once: they stay in the caches
REST = 50.0  # information that is left to the conjugate gradients: its root is about the number of their iterations
USUAL = 15  # iterations that say nothing against a preconditioner
MOVED = 0.3  # of a standardised hyperparameter, after which one is not used any more
MOST_CELLS = 60_000  # of a model whose own cells are used: a coarser one has FEWER_CELLS
FEWER_CELLS = 15_000


class SharedLatents:
    """Those latents that a prior on a coarser box shares with the one on a finer box.

    Parameters
    ----------
    coarse, fine : PeriodicBox
    """

    def __init__(self, coarse: PeriodicBox, fine: PeriodicBox) -> None:
        self.here, self.there = coarse.transfer_indices(fine)
        self.coarse_size = coarse.latent_size

    def restrict(self, latent: torch.Tensor) -> torch.Tensor:
        """(..., fine latent) to (..., coarse latent)."""
        coarse = latent.new_zeros(*latent.shape[:-1], self.coarse_size)
        coarse[..., self.here] = latent[..., self.there]
        return coarse

    def add(self, latent: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Fine latents with coarse ones added in place."""
        latent[..., self.there] += coarse[..., self.here]
        return latent


class Preconditioner:
    """P at one place.

    Parameters
    ----------
    cells : PriorOnCells
        Of the model itself, or of a coarser one.
    metric : PlainMetric
        G on those cells.
    shared : SharedLatents, optional
        Of the coarser model, where it is one.

    Attributes
    ----------
    rank : int
        Dimensions of Q.
    log_determinant : float
        Ln |P|, nats.
    excess : int
        Iterations that a new one would have saved, times right sides.
    """

    def __init__(self, cells: PriorOnCells, metric: PlainMetric, shared: SharedLatents | None = None) -> None:
        self._cells, self._metric, self._shared = cells, metric, shared
        n = metric.shape.numel()
        if n <= EXACT_CELLS and shared is None:
            self._basis = None
            projected = metric.root_adjoint(metric.root_adjoint(cells.covariance).mT)
        else:
            most = min(n, MOST_VECTORS, max(BLOCK, MOST_NUMBERS // n))
            self._basis, projected = krylov_space(self._information, n, most, REST)
        self.excess = 0
        self.rank = len(projected)
        factor, failed = torch.linalg.cholesky_ex(projected.add_(torch.eye(self.rank, dtype=projected.dtype)))
        if failed or not torch.isfinite(factor).all():
            raise DensityOverflow("the information of the stars can't be inverted")
        self.log_determinant = 2 * float(factor.diagonal().log().sum())
        self._factor = factor

    def was_used(self, iterations: int, rows: int) -> None:
        """Keep account of what a new one would have saved."""
        self.excess += rows * max(0, iterations - USUAL)

    def is_stale(self, theta: torch.Tensor) -> bool:
        """Whether a new one would pay at other hyperparameters, or has already cost more than it takes to build."""
        moved = bool(((theta - self._cells.theta).abs() > MOVED).any())
        return self._basis is None or moved or self.excess > self.rank

    def _information(self, edges: torch.Tensor) -> torch.Tensor:
        """A y: (batch, cells) to (batch, cells)."""
        rows = max(1, ROWS_LATENTS // self._cells.model.prior.latent_size)
        return torch.cat([self._seen(self._latents(some)) for some in edges.split(rows)])

    def _latents(self, edges: torch.Tensor) -> torch.Tensor:
        """V y: (batch, cells) to latents of the model at hand."""
        latent = self._cells.adjoint(self._metric.root(edges))
        if self._shared is None:
            return latent
        masked = torch.zeros_like(latent)
        masked[..., self._shared.here] = latent[..., self._shared.here]
        return masked

    def _seen(self, latent: torch.Tensor) -> torch.Tensor:
        """Vᵀ of latents of the model at hand, (batch, cells)."""
        return self._metric.root_adjoint(self._cells.apply(latent))

    def _add(self, latent: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Add V Q w to some latents, in place."""
        added = self._cells.adjoint(self._metric.root(weights if self._basis is None else weights @ self._basis))
        return latent.add_(added) if self._shared is None else self._shared.add(latent, added)

    def __call__(self, right: torch.Tensor) -> torch.Tensor:
        """P⁻¹ b: (batch, latent) to (batch, latent)."""
        seen = self._seen(right if self._shared is None else self._shared.restrict(right))
        weights = seen if self._basis is None else seen @ self._basis.mT
        # Solves with a factor are exact to where an inverse, with information over ten orders of magnitude, is not.
        return self._add(right.clone(), -torch.cholesky_solve(weights.mT, self._factor).mT)

    def coloured(self, standard: torch.Tensor, standard_rank: torch.Tensor) -> torch.Tensor:
        """Noise with covariance P from standard normals: (batch, latent) and (batch, rank)."""
        return self._add(standard.clone(), standard_rank)


class Preconditioning:
    """The preconditioner of a model, which is kept while densities and hyperparameters move, until a new one pays.

    Parameters
    ----------
    model : DustModel
    """

    def __init__(self, model: DustModel) -> None:
        self._coarse: DustModel | None = None
        self._shared: SharedLatents | None = None
        if math.prod(model.grid.shape) > MOST_CELLS:
            self._coarse = model.coarsened(FEWER_CELLS)
            if self._coarse.prior is not model.prior:
                self._shared = SharedLatents(self._coarse.prior.box, model.prior.box)
        self._last: Preconditioner | None = None

    def before_many_solves(self) -> None:
        """Let go of a preconditioner that has cost more iterations than usual, however few right sides there were."""
        if self._last is not None and self._last.excess:
            self._last = None

    def at(self, objective: Objective, place: Place) -> Preconditioner:
        """The last preconditioner, wherever it was built, or one for this place."""
        theta = objective.cells.theta
        if self._last is None or self._last.is_stale(theta):
            self._last = None  # let go of it first: it may be large
            if self._coarse is None:
                self._last = Preconditioner(objective.cells, objective.metric(place))
            else:
                cells = PriorOnCells(self._coarse, theta)
                mean = place.mean if self._shared is None else self._shared.restrict(place.mean)
                metric = Response(self._coarse).metric(cells.log_density(mean))
                self._last = Preconditioner(cells, metric, self._shared)
        return self._last


def krylov_space(operator: Operator, size: int, most: int, rest: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A block Krylov space of a symmetric operator.

    Parameters
    ----------
    operator : callable
        (batch, size) to A times each row.
    size : int
    most : int
        Vectors, at most.
    rest : float
        Enough when no direction of the newest block has a greater Rayleigh quotient, from the second block on.

    Returns
    -------
    basis : Tensor, shape (k, size)
        Orthonormal rows.
    projected : Tensor, shape (k, k)
        The operator on them.
    """
    basis, projected = torch.empty(most, size, dtype=torch.float64), torch.zeros(most, most, dtype=torch.float64)
    block = torch.randn(min(BLOCK, most), size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    held = 0
    while held < most:
        block = block[: most - held]
        block = block - (block @ basis[:held].mT) @ basis[:held]
        new = slice(held, held + len(block))
        basis[new] = torch.linalg.qr(block.mT).Q.mT
        held = new.stop
        moved = operator(basis[new])
        overlap = moved @ basis[:held].mT
        projected[new, :held] = overlap
        projected[:held, new] = overlap.mT
        if not torch.isfinite(overlap).all():
            break
        # The first block is random: it shows the mean eigenvalue, which says nothing of the largest ones.
        if new.start and torch.linalg.matrix_norm(projected[new, new], 2) <= rest:
            break
        block = moved - overlap @ basis[:held]  # and once more above: twice is enough
    return basis[:held], projected[:held, :held]
