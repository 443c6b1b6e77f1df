"""How a fit by natural or mgvi ended, in words."""

from __future__ import annotations

import torch

from gpdust.inference.convergence import StoppingReport
from gpdust.inference.elbo import Elbo, theta_divergence
from gpdust.inference.mean import ROUNDING
from gpdust.inference.newton_options import NewtonOptions
from gpdust.inference.state import NewtonState
from gpdust.prior.hyperparameters import Hyperparameters

MOST_ROUNDS = 20  # of new draws
NOISE_MOVED = 0.3  # of its standard errors: what must settle before the rest can
STUCK = 1e3  # a damping with which steps are so short that they promise nothing


def stopping_report(
    state: NewtonState, options: NewtonOptions, elbo: Elbo, hyperparameters: Hyperparameters, least: torch.Tensor
) -> StoppingReport:
    """Whether the fit has converged, and why it stopped.

    Parameters
    ----------
    state : NewtonState
        At the end.
    options : NewtonOptions
    elbo : Elbo
        Of q(v).
    hyperparameters : Hyperparameters
    least : Tensor, shape (P,)
        How far down θ might go.
    """
    trouble = _trouble(state, options)
    promised = f"the last step promised {state.predicted:.2g} nats and gave {state.actual:.2g}"
    reason = trouble or f"{promised}; new draws moved the mean by {state.drift:.2g} nats"
    if elbo.is_flattered:
        follows = f"the mean follows its {2 * len(state.draws)} draws by {elbo.flattery:.0f} nats"
        reason = f"{reason}; {follows}: more samples would fit better"
    value = elbo.value - theta_divergence(state.theta, state.theta_covariance)
    value -= theta_divergence(state.noise, state.noise_covariance)
    reason += _at_their_least(state.theta, hyperparameters, least)
    return StoppingReport(not trouble, reason, len(state.trace), value, elbo.error)


def _trouble(state: NewtonState, options: NewtonOptions) -> str:
    """What kept the fit from converging; nothing where it has."""
    rounding = ROUNDING * abs(state.trace.elbo[-1]) if len(state.trace) else 0.0
    if len(state.trace) >= options.max_steps:
        return f"it ran out of its {options.max_steps} steps"
    if state.predicted > 3 * max(options.tolerance, rounding) or state.damping > STUCK:
        return f"no step gave what it promised; the last promised {state.predicted:.2g} nats"
    if state.theta_left > 3 * options.theta_tolerance:
        promised = f"steps of the hyperparameters promised {state.theta_left:.2g} nats"
        return f"{promised}, but lost or were contradicted by new draws, however short they were"
    if state.rounds == MOST_ROUNDS and state.drift >= 3 * options.tolerance:
        return f"new draws still moved the mean by {state.drift:.2g} nats after {MOST_ROUNDS} rounds"
    if state.noise_left > NOISE_MOVED:
        return f"the stars' noise still moved by {state.noise_left:.2g} of its standard errors"
    return ""


def _at_their_least(theta: torch.Tensor, hyperparameters: Hyperparameters, least: torch.Tensor) -> str:
    """In words, which length scales ended on the least value that a fit may give them."""
    values, which = hyperparameters.report(theta), zip(hyperparameters.learned(), theta, least, strict=True)
    ended = [f"{one.name} ({values[one.name]:.3g} {one.unit})" for one, value, lowest in which if value <= lowest]
    if not ended:
        return ""
    words = "the least that cells of this size tell apart: finer cells may say more, and stated errors are too small"
    return f"; {', '.join(ended)} ended on {words}"
