"""Settings of natural and MGVI."""

from __future__ import annotations

from dataclasses import dataclass

from gpdust.inference.sample_size import AUTO


@dataclass(frozen=True)
class NewtonOptions:
    """Settings of natural and mgvi; the defaults are meant to be left alone.

    Attributes
    ----------
    samples : int or "auto"
        Draws of q over which metric and gradient are averaged, and which mgvi keeps; even, since they are mirrored.
        "auto" takes 20, and up to 100 where the mean is found to follow those: where stars are few and draws wide.
    tolerance : float
        Predicted decrease of the objective, nats, below which the mean counts as found.
    theta_tolerance : float
        Predicted gain of evidence, nats, below which the hyperparameters count as found.
    solve_tolerance : float
        Of the conjugate gradients for the mean: error of a step over the step, in the norm of Λ (mgvi).
    sample_tolerance : float
        Likewise for the draws (mgvi); apart from the other, since a draw need only be known to its own scatter.
    reach : float
        Largest change of log10 density in a step, dex.
    theta_reach : float
        Largest change of a standardised hyperparameter in a step, prior standard deviations.
    max_steps : int
        Newton steps; the fit then stops and says that it has not converged.
    coarse_start : bool
        Whether to start from the fit of a coarser grid.
    precondition : bool
        Whether mgvi uses its preconditioner: False shows what it is worth.
    averaged_metric : bool
        Whether Λ takes E[JᵀWJ] over the draws, as the largest ELBO asks for, with a matrix for each ray, instead of the
        metric at the root mean square of dρ/dφ, whose intervals hold more of what they should where draws are wide.
    """

    samples: int | str = AUTO
    tolerance: float = 0.1
    theta_tolerance: float = 0.3
    solve_tolerance: float = 0.1
    sample_tolerance: float = 0.1
    reach: float = 1.0
    theta_reach: float = 0.7
    max_steps: int = 200
    coarse_start: bool = True
    precondition: bool = True
    averaged_metric: bool = False
