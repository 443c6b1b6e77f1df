"""Stochastic variational inference: Pyro's ELBO, AdamW, and coordinates whitened by the metric of the data.

Extinction errors of 10 % mean σ → 0 for the nearest stars, so that the information of the stars spans ten orders of
magnitude. AdamW in the prior's coordinates then blows up or crawls. Three measures keep every step of order one:

1. The likelihood is tempered from no influence to full weight, by a constant factor per stage, so that the posterior
   moves by about its own width at each stage.
2. Each stage works in coordinates in which the tempered posterior is about a unit ball: those of the metric, and later
   those of q. Small gradients give Newton-like steps there, large ones steps of about a posterior standard deviation.
3. Draws come in mirrored pairs, which takes the first order out of the gradient's noise.

The covariance takes natural-gradient steps, one a stage: from the inverse of it towards the prior's and the Hessian of
−log L together, averaged over draws, whose inverse the best Gaussian has (Opper & Archambeau 2009). AdamW can move it
too, entry by entry, but needs hundreds of steps for what these do in ten.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceMeanField_ELBO

from gpdust.errors import DensityOverflow, InferenceError
from gpdust.inference.convergence import StoppingReport, StoppingRule
from gpdust.inference.elbo import theta_divergence
from gpdust.inference.gaussian import WhitenedGaussian
from gpdust.inference.metric import Whitening, expected_hessian, gauss_newton, whiten
from gpdust.inference.progress import Progress
from gpdust.inference.start import Start
from gpdust.inference.state import SVIState
from gpdust.inference.svi_options import SVIOptions
from gpdust.inference.trace import Trace
from gpdust.model import DustModel
from gpdust.prior import InducingGP, LinearMap

WEAK = 10.0  # a start is tempered until the sharpest direction is this many times sharper than the prior
FAR_START = 2.0  # nats a latent, that a Newton step at a start may promise: one of which more is tempered
CLIP = 1e6  # largest norm of a gradient in whitened units: only a runaway draw has more
METRIC_DRAWS = 16  # over which a first covariance averages the metric
HESSIAN_DRAWS = 64  # over which its later steps average the Hessian
SETTLE_PATIENCE = 6  # stages: they are short, and a climb out of a void takes many small gains
NATURAL_RATE = 0.6  # share of the way to it that a step goes: what is left averages over stages
MOST_WIDENING = 4.0  # of a variance, where a step would go all the way: far from the end the Hessian may promise more
STRETCH = 3.0  # of the longest steps of the mean, once the covariance knows the way
SHORT_REACH, SHORTEST_REACH = 0.3, 1e-3  # posterior standard deviations
SETBACK = 3.0  # a loss of so many standard errors rejects a step of the hyperparameters


class SVI:
    """The engine: `init` makes a state, `stage` takes it further, until its phase is "done".

    Parameters
    ----------
    model : DustModel
    options : SVIOptions
    """

    def __init__(self, model: DustModel, options: SVIOptions | None = None) -> None:
        self.model, self.options = model, options or SVIOptions()
        self.elbo = TraceMeanField_ELBO()
        self._basis: tuple[torch.Tensor, torch.Tensor, list[LinearMap] | None] | None = None

    def init(self, seed: int, start: Start | None = None) -> SVIState:
        """Start at the prior, with the likelihood as weak as it must be for that to be near; or elsewhere."""
        prior = self.model.prior
        place = start or Start.at_prior(prior)
        mean, theta = place.mean, place.theta
        state = SVIState(
            mean=mean,
            theta=theta,
            points=prior.points,
            phase=self._after_tempering,
            reach=self.options.theta_reach,
            generator=torch.Generator().manual_seed(seed),
            trace=Trace(prior.hyperparameters.units),
            rule=self._rule(self._after_tempering),
        )
        weight = self._first_weight(state, start is None)
        if weight < 1:
            state = replace(state, phase="temper", tempering=weight)
        self._check_budget(state.tempering)
        return state

    def _first_weight(self, state: SVIState, at_prior: bool) -> float:
        """Weight of the likelihood with which the posterior is near the start: at the prior's mean a weak one.

        Elsewhere as strong a one as a Newton step from there allows: one that promises a lot leads to a bad place.
        """
        prior, basis = self._place(state)
        information = gauss_newton(self.model, prior, state.mean, state.theta, basis, with_theta=False)
        precision = information + torch.eye(len(information), dtype=information.dtype)
        weakest = WEAK / max(float(torch.linalg.eigvalsh(precision)[-1]) - 1, WEAK)
        if at_prior:
            return weakest
        mean = state.mean.clone().requires_grad_()
        loss = 0.5 * mean.square().sum() - self.model.log_likelihood(mean[None], state.theta, basis, prior).sum()
        (gradient,) = torch.autograd.grad(loss, mean)
        promised = 0.5 * float(gradient @ torch.linalg.solve(precision, gradient))
        return max(weakest, min(1.0, FAR_START * len(mean) / max(promised, 1e-300)))

    def _rule(self, phase: str) -> StoppingRule:
        """When to stop, in a new phase."""
        patience = {"patience": SETTLE_PATIENCE} if phase in ("climb", "settle") else {}
        return StoppingRule(self.options.tolerance, **patience)

    @property
    def _after_tempering(self) -> str:
        if not self.options.natural_gradients:
            return "learn"
        return "climb" if self._learns else "settle"

    def expected_steps(self, state: SVIState) -> int:
        """How many steps a fit usually takes, for a progress bar: what learning takes is not known beforehand."""
        learn = self.options.learn_steps * (25 if self._learns else 0 if self.options.natural_gradients else 5)
        settle = self.options.settle_steps * (20 if self.options.natural_gradients else 0)
        steps = len(state.trace) + self._tempering_steps(state.tempering) + learn + settle + self._last_steps
        return min(steps, self.options.max_steps)

    @property
    def _learns(self) -> bool:
        return bool(self.model.prior.theta_size or self.model.prior.learn_inducing)

    def _tempering_steps(self, tempering: float) -> int:
        """Steps from a given weight of the likelihood to its full weight."""
        stages = max(0, math.ceil(-math.log(tempering) / math.log(self.options.temper_factor)))
        return stages * self.options.temper_steps

    @property
    def _last_steps(self) -> int:
        """Steps of the last phase."""
        options = self.options
        return options.fading_stages * options.settle_steps if options.natural_gradients else options.polish_steps

    def _check_budget(self, tempering: float) -> None:
        """Raise where max_steps would end a fit before the stars have their full weight."""
        first = self.options.learn_steps if self._after_tempering == "learn" else self.options.settle_steps
        least = self._tempering_steps(tempering) + first + self._last_steps
        if self.options.max_steps < least:
            raise InferenceError(
                f"max_steps = {self.options.max_steps} is too few: with these stars a fit takes at least {least} steps"
            )

    def stage(self, state: SVIState, progress: Progress) -> SVIState:
        """Take the steps of one stage, in coordinates that are whitened for it, and decide what comes next."""
        started = time.perf_counter()
        state = state.copy()  # whoever interrupts a stage still holds the state before it, untouched
        last = self._fade if self.options.natural_gradients else self._polish
        phases = {"temper": self._temper, "climb": self._settle, "learn": self._learn, "settle": self._settle}
        state = (phases | {"polish": last})[state.phase](state, progress)
        return replace(state, seconds=state.seconds + time.perf_counter() - started)

    def _spent(self, state: SVIState, steps: int) -> bool:
        """Whether another stage of so many steps would leave too few for the last phase."""
        return len(state.trace) + steps + self._last_steps > self.options.max_steps

    def _temper(self, state: SVIState, progress: Progress) -> SVIState:
        """Follow the posterior at the present weight of the likelihood, then raise the weight."""
        state, _ = self._follow(state, self._whitened(state), self.options.temper_steps, progress)
        tempering = min(1.0, state.tempering * self.options.temper_factor)
        phase = self._after_tempering if tempering == 1.0 else "temper"
        return replace(state, tempering=tempering, phase=phase, guide=None)

    def _learn(self, state: SVIState, progress: Progress) -> SVIState:
        """Move the hyperparameters, let v follow, and keep the move unless the ELBO has lost by it."""
        try:
            moved = self._move_prior(state) if state.rule.means else state
            moved, elbos = self._follow(moved, self._whitened(moved), self.options.learn_steps, progress)
        except InferenceError:  # moved to where no density can be had: a loss like any other, unless nothing moved
            if not state.rule.means or state.reach < SHORTEST_REACH:
                raise
            elbos = [-math.inf, -math.inf]
        elbos = elbos[len(elbos) // 2 :]
        if state.rule.would_lose(elbos, SETBACK):
            if state.reach < SHORT_REACH:  # a longer step that loses says nothing of a shorter one
                state.rule.see_again()
            state = replace(state, reach=state.reach / 3)
        else:
            state = replace(moved, reach=min(1.5 * state.reach, 10 * self.options.theta_reach))
            state.rule.see(elbos)
        if not self.options.natural_gradients:
            done = state.rule.settled or self._spent(state, self.options.learn_steps)
            return replace(state, phase="polish", guide=None) if done else state
        if state.rule.settled and not self._spent(state, self.options.settle_steps):
            return replace(state, phase="settle", guide=None, rule=self._rule("settle"))
        if not self._spent(state, self.options.learn_steps):
            return state
        return replace(state, phase="polish", guide=None, rule=self._rule("settle"))  # it has not settled

    def _settle(self, state: SVIState, progress: Progress) -> SVIState:
        """A natural-gradient step of the covariance, and steps of the mean, until neither gains anything."""
        guide = self._natural_step(state, NATURAL_RATE)
        state, elbos = self._follow(state, guide, self.options.settle_steps, progress, STRETCH)
        state.rule.see(elbos)
        if state.phase == "settle":
            spent = self._spent(state, self.options.settle_steps)
            return replace(state, phase="polish") if spent or state.rule.settled else state
        if self._spent(state, self.options.learn_steps):  # nothing is learned, whatever the climb has come to
            return replace(state, phase="polish", rule=self._rule("learn"))
        return replace(state, phase="learn", guide=None, rule=self._rule("learn")) if state.rule.settled else state

    def _fade(self, state: SVIState, progress: Progress) -> SVIState:
        """The same with rates that fall: of the covariance as for a mean over stages, of the mean to a ninth."""
        stages = self.options.fading_stages
        guide = self._natural_step(state, NATURAL_RATE / (1 + state.faded))
        rate = (stages - state.faded) / (stages + 1)
        state, _ = self._follow(state, guide, self.options.settle_steps, progress, STRETCH, rate)
        state = replace(state, faded=state.faded + 1)
        if state.faded < stages:
            return state
        return replace(state, phase="done", theta_covariance=self._theta_covariance(state))

    def _polish(self, state: SVIState, progress: Progress) -> SVIState:
        """AdamW learns the factor T too, with all rates falling to zero."""
        guide, steps = self._whitened(state, averaged=True), self.options.polish_steps
        state, _ = self._follow(state, guide, steps, progress, with_factor=True)
        return replace(state, phase="done", theta_covariance=self._theta_covariance(state))

    def finish(self, state: SVIState) -> tuple[torch.Tensor, StoppingReport]:
        """A square root of the covariance of q, and how the fit ended."""
        elbo, error = self._final_elbo(state)
        converged, gain = state.rule.settled, state.rule.gain
        if converged:
            within = f"{state.rule.threshold:.2g} that noise or tolerance explain"
            reason = f"the last stages gained {gain:.2g} nats, within {within}"
        else:
            rose = "while the ELBO still rose" if math.isinf(gain) else f"while the ELBO still rose by {gain:.2g} nats"
            reason = f"it ran out of its {self.options.max_steps} steps {rose}"
        return state.guide.scale_matrix(), StoppingReport(converged, reason, len(state.trace), elbo, error)

    def _final_elbo(self, state: SVIState, evaluations: int = 32) -> tuple[float, float]:
        """ELBO of a finished state and its Monte-Carlo standard error, from fresh draws, nats."""
        prior, basis = self._place(state)
        with torch.no_grad():
            values = [-float(self._loss(state, prior, basis, state.guide, state.theta)) for _ in range(evaluations)]
        # While it runs, θ is a point with its prior density; all engines report the Laplace approximation's share.
        density = -0.5 * float(state.theta.square().sum()) - 0.5 * len(state.theta) * math.log(2 * math.pi)
        mean = float(np.mean(values)) - density - theta_divergence(state.theta, state.theta_covariance)
        return mean, float(np.std(values, ddof=1) / math.sqrt(evaluations))

    def _place(self, state: SVIState) -> tuple[InducingGP, list[LinearMap] | None]:
        """The prior with its inducing points where they are, and its values on the cells, made once for each place."""
        prior, known = self.model.prior.with_points(state.points), self._basis
        if known is None or not (torch.equal(known[0], state.theta) and torch.equal(known[1], state.points)):
            known = self._basis = None  # let go of the old one first: it may be large
            self._basis = known = (state.theta, state.points, self.model.basis(prior, state.theta))
        return prior, known[2]

    def _follow(
        self,
        state: SVIState,
        guide: WhitenedGaussian,
        steps: int,
        progress: Progress,
        stretch: float = 1.0,
        rate: float = 1.0,
        with_factor: bool = False,
    ) -> tuple[SVIState, list[float]]:
        """Steps of v's mean (and of T) by AdamW, in coordinates in which a Gaussian is a unit ball.

        The prior stands still. Rates are `rate` times those of the options, the longest steps `stretch` times as long.
        """
        options, (prior, basis) = self.options, self._place(state)
        eta = torch.zeros_like(state.mean, requires_grad=True)
        factor = torch.eye(len(eta), dtype=eta.dtype, requires_grad=True) if with_factor else None
        # In these coordinates curvature is one. With ε at one a small gradient gives the share of a Newton step that is
        # the learning rate, and a large one a step of that length; with ε and rate stretched, long steps are longer.
        # Nothing decays: the prior does what weight decay would imitate.
        groups = [{"params": [eta], "lr": rate * stretch * options.learning_rate, "eps": stretch}]
        if with_factor:
            groups.append({"params": [factor], "lr": min(options.covariance_rate, 1 / len(eta)), "eps": 1.0})
        optimizer = torch.optim.AdamW(groups, betas=(0.7, 0.95), weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if with_factor else None
        elbos, hyperparameters = [], prior.hyperparameters.report(state.theta)
        started = time.perf_counter()

        def moved() -> WhitenedGaussian:
            mean = state.mean + guide.rotation @ (guide.scale * eta)
            return WhitenedGaussian(
                mean, guide.rotation, guide.scale, factor.tril() if with_factor else None, state.generator
            )

        for _ in range(steps):
            loss = self._loss(state, prior, basis, moved(), state.theta)
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
            found = moved()
        return replace(state, mean=found.mean_vector, guide=found), elbos

    def _move_prior(self, state: SVIState) -> SVIState:
        """One step of the hyperparameters (and of learned inducing points), with v carried along.

        At the best Gaussian for the present θ, the gradient at fixed Gaussian is the gradient of the whole; but away
        from here it is not, so that the Gaussian is made anew after each such step.
        """
        prior = self.model.prior.with_points(state.points)
        if not (prior.theta_size or prior.learn_inducing):
            return state
        whitening = self._whitening(state, with_theta=True)
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
        guide = whitening.gaussian(mean, state.generator)
        self._loss(state, prior.with_points(points), None, guide, theta).backward()
        optimizer.step()
        with torch.no_grad():
            mean, theta, points = place()
        return replace(state, mean=mean, theta=theta, points=points)

    def _natural_step(self, state: SVIState, share: float) -> WhitenedGaussian:
        """The covariance of q, a share of the way to the best one that draws of q tell of; first that of the metric."""
        if state.guide is None:
            return self._whitened(state, averaged=True)
        prior, basis = self._place(state)
        with torch.no_grad():
            draws = state.guide.rsample((HESSIAN_DRAWS,))
            hessian = expected_hessian(self.model, prior, state.theta, basis, draws)
            if not torch.isfinite(hessian).all():
                raise DensityOverflow(f"the Hessian is not finite at step {len(state.trace)}")
            best = hessian + torch.eye(len(hessian), dtype=hessian.dtype)
            return state.guide.towards(best, share, MOST_WIDENING)

    def _whitened(self, state: SVIState, averaged: bool = False) -> WhitenedGaussian:
        """The Gaussian of the tempered metric at the present place, or averaged over draws of that one."""
        with torch.no_grad():
            near = self._whitening(state).gaussian(state.mean, state.generator)
            if not averaged:
                return near
            return self._whitening(state, near.rsample((METRIC_DRAWS,))).gaussian(state.mean, state.generator)

    def _whitening(self, state: SVIState, draws: torch.Tensor | None = None, with_theta: bool = False) -> Whitening:
        """Coordinates of order one at the present place, by the metric there or averaged over draws."""
        prior, basis = self._place(state)
        with_theta = with_theta and bool(len(state.theta))
        with torch.no_grad():
            information = gauss_newton(self.model, prior, state.mean, state.theta, basis, with_theta, draws)
            return whiten(information, state.tempering, len(state.theta) if with_theta else 0)

    def _theta_covariance(self, state: SVIState) -> torch.Tensor:
        """The Laplace covariance of θ, by the metric averaged over draws of q."""
        if not len(state.theta):
            return state.theta_covariance
        with torch.no_grad():
            return self._whitening(state, state.guide.rsample((METRIC_DRAWS,)), with_theta=True).theta_covariance

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
