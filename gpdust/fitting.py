"""From a model to its posterior: runs an engine, with progress, checkpoints and an honest report of how it ended."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from os import PathLike
from pathlib import Path

from gpdust._version import __version__
from gpdust.errors import InferenceError
from gpdust.inference import SVI, Progress, StoppingReport, SVIOptions, SVIState, fingerprint, load_state, save_state
from gpdust.model import DustModel
from gpdust.posterior import Posterior

ENGINES = ("svi",)
CHECKPOINT_SECONDS = 20.0


class ConvergenceWarning(UserWarning):
    """A fit stopped before its ELBO did."""


class FitInterrupted(KeyboardInterrupt):
    """A fit was interrupted, and its state was written to a checkpoint."""


def fit(
    model: DustModel,
    engine: str = "svi",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | PathLike | None = None,
    **options: object,
) -> Posterior:
    """Fit a model.

    Parameters
    ----------
    model : DustModel
    engine : {"svi"}
        How to maximise the ELBO.
    seed : int
        Same seed, same fit.
    progress : bool
        Show a bar with phase, ELBO and the time left.
    checkpoint : path-like, optional
        File for the state of the fit. Where it exists, the fit goes on from it; it is written while the fit runs and
        when it is interrupted, and deleted at the end.
    **options
        Settings of the engine; see `gpdust.inference.SVIOptions`.

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
        If the engine or an option is unknown, a density overflows, or the checkpoint is that of another fit.
    FitInterrupted
        On Ctrl-C, after the checkpoint has been written.
    """
    if engine not in ENGINES:
        raise InferenceError(f"unknown engine {engine!r}; there is {', '.join(ENGINES)}")
    try:
        settings = replace(SVIOptions(), **options)
    except TypeError:
        unknown = [name for name in options if name not in SVIOptions.__dataclass_fields__]
        known = ", ".join(SVIOptions.__dataclass_fields__)
        raise InferenceError(
            f"unknown option(s) {', '.join(unknown)} for engine {engine!r}; there are {known}"
        ) from None
    svi = SVI(model, settings)
    checkpoint = Path(checkpoint) if checkpoint else None
    posterior = _posterior(svi, model, _run(svi, model, seed, progress, checkpoint), seed)
    if checkpoint:
        checkpoint.unlink(missing_ok=True)  # not before there is a posterior
    return posterior


def _run(svi: SVI, model: DustModel, seed: int, shown: bool, checkpoint: Path | None) -> SVIState:
    mark = fingerprint(model, seed, svi.options)
    state = load_state(checkpoint, mark) if checkpoint and checkpoint.exists() else svi.init(seed)
    bar = Progress(svi.expected_steps(state), len(state.trace), shown)
    written = time.monotonic()
    try:
        while state.phase != "done":
            state = svi.stage(state, bar)
            if checkpoint and state.phase != "done" and time.monotonic() - written > CHECKPOINT_SECONDS:
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


def _posterior(svi: SVI, model: DustModel, state: SVIState, seed: int) -> Posterior:
    elbo, error = svi.final_elbo(state)
    converged = state.rule.settled
    gain = state.rule.gain
    reason = (
        f"the last stages gained {gain:.2g} nats, within {state.rule.threshold:.2g} that noise or tolerance explain"
        if converged
        else f"it ran out of its {svi.options.max_steps} steps while the ELBO still rose by {gain:.2g} nats"
    )
    report = StoppingReport(converged, reason, len(state.trace), elbo, error)
    if not converged:
        warnings.warn(f"{report}. Raise max_steps, or start from better hyperparameters.", ConvergenceWarning, 3)
    prior = model.prior.with_points(state.points)
    prior.at(state.points[:1], state.theta)  # notes the jitter that these hyperparameters need
    return Posterior(
        prior=prior,
        theta=state.theta,
        mean=state.mean,
        scale=state.guide.scale_matrix(),
        grid=model.grid,
        theta_covariance=state.theta_covariance,
        report=report,
        trace=state.trace,
        meta={**model.meta, "seed": seed, "version": __version__, "seconds": round(state.seconds, 2)},
    )
