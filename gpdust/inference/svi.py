"""Stochastic variational inference: Pyro's ELBO, AdamW, and coordinates whitened by the metric of the data.

Extinction errors of 10 % mean σ → 0 for the nearest stars, so that the information of the stars spans ten orders of
magnitude. AdamW in the prior's coordinates then blows up or crawls. Three measures keep every step of order one:

1. The likelihood is tempered from no influence to full weight, by a constant factor per stage, so that the posterior
   moves by about its own width at each stage.
2. Each stage works in coordinates in which the tempered posterior is about a unit ball (`metric.Whitening`). AdamW's ε
   is one in these units: small gradients give Newton-like steps, large ones steps of the learning rate at most.
3. Draws come in mirrored pairs, which takes the first order out of the gradient's noise.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceMeanField_ELBO

from gpdust.errors import InferenceError
from gpdust.inference.convergence import StoppingRule
from gpdust.inference.gaussian import WhitenedGaussian
from gpdust.inference.metric import Whitening, gauss_newton, whiten
from gpdust.inference.progress import Progress
from gpdust.inference.trace import Trace
from gpdust.model import DustModel
from gpdust.prior import LinearMap

WEAK = 10.0  # a start is tempered until the sharpest direction is this many times sharper than the prior
CLIP = 1e6  # largest norm of a gradient in whitened units: only a runaway draw has more


@dataclass(frozen=True)
class SVIOptions:
    """Settings of the engine; the defaults are meant to be left alone.

    Attributes
    ----------
    particles : int
        Joint draws for each gradient.
    learning_rate : float
        Of the mean, in posterior standard deviations: the longest step, and the share of the way for short ones.
    covariance_rate : float
        Of the factor T, likewise.
    theta_rate : float
        Share of the way that a hyperparameter goes in one step; `theta_reach` (posterior standard deviations) is the
        longest.
    inducing_rate : float
        Of learned inducing points, in length scales.
    theta_interval : int
        Hyperparameters move at every so many steps: making the prior's matrix again is what a step costs most.
    temper_factor : float
        By how much the likelihood's weight grows from stage to stage.
    temper_steps, learn_steps, polish_steps : int
        Steps of one stage of each phase.
    max_steps : int
        Steps of all phases together; the fit then stops and says that it has not converged.
    tolerance : float
        Gain in ELBO per stage, nats, that is not worth another stage.
    """

    particles: int = 32
    learning_rate: float = 0.4
    covariance_rate: float = 0.02
    theta_rate: float = 0.5
    theta_reach: float = 4.0
    inducing_rate: float = 0.02
    theta_interval: int = 5
    temper_factor: float = math.e
    temper_steps: int = 20
    learn_steps: int = 50
    polish_steps: int = 100
    max_steps: int = 4000
    tolerance: float = 1.0


@dataclass
class SVIState:
    """All that is needed to go on: resuming is starting from a state.

    Attributes
    ----------
    mean : Tensor, shape (M,)
        Of v.
    theta : Tensor, shape (P,)
        Standardised hyperparameters.
    points : Tensor, shape (M, 3)
        Inducing points, pc.
    tempering : float
        Weight of the likelihood.
    phase : str
        "temper", "learn", "polish" or "done".
    generator : torch.Generator
        Source of all draws.
    trace : Trace
    rule : StoppingRule
        What has been seen of convergence.
    seconds : float
        Wall time spent.
    """

    mean: torch.Tensor
    theta: torch.Tensor
    points: torch.Tensor
    tempering: float
    phase: str
    generator: torch.Generator
    trace: Trace
    rule: StoppingRule
    seconds: float = 0.0
    guide: WhitenedGaussian | None = None
    theta_covariance: torch.Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))


class SVI:
    """The engine: `init` makes a state, `stage` takes it further, until its phase is "done".

    Parameters
    ----------
    model : DustModel
    options : SVIOptions
    """

    def __init__(self, model: DustModel, options: SVIOptions = SVIOptions()) -> None:
        self.model, self.options = model, options

    def init(self, seed: int) -> SVIState:
        """Start at the prior, with the likelihood as weak as it must be for that to be near."""
        prior = self.model.prior
        mean = torch.zeros(prior.latent_size, dtype=torch.float64)
        theta = torch.zeros(prior.theta_size, dtype=torch.float64)
        information = gauss_newton(self.model, mean, theta, self.model.basis(theta), with_theta=False)
        sharpest = float(torch.linalg.eigvalsh(information)[-1])
        tempering = min(1.0, WEAK / sharpest) if sharpest > 0 else 1.0
        return SVIState(
            mean=mean,
            theta=theta,
            points=prior.points,
            tempering=tempering,
            phase="temper" if tempering < 1 else "learn",
            generator=torch.Generator().manual_seed(seed),
            trace=Trace(prior.hyperparameters.units),
            rule=StoppingRule(self.options.tolerance),
        )

    def stage(self, state: SVIState, progress: Progress) -> SVIState:
        """Whiten at the present place, take the steps of one stage there, and decide what comes next."""
        options, started = self.options, time.perf_counter()
        steps = {"temper": options.temper_steps, "learn": options.learn_steps, "polish": options.polish_steps}
        run = _Stage(self.model, options, state)
        run.take(steps[state.phase], progress, started)
        state = run.finish()
        if state.phase == "temper":
            state.tempering = min(1.0, state.tempering * options.temper_factor)
            state.phase = "learn" if state.tempering == 1.0 else "temper"
        elif state.phase == "learn":
            state.rule.see(run.elbos[len(run.elbos) // 2 :])
            budget = len(state.trace) + options.learn_steps + options.polish_steps > options.max_steps
            if state.rule.settled or budget:
                state.phase = "polish"
        else:
            state.phase = "done"
        state.seconds += time.perf_counter() - started
        return state


class _Stage:
    """The steps between two whitenings."""

    def __init__(self, model: DustModel, options: SVIOptions, state: SVIState) -> None:
        self.model, self.options, self.state = model, options, state
        self.learns_theta = bool(len(state.theta)) and state.phase == "learn"
        self.learns_points = model.prior.learn_inducing and state.phase == "learn"
        self.prior = model.prior.with_points(state.points)
        self.basis = model.basis(state.theta, self.prior)
        self.whitening = self._whiten()
        size = len(state.mean)
        self.eta_v = torch.zeros(size, dtype=torch.float64, requires_grad=True)
        self.eta_theta = torch.zeros(len(state.theta), dtype=torch.float64, requires_grad=self.learns_theta)
        self.eta_points = torch.zeros_like(state.points, requires_grad=self.learns_points)
        self.factor = torch.eye(size, dtype=torch.float64, requires_grad=state.phase == "polish")
        self.optimizer = self._optimizer()
        self.elbo = TraceMeanField_ELBO()
        self.elbos: list[float] = []

    def _whiten(self) -> Whitening:
        state = self.state
        with torch.no_grad():
            with_theta = bool(len(state.theta)) and state.phase != "temper"
            information = gauss_newton(self.model, state.mean, state.theta, self.basis, with_theta)
            whitening = whiten(information, state.tempering, len(state.theta) if with_theta else 0)
        if not with_theta:
            none = torch.zeros(len(state.mean), len(state.theta), dtype=torch.float64)
            return Whitening(whitening.rotation, whitening.scale, none[: len(state.theta)], none)
        return whitening

    def _optimizer(self) -> torch.optim.AdamW:
        """AdamW with its ε at the size of a gradient of one: see the first lines of this file. Nothing decays."""
        options = self.options
        reach = options.theta_reach
        groups = [
            {"params": [self.eta_v], "lr": options.learning_rate, "eps": 1.0},
            {"params": [self.factor], "lr": options.covariance_rate, "eps": 1.0},
            {"params": [self.eta_theta], "lr": reach, "eps": reach / options.theta_rate, "betas": (0.5, 0.9)},
            {"params": [self.eta_points], "lr": options.inducing_rate, "eps": 1.0},
        ]
        groups = [group for group in groups if group["params"][0].requires_grad]
        return torch.optim.AdamW(groups, betas=(0.7, 0.95), weight_decay=0.0)

    def take(self, steps: int, progress: Progress, started: float) -> None:
        """Take the steps of the stage."""
        schedule = None
        if self.state.phase == "polish":
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps, eta_min=0.0)
        for step in range(steps):
            moves_prior = (self.learns_theta or self.learns_points) and (step + 1) % self.options.theta_interval == 0
            loss = self._loss(moves_prior)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([self.eta_v], CLIP)
            self.optimizer.step()
            if schedule:
                schedule.step()
            self._after(moves_prior, float(loss.detach()), started, progress)

    def _loss(self, moves_prior: bool) -> torch.Tensor:
        """−ELBO of the tempered model, in nats."""
        prior, basis = self.moved_prior(), None if moves_prior else self.basis
        loss = self.elbo.differentiable_loss(
            self.model.pyro_model, self._guide, self.options.particles, self.state.tempering, basis, prior
        )
        if not torch.isfinite(loss):
            raise InferenceError(
                f"the ELBO is {float(loss)} at step {len(self.state.trace)}: a density has overflowed. Check the "
                "prior's mean density and amplitude, and the errors of the brightest stars"
            )
        return loss

    def theta(self) -> torch.Tensor:
        """Standardised hyperparameters at the present coordinates."""
        return self.state.theta + self.whitening.theta_factor @ self.eta_theta

    def moved_prior(self):
        """The prior with its inducing points at the present coordinates."""
        if not self.learns_points:
            return self.prior
        scale = self.prior.length_scale(self.theta().detach())
        return self.prior.with_points(self.state.points + scale * self.eta_points)

    def gaussian(self) -> WhitenedGaussian:
        """The variational distribution of v at the present coordinates."""
        mean = self.whitening.mean(self.state.mean, self.eta_v, self.eta_theta)
        return WhitenedGaussian(
            mean, self.whitening.rotation, self.whitening.scale, self.factor.tril(), self.state.generator
        )

    def _guide(self, particles: int, *_: object) -> None:
        """Pyro's guide: θ at a point, and v by a full-rank Gaussian."""
        if len(self.state.theta):
            pyro.sample("hyperparameters", dist.Delta(self.theta(), event_dim=1))
        with pyro.plate("particles", particles), pyro.poutine.scale(scale=1 / particles):
            pyro.sample("latent", self.gaussian())

    def _after(self, moves_prior: bool, loss: float, started: float, progress: Progress) -> None:
        if moves_prior:
            with torch.no_grad():
                self.basis = self.model.basis(self.theta(), self.moved_prior())
        self.elbos.append(-loss)
        state = self.state
        seconds = state.seconds + time.perf_counter() - started
        physical = self.prior.hyperparameters.report(self.theta())
        state.trace.append(-loss, state.tempering, state.phase, seconds, physical)
        progress.step(state.phase, state.tempering, -loss)

    def finish(self) -> SVIState:
        """The state at the present coordinates."""
        with torch.no_grad():
            state = self.state
            guide = self.gaussian()
            state.points = self.moved_prior().points.detach()
            state.mean, state.theta = guide.mean_vector, self.theta()
            state.guide = WhitenedGaussian(guide.mean_vector, guide.rotation, guide.scale, guide.factor.detach())
            if len(state.theta) and state.phase != "temper":
                state.theta_covariance = self.whitening.theta_covariance
        return state


__all__ = ["SVI", "LinearMap", "SVIOptions", "SVIState"]
