"""Natural gradients and MGVI, one algorithm: Newton steps of the mean in the metric of the draws, then new draws.

q(v) = N(m, Λ⁻¹) with Λ = I + BᵀGB, where the Gauss–Newton metric G = Dᵀ Rᵀ W R D takes for D the root mean square of
dρ/dφ over mirrored joint draws of q, and m where the gradient of the objective, averaged over the same draws, is
zero. E[JᵀWJ] itself differs by the correlations of cells, and needs a matrix for each ray: that is an option. At the
mean alone, cells of which stars say only that they are not dense would stay so wide that hyperparameters run away.
The draws are Λ⁻¹ times coloured noise from standard normals that stay the same: with them fixed, the objective is a
smooth function, and its predicted and actual decrease can be compared.

The engines differ in linear algebra only. natural holds Λ as a matrix; mgvi multiplies by it (Knollmüller & Enßlin
2019), with a preconditioner that knows what stars know best. Both start from the fit of a coarser grid.
"""

from __future__ import annotations

import math
import time
from copy import deepcopy
from dataclasses import replace

import torch

from gpdust.errors import InferenceError
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.coarse_start import CoarseStart, coarser_cells
from gpdust.inference.convergence import StoppingReport, StoppingRule
from gpdust.inference.curvature import ThetaCurvature
from gpdust.inference.elbo import NewDraws, unseen
from gpdust.inference.matrix_free import MatrixFreePrecision
from gpdust.inference.mean import find_mean
from gpdust.inference.newton_options import NewtonOptions
from gpdust.inference.newton_report import MOST_ROUNDS, NOISE_MOVED, stopping_report
from gpdust.inference.noise_step import best_noise, noise_drift
from gpdust.inference.objective import Objective, Place
from gpdust.inference.occam import theta_gradient
from gpdust.inference.precision import DensePrecision, Precision
from gpdust.inference.preconditioner import Preconditioning
from gpdust.inference.progress import Progress
from gpdust.inference.response import Response
from gpdust.inference.sample_size import first_samples, most_samples
from gpdust.inference.star_metric import CellMetric
from gpdust.inference.start import Start
from gpdust.inference.state import NewtonState
from gpdust.inference.theta_step import has_lost, step_back, step_on, undone, went_far
from gpdust.inference.trace import Trace
from gpdust.model import DustModel

COARSE_GAIN = 3.0  # nats: what hyperparameters on a coarser grid need not gain
LEAST_SCALE = 1 / 3  # of a cell: neighbours are as good as independent, and shorter length scales all the same
LEAST_COARSE_SCALE = 1.0  # likewise; smaller structure than that would there get ever smaller, and wilder
NEAR = 30.0  # nats: a predicted decrease at which draws begin to matter, and slopes by θ
RELATIVE = 0.03  # of what the first step gains with new draws: less is not worth another before the next ones
LESS_MIXING, LEAST_MIXING = 0.6, 0.2
FEW_LATENTS = 1000  # of which draws cost little without a matrix too
CHEAP_SAMPLES = 200  # while hyperparameters are learned, since few draws mislead them; and for an ELBO
CURVATURE, FINAL_CURVATURE = 0.5, 0.1  # tolerances of its solves: steps of θ, and its errors
EARLY_LOOK = 2  # rounds of draws after which few stars show whether more of them are needed
LEARN_STEPS = 8  # of the mean between steps of θ, at most
SHORT = 10.0  # tolerances of which the mean may then be short: the gradient by θ knows of it to first order
NOISE_DRAWS = 4  # of the map, for the parameters of the noise, which hardly depend on them
MATRIX_NUMBERS = 50_000_000  # of a Hessian averaged over draws, for all rays
ELBO_NUMBERS = 10_000_000  # of a batch on the cells, where draws cost little and a batch is larger


