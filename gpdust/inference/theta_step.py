"""A step of the hyperparameters, which carries v along, and how it is taken back."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from gpdust.inference.cells import PriorOnCells
from gpdust.inference.curvature import ThetaCurvature
from gpdust.inference.state import NewtonState

SHORTEST = 1e-3  # of a standardised hyperparameter
GROWTH = 2.0  # from step to step, after one that has been taken back
LONG = 0.3  # of a standardised hyperparameter


def went_far(state: NewtonState) -> bool:
    """Whether the last step was long, or one was taken back before it: slopes may say nothing where it has led."""
    if not len(state.theta_step):
        return False
    return float(state.theta_step.abs().max()) > LONG or math.isfinite(state.theta_reach)


def has_lost(state: NewtonState, gradient: torch.Tensor, tolerance: float) -> bool:
    """Whether the last step has lost more evidence than the tolerance, nats, by the slopes at both of its ends."""
    if not len(state.theta_step):
        return False
    lost = 0.5 * float((gradient + state.theta_slope) @ state.theta_step)
    return not lost <= max(tolerance, 0.0)  # nor if it is not a number


def step_on(
    state: NewtonState,
    cells: PriorOnCells,
    gradient: torch.Tensor,
    curvature: ThetaCurvature,
    least: torch.Tensor,
    reach: float,
    tolerance: float,
) -> NewtonState:
    """The state after a step of θ, or settling where a step would not gain the tolerance.

    Parameters
    ----------
    state : NewtonState
        With the mean that belongs to its draws.
    cells : PriorOnCells
    gradient : Tensor, shape (P,)
        Of −ln evidence.
    curvature : ThetaCurvature
    least : Tensor, shape (P,)
        How far down θ may go.
    reach : float
        Of a step, at most; see `NewtonOptions`.
    tolerance : float
        Gain, nats.
    """
    if len(state.theta_step):
        curvature = curvature.with_secant(state.theta_step, gradient - state.theta_slope)
    step, predicted = curvature.step(gradient, min(reach, state.theta_reach), least - state.theta)
    state = replace(state, theta_left=predicted, theta_reach=GROWTH * state.theta_reach)
    if predicted < tolerance:
        return replace(state, phase="settle")
    carried = curvature.carry(cells, state.mean, step) - state.mean
    state = replace(state, theta_step=step, theta_slope=gradient, mean_before=state.mean, mean_step=carried)
    return replace(state, theta=state.theta + step, mean=state.mean + carried)


def step_back(state: NewtonState) -> NewtonState:
    """A third of the last step of θ, which has lost, or which the mean could not follow."""
    step, carried = state.theta_step / 3, state.mean_step / 3
    theta, length = state.theta - state.theta_step, float(step.abs().max())
    state = replace(state, damping=0.0, theta_reach=GROWTH * length)
    if length < SHORTEST:
        return replace(state, theta=theta, mean=state.mean_before, phase="settle")
    state = replace(state, theta_step=step, mean_step=carried)
    return replace(state, theta=theta + step, mean=state.mean_before + carried)


def undone(state: NewtonState) -> NewtonState:
    """The state before the last step of θ, where nothing has judged that yet."""
    if not len(state.theta_step):
        return state
    return replace(state, theta=state.theta - state.theta_step, mean=state.mean_before)
