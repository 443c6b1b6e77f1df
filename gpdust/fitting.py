"""From a model to its posterior: runs an engine, with progress, checkpoints and an honest report of how it ended."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from gpdust._version import __version__
from gpdust.errors import InferenceError
from gpdust.inference import SVI, Newton, NewtonOptions, NewtonState, Progress, SVIOptions, SVIState
from gpdust.inference.checkpoint import fingerprint, load_state, save_state
from gpdust.inference.start import Start, start_from
from gpdust.inference.state import State
from gpdust.model import DustModel
from gpdust.posterior import DrawnSpread, FullSpread, Posterior
from gpdust.prior import InducingGP, SpectralGP

CHECKPOINT_SECONDS = 20.0
MOST_DENSE = 2000  # inducing points up to which a dense precision is the fastest


class ConvergenceWarning(UserWarning):
    """A fit stopped before its ELBO did."""


class FitInterrupted(KeyboardInterrupt):
    """A fit was interrupted, and its state was written to a checkpoint."""


@dataclass(frozen=True)
class Engine:
    """How an engine is made: its settings, its state, and whether it needs inducing points."""

    options: type
    state: type[State]
    make: Callable[[DustModel, object], SVI | Newton]
    needs_inducing: bool


_ENGINES = {
    "natural": Engine(NewtonOptions, NewtonState, lambda model, options: Newton(model, options, dense=True), True),
    "mgvi": Engine(NewtonOptions, NewtonState, lambda model, options: Newton(model, options, dense=False), False),
    "svi": Engine(SVIOptions, SVIState, SVI, True),
}
ENGINES = ("auto", *_ENGINES)


def choose_engine(prior: InducingGP | SpectralGP) -> tuple[str, str]:
    """The engine that "auto" takes for a prior, and why."""
    if isinstance(prior, SpectralGP):
        return "mgvi", "a spectral prior has no matrix"
    if prior.learn_inducing:
        return "svi", "it alone learns where inducing points are"
    if prior.latent_size <= MOST_DENSE:
        return "natural", f"{prior.latent_size} inducing points are few enough for a dense precision"
    return "mgvi", f"{prior.latent_size} inducing points are too many for a dense precision"


def fit(
    model: DustModel,
    engine: str = "auto",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | PathLike | None = None,
    start: Posterior | Start | None = None,
    keep_checkpoint: bool = False,
    **options: object,
) -> Posterior:
    """Fit a model.

    Parameters
    ----------
    model : DustModel
    engine : {"auto", "natural", "mgvi", "svi"}
        How to maximise the ELBO. natural: dense natural gradients, for up to some thousands of inducing points. mgvi:
        the same without a matrix, for either prior and any size. svi: stochastic gradients of the mean with Pyro and
        AdamW and natural gradients of the covariance, for inducing points, which it alone can learn. auto picks svi
        where they are learned, else natural or mgvi by the size of the prior, and says so in the posterior's `meta`.
    seed : int
        Same seed, same fit.
    progress : bool
        Show a bar with phase, ELBO and the time left.
    checkpoint : path-like, optional
        File for the state of the fit. Where it exists, the fit goes on from it; it is written while the fit runs, when
        it is interrupted and when it is done, and deleted once there is a posterior.
    start : Posterior or Start, optional
        Where to start from: the posterior of any engine and either prior, on a grid that holds the model's, or a guess,
        such as that of `gpdust.encoder.seed`. A posterior gives its density, however different the priors are, and the
        hyperparameters and noise that the model learns too.
    keep_checkpoint : bool
        Leave the checkpoint there at the end, for whoever deletes it when the posterior is saved: should that fail, the
        same call gives the posterior again without another step.
    **options
        Settings of the engine; see `gpdust.inference.NewtonOptions` (natural, mgvi) and `gpdust.inference.SVIOptions`.

    Returns
    -------
    Posterior

    Warns
    -----
    ConvergenceWarning
        If the fit ran out of steps; the posterior says so as well.

    Raises
    ------
    InferenceError
        If the engine or an option is unknown, the engine can't take the prior, a density overflows, or the checkpoint
        is that of another fit.
    FitInterrupted
        On Ctrl-C, after the checkpoint has been written.
    """
    if engine not in ENGINES:
        raise InferenceError(f"unknown engine {engine!r}; there are {', '.join(ENGINES)}")
    why = "as asked for"
    if engine == "auto":
        engine, why = choose_engine(model.prior)
    chosen = _ENGINES[engine]
    if chosen.needs_inducing and not isinstance(model.prior, InducingGP):
        raise InferenceError(f"engine {engine!r} needs an InducingGP; a {type(model.prior).__name__} is fitted by mgvi")
    if engine != "svi" and isinstance(model.prior, InducingGP) and model.prior.learn_inducing:
        raise InferenceError(f"engine {engine!r} can't learn where inducing points are (learn_inducing); svi can")
    if engine == "svi" and model.free_noise.size:
        raise InferenceError(
            f"engine 'svi' can't learn the stars' noise ({', '.join(model.free_noise.names)}); natural and mgvi can, "
            "for inducing points that stay where they are"
        )
    runner = chosen.make(model, _options(chosen.options, engine, options))
    checkpoint = Path(checkpoint) if checkpoint else None
    if isinstance(start, Posterior):
        start = start_from(start, model)
    state = _run(
        runner, chosen.state, fingerprint(model, engine, seed, runner.options), seed, start, progress, checkpoint
    )
    meta = {"engine": engine, "engine_why": why, "seed": seed}
    posterior = _posterior(runner, model, state, meta)
    if checkpoint and not keep_checkpoint:
        checkpoint.unlink(missing_ok=True)  # not before there is a posterior
    return posterior


def _options(kind: type, engine: str, given: dict) -> object:
    try:
        return replace(kind(), **given)
    except TypeError:
        unknown = [name for name in given if name not in kind.__dataclass_fields__]
        known = ", ".join(kind.__dataclass_fields__)
        raise InferenceError(
            f"unknown option(s) {', '.join(unknown)} for engine {engine!r}; there are {known}"
        ) from None


def _run(
    engine: SVI | Newton,
    kind: type[State],
    mark: str,
    seed: int,
    start: Start | None,
    shown: bool,
    checkpoint: Path | None,
) -> State:
    state = load_state(checkpoint, mark, kind) if checkpoint and checkpoint.exists() else engine.init(seed, start)
    bar = Progress(engine.expected_steps(state), len(state.trace), shown)
    written = time.monotonic()
    try:
        while state.phase != "done":
            state = engine.stage(state, bar)
            if checkpoint and (state.phase == "done" or time.monotonic() - written > CHECKPOINT_SECONDS):
                save_state(checkpoint, state, mark)
                written = time.monotonic()
    except KeyboardInterrupt:
        if checkpoint is None:
            raise
        save_state(checkpoint, state, mark)
        raise FitInterrupted(str(checkpoint)) from None
    finally:
        bar.end()
    return state


def _posterior(engine: SVI | Newton, model: DustModel, state: State, meta: dict) -> Posterior:
    started = time.perf_counter()
    spread, report = engine.finish(state)
    if not report.converged:
        warnings.warn(f"{report}. Raise max_steps, or start from better hyperparameters.", ConvergenceWarning, 3)
    prior = model.prior
    if isinstance(state, SVIState):
        prior = prior.with_points(state.points)
    if isinstance(prior, InducingGP):
        prior.at(prior.points[:1], state.theta)  # notes the jitter that these hyperparameters need
    full = isinstance(prior, InducingGP) and meta["engine"] != "mgvi"
    seconds = round(state.seconds + time.perf_counter() - started, 2)
    treatment, table = model.treatment, ""
    if isinstance(state, NewtonState) and len(state.noise):
        noise = state.noise.numpy()
        treatment = treatment.with_noise(model.free_noise.at(noise))
        table = model.free_noise.table(noise, state.noise_covariance.numpy())
    return Posterior(
        prior=prior,
        theta=state.theta,
        mean=state.mean,
        spread=FullSpread(spread) if full else DrawnSpread(spread),
        grid=model.grid,
        theta_covariance=state.theta_covariance,
        report=report,
        trace=state.trace,
        meta={**model.meta, **meta, "version": __version__, "seconds": seconds},
        treatment=treatment,
        noise_table=table,
    )
