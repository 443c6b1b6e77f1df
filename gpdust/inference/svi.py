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
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceMeanField_ELBO

from gpdust.errors import DensityOverflow, InferenceError
from gpdust.inference.convergence import StoppingReport, StoppingRule
from gpdust.inference.elbo import theta_divergence
from gpdust.inference.gaussian import WhitenedGaussian
from gpdust.inference.metric import Whitening, gauss_newton, whiten
from gpdust.inference.progress import Progress
from gpdust.inference.start import Start
from gpdust.inference.state import State, nothing
from gpdust.inference.trace import Trace
from gpdust.model import DustModel
from gpdust.prior import InducingGP, LinearMap

WEAK = 10.0  # a start is tempered until the sharpest direction is this many times sharper than the prior
CLIP = 1e6  # largest norm of a gradient in whitened units: only a runaway draw has more
METRIC_DRAWS = 16  # over which the final metric is averaged
SHORTEST_REACH = 1e-3  # posterior standard deviations
SETBACK = 3.0  # a loss of so many standard errors rejects a step of the hyperparameters


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
        Of the factor T, at most; 1 / M where that is less, since the noise of its M² entries adds up.
    theta_reach : float
        First trust radius of the hyperparameters, in posterior standard deviations; it grows where steps gain and
        shrinks where they lose.
    inducing_rate : float
        Longest step of learned inducing points, in length scales.
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
    covariance_rate: float = 0.002
    theta_reach: float = 4.0
    inducing_rate: float = 0.02
    temper_factor: float = math.e
    temper_steps: int = 20
    learn_steps: int = 15
    polish_steps: int = 300
    max_steps: int = 4000
    tolerance: float = 1.0


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
    """

    points: torch.Tensor = field(default_factory=nothing)
    tempering: float = 1.0
    reach: float = 0.0
    generator: torch.Generator = field(default_factory=torch.Generator)
    guide: WhitenedGaussian | None = None

    def copy(self) -> SVIState:
        """The same state, sharing nothing that a stage changes in place."""
        generator = torch.Generator()
        generator.set_state(self.generator.get_state())
        return replace(self, generator=generator, trace=deepcopy(self.trace), rule=deepcopy(self.rule))


class SVI:
    """The engine: `init` makes a state, `stage` takes it further, until its phase is "done".

    Parameters
    ----------
    model : DustModel
    options : SVIOptions
    """

    def __init__(self, model: DustModel, options: SVIOptions = SVIOptions()) -> None:
        self.model, self.options = model, options
        self.elbo = TraceMeanField_ELBO()

    def init(self, seed: int, start: Start | None = None) -> SVIState:
        """Start at the prior, with the likelihood as weak as it must be for that to be near; or elsewhere."""
        prior = self.model.prior
        place = start or Start.at_prior(prior)
        mean, theta = place.mean, place.theta
        information = gauss_newton(self.model, prior, mean, theta, self.model.basis(prior, theta), with_theta=False)
        sharpest = float(torch.linalg.eigvalsh(information)[-1])
        tempering = min(1.0, WEAK / sharpest) if sharpest > 0 and start is None else 1.0
        self._check_budget(tempering)
        return SVIState(
            mean=mean,
            theta=theta,
            points=prior.points,
            tempering=tempering,
            phase="temper" if tempering < 1 else "learn",
            reach=self.options.theta_reach,
            generator=torch.Generator().manual_seed(seed),
            trace=Trace(prior.hyperparameters.units),
            rule=StoppingRule(self.options.tolerance),
        )

    def expected_steps(self, state: SVIState) -> int:
        """How many steps a fit usually takes, for a progress bar: what learning takes is not known beforehand."""
        learning = 25 if self.model.prior.theta_size else 5
        return min(len(state.trace) + self._steps(state.tempering, learning), self.options.max_steps)

    def _steps(self, tempering: float, learn_stages: int) -> int:
        """Steps from a given weight of the likelihood to the end, with so many stages of learning."""
        options = self.options
        temper_stages = max(0, math.ceil(-math.log(tempering) / math.log(options.temper_factor)))
        return temper_stages * options.temper_steps + learn_stages * options.learn_steps + options.polish_steps

    def _check_budget(self, tempering: float) -> None:
        """Raise where max_steps would end a fit before the stars have their full weight."""
        least = self._steps(tempering, learn_stages=1)
        if self.options.max_steps < least:
            raise InferenceError(
                f"max_steps = {self.options.max_steps} is too few: with these stars a fit takes at least {least} steps"
            )

    def stage(self, state: SVIState, progress: Progress) -> SVIState:
        """Whiten at the present place, take the steps of one stage there, and decide what comes next."""
        started = time.perf_counter()
        state = state.copy()  # whoever interrupts a stage still holds the state before it, untouched
        state = {"temper": self._temper, "learn": self._learn, "polish": self._polish}[state.phase](state, progress)
        return replace(state, seconds=state.seconds + time.perf_counter() - started)

    def _temper(self, state: SVIState, progress: Progress) -> SVIState:
        """Follow the posterior at the present weight of the likelihood, then raise the weight."""
        state, _ = self._follow(state, self.options.temper_steps, progress)
        tempering = min(1.0, state.tempering * self.options.temper_factor)
        return replace(state, tempering=tempering, phase="learn" if tempering == 1.0 else "temper")

    def _learn(self, state: SVIState, progress: Progress) -> SVIState:
        """Move the hyperparameters, let v follow, and keep the move unless the ELBO has lost by it."""
        try:
            moved = self._move_prior(state) if state.rule.means else state
            moved, elbos = self._follow(moved, self.options.learn_steps, progress)
        except InferenceError:  # moved to where no density can be had: a loss like any other, unless nothing moved
            if not state.rule.means or state.reach < SHORTEST_REACH:
                raise
            elbos = [-math.inf, -math.inf]
        elbos = elbos[len(elbos) // 2 :]
        if state.rule.would_lose(elbos, SETBACK):
            state = replace(state, reach=state.reach / 3)
            state.rule.see_again()
        else:
            state = replace(moved, reach=min(1.5 * state.reach, 10 * self.options.theta_reach))
            state.rule.see(elbos)
        spent = len(state.trace) + self.options.learn_steps + self.options.polish_steps > self.options.max_steps
        return replace(state, phase="polish" if state.rule.settled or spent else "learn")

    def _polish(self, state: SVIState, progress: Progress) -> SVIState:
        """Learn the factor T too, with all rates falling to zero."""
        state, _ = self._follow(state, self.options.polish_steps, progress, polish=True)
        return replace(state, phase="done")

    def finish(self, state: SVIState) -> tuple[torch.Tensor, StoppingReport]:
        """A square root of the covariance of q, and how the fit ended."""
        elbo, error = self._final_elbo(state)
        converged, gain = state.rule.settled, state.rule.gain
        reason = (
            f"the last stages gained {gain:.2g} nats, within {state.rule.threshold:.2g} that noise or tolerance explain"
            if converged
            else f"it ran out of its {self.options.max_steps} steps while the ELBO still rose by {gain:.2g} nats"
        )
        return state.guide.scale_matrix(), StoppingReport(converged, reason, len(state.trace), elbo, error)

    def _final_elbo(self, state: SVIState, evaluations: int = 32) -> tuple[float, float]:
        """ELBO of a finished state and its Monte-Carlo standard error, from fresh draws, nats."""
        prior = self.model.prior.with_points(state.points)
        basis = self.model.basis(prior, state.theta)
        with torch.no_grad():
            values = [-float(self._loss(state, prior, basis, state.guide, state.theta)) for _ in range(evaluations)]
        # While it runs, θ is a point with its prior density; all engines report the Laplace approximation's share.
        density = -0.5 * float(state.theta.square().sum()) - 0.5 * len(state.theta) * math.log(2 * math.pi)
        mean = float(np.mean(values)) - density - theta_divergence(state.theta, state.theta_covariance)
        return mean, float(np.std(values, ddof=1) / math.sqrt(evaluations))

    def _follow(
        self, state: SVIState, steps: int, progress: Progress, polish: bool = False
    ) -> tuple[SVIState, list[float]]:
        """Steps of v's mean (and of T) by AdamW, in coordinates whitened here; the prior stands still."""
        options, prior = self.options, self.model.prior.with_points(state.points)
        basis = self.model.basis(prior, state.theta)
        whitening, theta_covariance = self._whiten(state, prior, basis, with_theta=polish, averaged=polish)
        eta = torch.zeros_like(state.mean, requires_grad=True)
        factor = torch.eye(len(state.mean), dtype=torch.float64, requires_grad=polish)
        groups = [{"params": [eta], "lr": options.learning_rate}]
        if polish:
            groups.append({"params": [factor], "lr": min(options.covariance_rate, 1 / len(eta))})
        # In these coordinates curvature is one: with ε at one, a small gradient gives that share of a Newton step, and
        # a large one a step of the learning rate. Nothing decays: the prior does what weight decay would imitate.
        optimizer = torch.optim.AdamW(groups, betas=(0.7, 0.95), eps=1.0, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if polish else None
        elbos, hyperparameters = [], prior.hyperparameters.report(state.theta)
        started = time.perf_counter()
        for _ in range(steps):
            guide = WhitenedGaussian(
                whitening.mean(state.mean, eta), whitening.rotation, whitening.scale, factor.tril(), state.generator
            )
            loss = self._loss(state, prior, basis, guide, state.theta)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([eta], CLIP)
            optimizer.step()
            if schedule:
                schedule.step()
            elbos.append(-float(loss.detach()))
            seconds = state.seconds + time.perf_counter() - started
            state.trace.append(elbos[-1], state.tempering, state.phase, seconds, hyperparameters)
            progress.step(state.phase, state.tempering, elbos[-1])
        with torch.no_grad():
            mean = whitening.mean(state.mean, eta)
            guide = WhitenedGaussian(mean, whitening.rotation, whitening.scale, factor.tril(), state.generator)
        return replace(state, mean=mean, guide=guide, theta_covariance=theta_covariance), elbos

    def _move_prior(self, state: SVIState) -> SVIState:
        """One step of the hyperparameters (and of learned inducing points), with v carried along.

        At the best Gaussian for the present θ, the gradient at fixed Gaussian is the gradient of the whole; but away
        from here it is not, so that the Gaussian is made anew after each such step.
        """
        prior = self.model.prior.with_points(state.points)
        if not (prior.theta_size or prior.learn_inducing):
            return state
        basis = self.model.basis(prior, state.theta)
        whitening, _ = self._whiten(state, prior, basis, with_theta=True)
        eta = torch.zeros_like(state.theta, requires_grad=True)
        shift = torch.zeros_like(state.points, requires_grad=prior.learn_inducing)
        groups = [{"params": [eta], "lr": state.reach, "eps": state.reach}]
        if prior.learn_inducing:
            groups.append({"params": [shift], "lr": self.options.inducing_rate, "eps": 1.0})
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        length = prior.length_scale(state.theta)

        def place() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            mean = state.mean + whitening.compensation @ eta
            return mean, state.theta + whitening.theta_factor @ eta, state.points + length * shift

        mean, theta, points = place()
        identity = torch.eye(len(mean), dtype=torch.float64)
        guide = WhitenedGaussian(mean, whitening.rotation, whitening.scale, identity, state.generator)
        self._loss(state, prior.with_points(points), None, guide, theta).backward()
        optimizer.step()
        with torch.no_grad():
            mean, theta, points = place()
        return replace(state, mean=mean, theta=theta, points=points)

    def _whiten(
        self,
        state: SVIState,
        prior: InducingGP,
        basis: list[LinearMap] | None,
        with_theta: bool,
        averaged: bool = False,
    ) -> tuple[Whitening, torch.Tensor]:
        """Coordinates of order one at the present place, and the Laplace covariance of θ where it is asked for."""
        with_theta = with_theta and bool(len(state.theta))
        with torch.no_grad():
            draws = None
            if averaged:
                near, _ = self._whiten(state, prior, basis, with_theta=False)
                identity = torch.eye(len(state.mean), dtype=torch.float64)
                guide = WhitenedGaussian(state.mean, near.rotation, near.scale, identity, state.generator)
                draws = guide.rsample((METRIC_DRAWS,))
            information = gauss_newton(self.model, prior, state.mean, state.theta, basis, with_theta, draws)
            whitening = whiten(information, state.tempering, len(state.theta) if with_theta else 0)
        return whitening, whitening.theta_covariance if with_theta else state.theta_covariance

    def _loss(
        self,
        state: SVIState,
        prior: InducingGP,
        basis: list[LinearMap] | None,
        guide: WhitenedGaussian,
        theta: torch.Tensor,
    ) -> torch.Tensor:
        """−ELBO of the tempered model by Pyro, nats, for a guide with θ at a point and v Gaussian of full rank."""

        def pyro_guide(particles: int, *_: object) -> None:
            if len(theta):
                pyro.sample("hyperparameters", dist.Delta(theta, event_dim=1))
            with pyro.plate("particles", particles), pyro.poutine.scale(scale=1 / particles):
                pyro.sample("latent", guide)

        loss = self.elbo.differentiable_loss(
            self.model.pyro_model, pyro_guide, self.options.particles, state.tempering, basis, prior
        )
        if not torch.isfinite(loss):
            raise DensityOverflow(f"the ELBO is {float(loss.detach())} at step {len(state.trace)}")
        return loss
