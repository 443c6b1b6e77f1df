"""How sharply the ELBO depends on the hyperparameters once v has followed them, and the step this suggests."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gpdust.inference.precision import Precision

STEEPEST = 9.0  # times the Gauss–Newton part: more than that a secant is not believed


@dataclass(frozen=True)
class ThetaCurvature:
    """The Gauss–Newton curvature of −ELBO by θ, with v carried along, and the part of it that only secants show.

    Moving θ at fixed v would fight the data and crawl. With v carried along by D = −Λ⁻¹ Λ_vθ the fit to the data holds,
    and what is left is the Schur complement C. It lacks how the volume of q depends on θ (Occam's factor), which is of
    the same order: the difference of two gradients tells.

    Attributes
    ----------
    schur : Tensor, shape (P, P)
        C.
    response : Tensor, shape (P, M)
        −D: how v must move for a step of θ.
    """

    schur: torch.Tensor
    response: torch.Tensor

    @classmethod
    def of(cls, precision: Precision, derivatives: torch.Tensor, tolerance: float) -> ThetaCurvature:
        """At one place; `derivatives` are ∂φ/∂θ on the cells at fixed v, shape (P, cells)."""
        weighted = precision.response.product(precision.metric, derivatives)
        cross = precision.cells.adjoint(weighted)
        response = precision.solve(cross, tolerance)
        identity = torch.eye(len(derivatives), dtype=derivatives.dtype)
        # Symmetric, and right to second order in the error of the solve.
        schur = identity + derivatives @ weighted.mT - 2 * cross @ response.mT
        schur = schur + response @ precision.product(response).mT
        return cls(0.5 * (schur + schur.mT), response)

    def beyond(
        self, last: torch.Tensor, step: torch.Tensor, gradient: torch.Tensor, before: torch.Tensor
    ) -> torch.Tensor:
        """Update what lies beyond C by the secant of the last step (symmetric rank one), shape (P, P).

        Parameters
        ----------
        last : Tensor, shape (P, P)
            What was known of it; empty at first, when half of C stands for it.
        step, gradient, before : Tensor, shape (P,)
            The last step of θ, the gradient of −ELBO now, and before the step.
        """
        if not len(last):
            return 0.5 * self.schur
        missing = gradient - before - (self.schur + last) @ step
        along = float(missing @ step)
        if abs(along) > 1e-8 * float(missing.norm() * step.norm()):
            last = last + torch.outer(missing, missing) / along
        return self._within_reason(last)

    def _within_reason(self, beyond: torch.Tensor) -> torch.Tensor:
        """The part beyond C, with C + it kept between ⅔ C and a multiple of C."""
        factor = torch.linalg.cholesky(self._positive(self.schur))
        relative = torch.linalg.solve_triangular(factor, beyond, upper=False)
        relative = torch.linalg.solve_triangular(factor, relative.mT, upper=False)
        values, vectors = torch.linalg.eigh(0.5 * (relative + relative.mT))
        vectors = factor @ vectors
        return (vectors * values.clamp(-1 / 3, STEEPEST)) @ vectors.mT

    @staticmethod
    def _positive(matrix: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return (vectors * values.clamp_min(1.0)) @ vectors.mT  # the prior of θ alone gives one

    def step(self, beyond: torch.Tensor, gradient: torch.Tensor, reach: float) -> tuple[torch.Tensor, float]:
        """The step of θ, no entry longer than `reach`, and the gain of ELBO that a full step promises, nats."""
        step = -torch.linalg.solve(self._positive(self.schur + beyond), gradient)
        predicted = -0.5 * float(step @ gradient)
        return step * min(1.0, reach / max(float(step.abs().max()), 1e-12)), predicted

    def carry(self, step: torch.Tensor) -> torch.Tensor:
        """How v moves with a step of θ, shape (M,)."""
        return -step @ self.response

    def covariance(self, beyond: torch.Tensor) -> torch.Tensor:
        """Approximate posterior covariance of θ, shape (P, P)."""
        return torch.linalg.inv(self._positive(self.schur + beyond))
