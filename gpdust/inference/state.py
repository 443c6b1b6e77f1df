"""Where a fit stands: all that is needed to go on, whichever engine goes on with it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch

from gpdust.inference.convergence import StoppingRule
from gpdust.inference.gaussian import WhitenedGaussian
from gpdust.inference.trace import Trace


def nothing() -> torch.Tensor:
    """A tensor that is not known yet."""
    return torch.zeros(0, 0, dtype=torch.float64)


@dataclass
class State:
    """What all engines share; resuming is starting from a state.

    Attributes
    ----------
    mean : Tensor, shape (M,)
        Of v.
    theta : Tensor, shape (P,)
        Standardised hyperparameters.
    theta_covariance : Tensor, shape (P, P)
        Its approximate posterior covariance; empty until it is known.
    phase : str
        What the engine does next; "done" at the end.
    trace : Trace
    rule : StoppingRule
        What has been seen of convergence.
    seconds : float
        Wall time spent.
    """

    mean: torch.Tensor
    theta: torch.Tensor
    phase: str
    trace: Trace
    rule: StoppingRule
    seconds: float = 0.0
    theta_covariance: torch.Tensor = field(default_factory=nothing)


@dataclass
class NewtonState(State):
    """What natural and mgvi need beside it.

    Attributes
    ----------
    seed : int
        Of the standard normals behind all draws: the same at every step, so that the objective is smooth.
    samples : int
        Draws, both of each pair counted.
    draws : Tensor, shape (pairs, M)
        Offsets δ of the draws: v = mean ± δ. Empty before the first draw.
    damping : float
        Of Levenberg and Marquardt.
    theta_step, theta_slope : Tensor, shape (P,)
        The last step of θ, and the gradient of −ln evidence where it began; empty before the first.
    theta_reach : float
        How far a step of θ may go, after one that has been taken back.
    mean_before, mean_step : Tensor, shape (M,)
        Where the mean was then, and how the step carried it along.
    predicted, actual : float
        Decrease of the objective that the last step promised, and that it gave, nats.
    noise, noise_covariance : Tensor, shape (Q,), (Q, Q)
        Standardised parameters of the stars' noise, where it is learned, and their approximate covariance.
    noise_left : float
        How far the noise still moved, in its standard errors, when it was last set.
    theta_left : float
        Gain of evidence, nats, that a step of the hyperparameters still promised when it was last tried.
    drift : float
        How far the mean has moved, nats, when the last new draws were made.
    mixing : float
        Share of a change of the draws that is taken.
    rounds : int
        Of new draws since the hyperparameters were found; on a coarser grid, of learning them.
    coarse : NewtonState or None
        Of the fit of a coarser grid, as long as it is not known where to start.
    misfit : float
        By how much the stars' errors are multiplied on a coarser grid, whose cells are too large for them; zero until
        that is known.
    """

    seed: int = 0
    samples: int = 0
    draws: torch.Tensor = field(default_factory=nothing)
    damping: float = 0.0
    theta_step: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    theta_slope: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    theta_reach: float = float("inf")
    mean_before: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    mean_step: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    predicted: float = float("inf")
    actual: float = float("inf")
    noise: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    noise_covariance: torch.Tensor = field(default_factory=nothing)
    noise_left: float = 0.0
    theta_left: float = 0.0
    drift: float = float("inf")
    mixing: float = 1.0
    rounds: int = 0
    coarse: NewtonState | None = None
    misfit: float = 0.0


@dataclass
class SVIState(State):
    """What svi needs beside what all engines share.

    Attributes
    ----------
    points : Tensor, shape (M, 3)
        Inducing points, pc.
    tempering : float
        Weight of the likelihood.
    reach : float
        Trust radius of the hyperparameters, posterior standard deviations.
    generator : torch.Generator
        Source of all draws.
    guide : WhitenedGaussian or None
        q, once it is known.
    faded : int
        Stages of the last phase that are done.
    """

    points: torch.Tensor = field(default_factory=nothing)
    tempering: float = 1.0
    reach: float = 0.0
    generator: torch.Generator = field(default_factory=torch.Generator)
    guide: WhitenedGaussian | None = None
    faded: int = 0

    def copy(self) -> SVIState:
        """The same state, sharing nothing that a stage changes in place."""
        generator = torch.Generator()
        generator.set_state(self.generator.get_state())
        guide = self.guide and self.guide.drawing_from(generator)
        return replace(self, generator=generator, guide=guide, trace=deepcopy(self.trace), rule=deepcopy(self.rule))
