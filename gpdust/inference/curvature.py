"""How sharply the ELBO depends on the hyperparameters once v has followed them, and the step this suggests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gpdust.inference.precision import Precision

SOLVE_ERROR = 1.0  # nats, beside a prior's curvature of one
LEAST, MOST = 0.1, 3.0  # of the expected curvature: bounds within which a secant is believed


@dataclass(frozen=True)
class ThetaCurvature:
    """The expected curvature of −ELBO by θ, with v carried along.

    Moving θ at fixed v would fight the data and crawl. With v carried along by D = −Λ⁻¹ Λ_vθ the fit to the data holds,
    and what the Gauss–Newton metric leaves is the Schur complement C. The volume of q depends on θ as well (Occam's
    factor). In the linear-Gaussian limit the Fisher information of the evidence is ½ tr(S⁻¹∂S S⁻¹∂S) with S = BBᵀ + N
    and ∂S = ∂B Bᵀ + B ∂Bᵀ; of its two products one is C in expectation, and the other equals it where ∂B and B
    commute, as they do for stationary kernels. So the parameters of the kernel count twice, and the mean once.

    Attributes
    ----------
    curvature : Tensor, shape (P, P)
        Fisher information of θ, with its prior.
    response : Tensor, shape (P, M)
        −D: how v must move for a step of θ.
    """

    curvature: torch.Tensor
    response: torch.Tensor

    @classmethod
    def of(
        cls, precision: Precision, derivatives: torch.Tensor, of_kernel: torch.Tensor, tolerance: float
    ) -> ThetaCurvature:
        """At one place.

        Parameters
        ----------
        precision : Precision
        derivatives : Tensor, shape (P, cells)
            ∂φ/∂θ on the cells at fixed v.
        of_kernel : Tensor of bool, shape (P,)
            Which entries of θ belong to the kernel.
        tolerance : float
            Of the solves. C is what two large numbers leave, and their error adds to it: loose solves make for short,
            safe steps, and only tight ones for honest errors of θ.
        """
        weighted = precision.metric.weigh(derivatives)
        cross = precision.cells.adjoint(weighted)
        response = precision.solve(cross, tolerance, floor=SOLVE_ERROR)
        schur = derivatives @ weighted.mT - 2 * cross @ response.mT + response @ precision.product(response).mT
        twice = of_kernel.to(schur.dtype)
        fisher = schur + torch.outer(twice, twice) * schur
        values, vectors = torch.linalg.eigh(0.5 * (fisher + fisher.mT))
        curvature = (vectors * (values.clamp_min(0) + 1)) @ vectors.mT  # the prior of θ alone gives one
        return cls(curvature, response)

    def with_secant(self, step: torch.Tensor, change: torch.Tensor) -> ThetaCurvature:
        """This curvature, corrected along the last step by the change of the gradient over it (BFGS).

        Fisher information is an expectation; along some directions these data say much less, and steps would creep. A
        secant is believed within bounds (Powell's damping).
        """
        if not len(step):
            return self
        expected = self.curvature @ step
        scale, along = float(step @ expected), float(step @ change)
        if not LEAST * scale <= along <= MOST * scale:
            bound = LEAST * scale if along < LEAST * scale else MOST * scale
            share = (scale - bound) / (scale - along)
            change = share * change + (1 - share) * expected
            along = bound
        curvature = self.curvature - torch.outer(expected, expected) / scale + torch.outer(change, change) / along
        return replace(self, curvature=curvature)

    def step(self, gradient: torch.Tensor, reach: float) -> tuple[torch.Tensor, float]:
        """The step of θ, no entry longer than `reach`, and the gain of ELBO that a full step promises, nats."""
        step = -torch.linalg.solve(self.curvature, gradient)
        predicted = -0.5 * float(step @ gradient)
        return step * min(1.0, reach / max(float(step.abs().max()), 1e-12)), predicted

    def carry(self, step: torch.Tensor) -> torch.Tensor:
        """How v moves with a step of θ, shape (M,)."""
        return -step @ self.response

    @property
    def covariance(self) -> torch.Tensor:
        """Approximate posterior covariance of θ, shape (P, P)."""
        return torch.linalg.inv(self.curvature)
