"""How sharply the evidence depends on the hyperparameters once v has followed them, and the step this suggests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gpdust.errors import DensityOverflow
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.precision import Precision

SOLVE_ERROR = 1.0  # nats, beside a prior's curvature of one
PROBES = 32  # random signs behind the volume's share of the Fisher information, where that is no multiple of C
LEAST, MOST = 0.1, 3.0  # of the expected curvature: bounds within which a secant is believed


@dataclass(frozen=True)
class ThetaCurvature:
    """The expected curvature of −ln evidence by θ, with v carried along.

    Moving θ at fixed v would fight the data and crawl. With v carried along by D = −Λ⁻¹ Λ_vθ the fit to the data holds,
    and what the Gauss–Newton metric leaves is the Schur complement C. The volume of q depends on θ as well (Occam's
    factor). In the linear-Gaussian limit the Fisher information of the evidence is ½ tr(S⁻¹∂S S⁻¹∂S) with S = BBᵀ + N
    and ∂S = ∂B Bᵀ + B ∂Bᵀ; of its two products one is C in expectation, and the other equals it where latents scale
    one by one, as they do for a SpectralGP. So the parameters of the kernel count twice, and the mean once. For the
    triangular root of an InducingGP the other is smaller (see `volume_information`). It takes time, and steps of θ do
    without: too large a curvature makes them shorter, and no more.

    Attributes
    ----------
    curvature : Tensor, shape (P, P)
        Fisher information of θ, with its prior.
    response : Tensor, shape (P, M)
        −D: how v must move for a step of θ.
    relaxed : Tensor, shape (P, M), or None
        Λ⁻¹p, the part of D that is left when v first moves by −p, which keeps φ; where there is such a p.
    """

    curvature: torch.Tensor
    response: torch.Tensor
    relaxed: torch.Tensor | None = None

    @classmethod
    def of(
        cls,
        precision: Precision,
        mean: torch.Tensor,
        of_kernel: torch.Tensor,
        tolerance: float,
        seed: int | None = None,
    ) -> ThetaCurvature:
        """At one place.

        Parameters
        ----------
        precision : Precision
        mean : Tensor, shape (M,)
            Of v.
        of_kernel : Tensor of bool, shape (P,)
            Which entries of θ belong to the kernel.
        tolerance : float
            Of the solves, where they allow one.
        seed : int, optional
            Of random signs, where errors of θ are wanted: without one the parameters of a kernel count twice under any
            prior, which is a bound.
        """
        latents = precision.cells.theta_latents(mean)
        if latents is not None:
            response = precision.known(latents, tolerance)
            relaxed = latents - response
            # By way of the cells this would be what two numbers leave that are up to a million times larger.
            schur = latents @ response.mT
        else:
            relaxed = None
            schur, response = _from_cells(precision, precision.cells.theta_derivatives(mean))
        if latents is None and seed is not None:
            fisher = schur + volume_information(precision, random_signs(PROBES, len(mean), seed), tolerance)
        else:
            twice = of_kernel.to(schur.dtype)
            fisher = schur + torch.outer(twice, twice) * schur
        if not torch.isfinite(fisher).all():
            raise DensityOverflow("what the stars say of the hyperparameters is not finite")
        values, vectors = torch.linalg.eigh(0.5 * (fisher + fisher.mT))
        curvature = (vectors * (values.clamp_min(0) + 1)) @ vectors.mT  # the prior of θ alone gives one
        return cls(curvature, response, relaxed)

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

    def step(self, gradient: torch.Tensor, reach: float, least: torch.Tensor) -> tuple[torch.Tensor, float]:
        """The step of θ, and the gain of evidence that it promises if taken as a whole, nats.

        Parameters
        ----------
        gradient : Tensor, shape (P,)
        reach : float
            No entry of the step is longer; a longer one is shortened as a whole.
        least : Tensor, shape (P,)
            How far down entries may go; those that would go farther go so far, and the others make the best of it.
        """
        step, bound = -torch.linalg.solve(self.curvature, gradient), torch.zeros(len(gradient), dtype=torch.bool)
        while (step[~bound] < least[~bound]).any():
            bound |= step < least
            step = torch.where(bound, least, 0.0)
            pulled = gradient + self.curvature[:, bound] @ least[bound]
            step[~bound] = -torch.linalg.solve(self.curvature[~bound][:, ~bound], pulled[~bound])
        predicted = -float(gradient @ step + 0.5 * step @ self.curvature @ step)
        return step * min(1.0, reach / max(float(step.abs().max()), 1e-12)), predicted

    def carry(self, cells: PriorOnCells, mean: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Where the mean of v moves to with a step of θ, shape (M,)."""
        if self.relaxed is None:
            return mean - step @ self.response
        return cells.same_field(mean, cells.theta + step) + step @ self.relaxed

    @property
    def covariance(self) -> torch.Tensor:
        """Approximate posterior covariance of θ, shape (P, P)."""
        return torch.linalg.inv(self.curvature)


def volume_information(precision: Precision, probes: torch.Tensor, tolerance: float) -> torch.Tensor:
    """What the volume of q says of θ: tr (BᵀΠ∂B)(BᵀΠ∂B) with Π = G − GBΛ⁻¹BᵀG, by random signs, shape (P, P).

    Parameters
    ----------
    precision : Precision
    probes : Tensor, shape (probes, M)
        Of unit covariance.
    tolerance : float
        Of the solves, where they allow one.
    """
    cells, metric = precision.cells, precision.metric
    known = metric.weigh(cells.apply(precision.solve(probes, tolerance)))  # ΠB = GBΛ⁻¹
    seen, moved = [], []
    for forward, backward in cells.root_derivatives(probes, known):
        seen.append(backward.flatten())
        moved.append(precision.solve(cells.adjoint(metric.weigh(forward)), tolerance).flatten())  # BᵀΠ = Λ⁻¹BᵀG
    information = torch.stack(seen) @ torch.stack(moved).mT / len(probes)
    return 0.5 * (information + information.mT)


def random_signs(count: int, size: int, seed: int) -> torch.Tensor:
    """±1, the same for the same seed, shape (count, size): their products with a matrix have its trace as a mean."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (count, size), generator=generator).mul_(2).sub_(1).double()


def _from_cells(precision: Precision, derivatives: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """C = ∂φᵀG∂φ − ∂φᵀGBΛ⁻¹BᵀG∂φ, for a prior whose B need not hold ∂φ; errors of the solves add to it."""
    weighted = precision.metric.weigh(derivatives)
    cross = precision.cells.adjoint(weighted)
    response = precision.solve(cross, 0.0, floor=SOLVE_ERROR)
    return derivatives @ weighted.mT - 2 * cross @ response.mT + response @ precision.product(response).mT, response