class Newton:
    """The engine: `init` makes a state, `stage` takes it further, until its phase is "done".

    Parameters
    ----------
    model : DustModel
    options : NewtonOptions
    dense : bool
        True for natural, False for mgvi.
    """

    def __init__(self, model: DustModel, options: NewtonOptions | None = None, dense: bool = True) -> None:
        self.model, self.options, self.dense = model, options or NewtonOptions(), dense
        self.response = Response(model)
        self._first_samples = first_samples(self.options.samples)
        size = model.prior.latent_size, math.prod(self.response.shape)
        self._most_samples = most_samples(self.options.samples, *size)
        self._noise = torch.zeros(model.free_noise.size, dtype=torch.float64)
        self._preconditioning = Preconditioning(model) if self.options.precondition and not dense else None
        self._objective: Objective | None = None
        self._recent: Precision | None = None
        self._new: tuple[torch.Tensor, NewDraws] | None = None
        self._coarser = coarser_cells(math.prod(self.response.shape)) if self.options.coarse_start else None
        self._coarse_start: CoarseStart | None = None
        self._least = self._shortest_scales(LEAST_SCALE)
        self.iterations: list[tuple[str, int]] = []

    # Life of a fit

    def init(self, seed: int, start: Start | None = None) -> NewtonState:
        """Start at the prior's mean, or elsewhere."""
        start = start or Start.at_prior(self.model.prior)
        return NewtonState(
            mean=start.mean,
            theta=start.theta,
            phase="coarse" if self._coarser and not start.mean.any() else "climb",
            trace=Trace(self.model.prior.hyperparameters.units),
            rule=StoppingRule(self.options.tolerance),
            seed=seed,
            samples=self._first_samples,
            noise=start.noise if len(start.noise) else torch.zeros(self.model.free_noise.size, dtype=torch.float64),
        )

    def expected_steps(self, state: NewtonState) -> int:
        """How many steps a fit usually takes, for a progress bar."""
        return len(state.trace) + (40 if self.model.prior.theta_size else 12)

    def stage(self, state: NewtonState, progress: Progress) -> NewtonState:
        """Take the state to its next phase, or through one round of it."""
        self._started, self._progress = time.perf_counter() - state.seconds, progress
        samples = state.samples or self._first_samples  # an older checkpoint does not say
        state = replace(state, trace=deepcopy(state.trace), rule=deepcopy(state.rule), samples=samples)
        self._use(state.noise)
        phases = {"coarse": self._coarse, "climb": self._climb, "learn": self._learn, "settle": self._settle}
        state = phases[state.phase](state)
        if len(state.trace) >= self.options.max_steps and state.phase not in ("coarse", "climb"):
            state = replace(state, phase="done")  # but not before it has a mean of its own
        return replace(state, seconds=time.perf_counter() - self._started)

    def _coarse(self, state: NewtonState) -> NewtonState:
        """A stage of the fit of a coarser grid."""
        coarse = state.coarse or self._from_coarser().begin(state)
        seconds = time.perf_counter() - self._started
        coarse = self._from_coarser().stage(replace(coarse, trace=state.trace, seconds=seconds), self._progress)
        return replace(state, coarse=coarse, trace=coarse.trace, phase="climb" if coarse.phase == "done" else "coarse")

    def _climb(self, state: NewtonState) -> NewtonState:
        """From the prior, or where the fit of a coarser grid has ended, to near the most probable density."""
        cold = replace(state, coarse=None)
        start = self._from_coarser().transferred(state.coarse, cold) if state.coarse else cold
        self._coarse_start = None  # let go of it: it is not needed any more
        try:
            state, _ = self._find_mean(start, self._at(start.theta), NEAR)
        except InferenceError:  # where the coarse grid led to, the fine one has no density
            if start is cold:
                raise
            state, _ = self._find_mean(cold, self._at(cold.theta), NEAR)
        return replace(state, phase="learn" if self.model.prior.theta_size else "settle")

    def _from_coarser(self) -> CoarseStart:
        if self._coarse_start is None:
            self._coarse_start = CoarseStart(self.model, self._coarser, self._on)
        return self._coarse_start

    def _on(self, model: DustModel) -> Newton:
        """The engine for another grid, on the way to the fit of this one."""
        coarse = Newton(model, replace(self.options, theta_tolerance=COARSE_GAIN), self.dense)
        coarse._least = coarse._shortest_scales(LEAST_COARSE_SCALE)
        return coarse

    def _shortest_scales(self, cells: float) -> torch.Tensor:
        """How far down θ may go: to length scales of so many cells, below which stars do not tell one from another."""
        return self.model.prior.hyperparameters.with_length_scales_from(cells * self.model.grid.typical_cell)

    def misfit(self, state: NewtonState) -> float:
        """How many times larger than their errors the stars' deviations are, at least one."""
        log_density = self._at(state.theta).cells.log_density(state.mean)
        return max(1.0, self.model.likelihood.misfit(self.response.extinction(log_density)))

    def _learn(self, state: NewtonState) -> NewtonState:
        """New draws, the mean that belongs to them, and one step of the hyperparameters, which carries v along."""
        try:
            return self._learn_at(self._at(state.theta), state)
        except InferenceError:  # a step of θ to where no density can be had
            if not len(state.theta_step):
                raise
            return step_back(state)

    def _learn_at(self, objective: Objective, state: NewtonState) -> NewtonState:
        samples = max(state.samples, CHEAP_SAMPLES) if self._draws_cost_little else state.samples
        state = self._redraw(state, objective, self.options.sample_tolerance, samples)
        tolerance = SHORT * self.options.tolerance
        state, place = self._find_mean(state, objective, tolerance, at_most=LEARN_STEPS, leave_last=True)
        if len(state.trace) >= self.options.max_steps:
            return state
        if state.predicted > NEAR:  # slopes here say nothing
            return step_back(state) if len(state.theta_step) else self._less_mixing(state)
        if self._has_few_stars:  # hyperparameters would follow the draws too, and run away
            if went_far(state) and self._new_draws(state, objective, place, self._recent).contradict_its_own():
                return step_back(state)
            noise_known = not len(state.noise) or (len(state.noise_covariance) and state.noise_left <= NOISE_MOVED)
            if noise_known and not self._draws_cost_little and self._needs_more_samples(state, objective, place):
                return self._with_most_samples(undone(state))
        state = self._with_best_noise(state, objective)
        if state.noise_left > NOISE_MOVED:  # the slopes here say nothing of another noise
            return replace(state, theta_step=torch.zeros(0, dtype=torch.float64))
        curvature = self._curvature(state, CURVATURE)
        gradient = theta_gradient(objective, place, curvature, self._recent, state.seed)
        if has_lost(state, gradient, self.options.theta_tolerance):
            return step_back(state)
        reach, enough = self.options.theta_reach, self.options.theta_tolerance
        return step_on(state, objective.cells, gradient, curvature, self._least, reach, enough)

    def _curvature(self, state: NewtonState, tolerance: float, seed: int | None = None) -> ThetaCurvature:
        of_kernel = torch.tensor([not parameter.is_mean for parameter in self.model.prior.hyperparameters.learned()])
        return ThetaCurvature.of(self._recent, state.mean, of_kernel, tolerance, seed)

    def _settle(self, state: NewtonState) -> NewtonState:
        """New draws and the mean that belongs to them, until neither moves."""
        objective = self._at(state.theta)
        before = state.mean
        try:
            drawn = self._redraw(state, objective, self.options.sample_tolerance)
            state, place = self._find_mean(drawn, objective, self.options.tolerance, relative=RELATIVE)
        except InferenceError:  # draws so wide that a density overflows: take less of their change
            if not len(state.draws) or state.mixing <= LEAST_MIXING:
                raise
            return replace(state, mixing=0.5 * state.mixing, rounds=state.rounds + 1)
        moved = state.mean - before
        drift = 0.5 * float((moved * self._recent.product(moved[None])[0]).sum())
        state = self._with_best_noise(state, objective)
        # Wide draws raise the metric, which narrows the next ones: where that swings, only half a change is taken.
        state = state if drift < 0.5 * state.drift else self._less_mixing(state)
        state = replace(state, drift=drift, rounds=state.rounds + 1)
        noise_moves = state.noise_left > NOISE_MOVED
        goes_on = (drift >= 3 * self.options.tolerance or noise_moves) and state.rounds < MOST_ROUNDS
        looks_early = state.rounds == EARLY_LOOK and self._has_few_stars and not noise_moves
        if (looks_early or not goes_on) and self._needs_more_samples(state, objective, place):
            return self._with_most_samples(state)
        if goes_on:
            return state
        if len(state.theta):
            state = replace(state, theta_covariance=self._curvature(state, FINAL_CURVATURE, state.seed).covariance)
        return replace(state, phase="done")

    def _needs_more_samples(self, state: NewtonState, objective: Objective, place: Place) -> bool:
        """Whether the mean follows its draws, and there may be more of them."""
        if state.samples >= self._most_samples or len(state.trace) >= self.options.max_steps:
            return False
        return self._new_draws(state, objective, place, self._recent).ask_for_more()

    def _with_most_samples(self, state: NewtonState) -> NewtonState:
        """Where to go on with more draws: hyperparameters too were found with those that misled the mean."""
        learns = self.model.prior.theta_size and not self._draws_cost_little
        return replace(
            state,
            samples=self._most_samples,
            phase="learn" if learns else "settle",
            theta_step=torch.zeros(0, dtype=torch.float64),
            theta_reach=math.inf,
            drift=math.inf,
            mixing=1.0,
            rounds=0,
        )

    # Parts

    @property
    def _has_few_stars(self) -> bool:
        """Fewer than cells, so that draws of these may be wide."""
        return self.model.likelihood.n_stars < math.prod(self.response.shape)

    @property
    def _draws_cost_little(self) -> bool:
        return self.dense or self.model.prior.latent_size <= FEW_LATENTS

    @staticmethod
    def _less_mixing(state: NewtonState) -> NewtonState:
        """The same, with less of a change of the draws taken from now on."""
        return replace(state, mixing=max(LESS_MIXING * state.mixing, LEAST_MIXING))

    def _use(self, noise: torch.Tensor) -> None:
        """Take the stars' noise to be that of a standardised vector."""
        if not len(noise) or torch.equal(noise, self._noise):
            return
        self._noise = noise
        self.model = self.model.with_noise(self.model.free_noise.at(noise.numpy()))
        self.response, self._recent, self._new = Response(self.model), None, None
        if self._objective is not None:
            self._objective = Objective(self._objective.cells, self.response)

    def _with_best_noise(self, state: NewtonState, objective: Objective) -> NewtonState:
        """The noise that belongs to the draws; it is used from the next stage on."""
        if not len(state.noise):
            return state
        draws = objective.place(state.mean, state.draws[: NOISE_DRAWS // 2]).log_densities()
        extinction = self.response.extinction(draws)
        noise, covariance = best_noise(self.model.likelihood, self.model.free_noise, extinction, state.noise.numpy())
        found, covariance = torch.from_numpy(noise), torch.from_numpy(covariance)
        left = noise_drift(state.noise, found, covariance)
        return replace(state, noise=found, noise_covariance=covariance, noise_left=left)

    def _at(self, theta: torch.Tensor) -> Objective:
        if self._objective is None or not torch.equal(self._objective.cells.theta, theta):
            self._objective = None  # let go of the old one first: it may be large
            self._objective = Objective(PriorOnCells(self.model, theta), self.response)
        return self._objective

    def _precision(self, objective: Objective, place: Place) -> Precision:
        """Λ, of which q(v) is made."""
        self._recent = None  # let go of the last one first: it may be large
        metric = objective.metric(place, self.options.averaged_metric)
        self._recent = self._precision_of(objective, place, metric)
        return self._recent

    def _step_precision(self, objective: Objective, place: Place, slope: torch.Tensor, far: bool) -> Precision:
        """The matrix of a Newton step: Λ for a short one to a point estimate; else the Hessian, as far as it is convex.

        Where stars are few and draws wide, a step with Λ goes too far: it knows nothing of cells of a ray that vary
        against each other, nor that denser cells are stiffer.
        """
        if not (far or len(place.offsets)):
            return self._precision(objective, place)
        rays, cells = self.response.shape
        wide = self._has_few_stars and rays * cells**2 <= MATRIX_NUMBERS
        return self._precision_of(objective, place, objective.hessian(place, slope, wide, far))

    def _precision_of(self, objective: Objective, place: Place, metric: CellMetric) -> Precision:
        if self.dense:
            return DensePrecision(objective.cells, metric)
        preconditioner = self._preconditioning and self._preconditioning.at(objective, place)
        return MatrixFreePrecision(objective.cells, metric, preconditioner, self.iterations)

    def _redraw(
        self, state: NewtonState, objective: Objective, tolerance: float, samples: int | None = None
    ) -> NewtonState:
        """Draws of q around the mean, from the same standard normals every time."""
        self._new = None  # let go of them: they belong to the last draws, and hold what may be large
        if not len(state.draws) and self._preconditioning:
            self._preconditioning.before_many_solves()
        precision = self._precision(objective, objective.place(state.mean, state.draws))
        pairs = (samples or state.samples) // 2
        start = state.draws if len(state.draws) == pairs else None
        # Λ⁻¹ times coloured noise has the covariance Λ⁻¹ Λ Λ⁻¹.
        draws = precision.draws(*self._standard(state.seed, pairs), tolerance, start)
        if start is not None and state.mixing < 1:
            draws = start + state.mixing * (draws - start)
        elif len(state.draws) and not self._draws_cost_little:  # more of them, which may be too wide to begin with
            draws = state.mixing * draws
        return replace(state, draws=draws)

    def _standard(self, seed: int, pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The standard normals behind all draws, shapes (pairs, latent) and (pairs, cells)."""
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(pairs, self.model.prior.latent_size, dtype=torch.float64, generator=generator)
        return latents, torch.randn(pairs, math.prod(self.response.shape), dtype=torch.float64, generator=generator)

    def _find_mean(
        self,
        state: NewtonState,
        objective: Objective,
        tolerance: float,
        at_most: float = math.inf,
        relative: float = 0.0,
        leave_last: bool = False,
    ) -> tuple[NewtonState, Place]:
        """The mean that belongs to the draws, and where that is."""

        def goes_on(value: float) -> bool:
            self._record(state, value)
            return len(state.trace) < self.options.max_steps

        found = find_mean(
            objective,
            objective.place(state.mean, state.draws),
            lambda place, slope, far: self._step_precision(objective, place, slope, far),
            tolerance,
            self.options.solve_tolerance,
            self.options.reach,
            goes_on,
            state.damping,
            at_most,
            relative,
            leave_last,
        )
        if len(state.draws):
            self._precision(objective, found.place)
        return replace(
            state, mean=found.place.mean, damping=found.damping, predicted=found.predicted, actual=found.actual
        ), found.place

    def _record(self, state: NewtonState, value: float) -> None:
        hyperparameters = self.model.prior.hyperparameters.report(state.theta)
        state.trace.append(-value, 1.0, state.phase, time.perf_counter() - self._started, hyperparameters)
        self._progress.step(state.phase, 1.0, -value)

    # The end

    def finish(self, state: NewtonState) -> tuple[torch.Tensor, StoppingReport]:
        """A square root of the covariance of q (natural) or its draws (mgvi), and how the fit ended.

        A state that ran out of steps before it had draws, or knew the covariances of θ and of the noise, is given them.
        """
        self._use(state.noise)
        objective = self._at(state.theta)
        if not len(state.draws):  # it stopped before there were any
            state.draws = self._redraw(state, objective, self.options.sample_tolerance).draws
        place = objective.place(state.mean, state.draws)
        precision = self._precision(objective, place)
        if len(state.theta) and not len(state.theta_covariance):
            state.theta_covariance = self._curvature(state, FINAL_CURVATURE, state.seed).covariance
        if len(state.noise) and not len(state.noise_covariance):
            state.noise_covariance = self._with_best_noise(state, objective).noise_covariance
        found = self._new_draws(state, objective, place, precision).elbo()
        spread = precision.covariance_factor() if isinstance(precision, DensePrecision) else state.draws
        return spread, stopping_report(state, self.options, found, self.model.prior.hyperparameters, self._least)

    def _new_draws(self, state: NewtonState, objective: Objective, place: Place, precision: Precision) -> NewDraws:
        """Draws that the fit has not seen, kept until it draws again: they may be asked for twice."""
        if self._new is None or self._new[0] is not state.mean:
            many = min(CHEAP_SAMPLES // 2, ELBO_NUMBERS // place.log_density.numel()) if self._draws_cost_little else 0
            self._new = state.mean, NewDraws(objective, place, precision, unseen(self._standard, state.seed, many))
        return self._new[1]
