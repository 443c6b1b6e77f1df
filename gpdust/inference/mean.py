"""The mean that belongs to fixed draws: damped Newton steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gpdust.errors import DensityOverflow
from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision
from gpdust.model import LN10

LARGEST_DAMPING = 1e14
SURPRISE = 1.2  # times the predicted decrease, from which on a longer step is tried
ROUNDING = 1e-14  # of the objective: no test of a decrease below it means anything
FAR = 1 / LN10  # dex: a step of an e-fold or more does not trust Gauss and Newton, who see a straight line,
NO_LONGER_FAR = 0.2  # dex: nor do those after it, until one is as short as this
PROMISE_KEPT = 0.1  # share of the predicted decrease below which a step is not taken


@dataclass(frozen=True)
class Found:
    """Where the steps have led to.

    Attributes
    ----------
    place : Place
    damping : float
        Of Levenberg and Marquardt, with which the next search should begin.
    predicted, actual : float
        Decrease of the objective by the last step, nats.
    """

    place: Place
    damping: float
    predicted: float
    actual: float


def find_mean(
    objective: Objective,
    place: Place,
    precision_at: Callable[[Place, torch.Tensor, bool], Precision],
    tolerance: float,
    solve_tolerance: float,
    reach: float,
    goes_on: Callable[[float], bool],
    damping: float = 0.0,
    at_most: float = math.inf,
    relative: float = 0.0,
    leave_last: bool = False,
) -> Found:
    """Steps of the mean at fixed draws, until the next would gain less than the tolerance.

    Parameters
    ----------
    objective : Objective
    place : Place
        The start, with the draws.
    precision_at : callable
        Place, slope of the energy by φ there, and whether the step leads far, to the matrix of a Newton step.
    tolerance : float
        Predicted decrease, nats, at which to stop.
    solve_tolerance, reach : float
        See `NewtonOptions`.
    goes_on : callable
        Is told the objective after each step, and says whether there may be another.
    damping : float
        To begin with.
    at_most : float
        Number of steps.
    relative : float
        Stop too when a step would gain less than this share of what the first one did.
    leave_last : bool
        Whether that step is not taken then, unless it is the first.

    Raises
    ------
    DensityOverflow
        If the objective is not finite at the start, or what a step promises is not.
    """
    value, slope = objective.slope(place)
    _check(value, "the objective")
    predicted, actual, taken, enough, far = math.inf, math.inf, 0, tolerance, False
    while predicted > enough and taken < at_most:
        gradient = objective.gradient_of(place, slope)
        precision = precision_at(place, slope, far)
        while True:
            step = -precision.solve(gradient[None], solve_tolerance, damping, floor=tolerance)[0]
            field = objective.cells.apply(step)
            longest = float(field.abs().max())
            if longest > FAR and not far:
                far, precision = True, precision_at(place, slope, True)
                continue
            share = min(1.0, reach / max(longest, 1e-12))
            predicted = _predicted(precision, step, gradient, share)
            _check(predicted, "what a step promises")
            if leave_last and taken and predicted <= enough:
                return Found(place, damping, predicted, actual)
            new = place.moved(step, field, share)
            new_value, new_slope = objective.slope(new)
            actual = value - new_value
            if actual >= PROMISE_KEPT * predicted or predicted < max(tolerance, ROUNDING * abs(value)):
                break
            damping = max(10 * damping, 1.0)
            if damping > LARGEST_DAMPING:
                break
        if actual < 0:  # rounding, at the bottom
            break
        while actual > SURPRISE * predicted > tolerance and 2 * share * float(field.abs().max()) <= reach:
            share *= 2  # the objective curves less than its metric, as where a cloud moves along its ray
            farther = place.moved(step, field, share)
            farther_value, farther_slope = objective.slope(farther)
            if not farther_value < new_value:
                break
            new, new_value, new_slope, actual = farther, farther_value, farther_slope, value - farther_value
        damping, far = 0.0 if damping <= 1 else damping / 4, far and longest > NO_LONGER_FAR
        enough = enough if taken else max(tolerance, relative * predicted)
        place, value, slope, taken = new, new_value, new_slope, taken + 1
        if not goes_on(value):
            break
    return Found(place, damping, predicted, actual)


def _predicted(precision: Precision, step: torch.Tensor, gradient: torch.Tensor, share: float) -> float:
    linear = float((gradient * step).sum())
    quadratic = float((step * precision.product(step[None])[0]).sum())
    return -(share * linear + 0.5 * share**2 * quadratic)


def _check(value: float, what: str) -> None:
    if not math.isfinite(value):
        raise DensityOverflow(f"{what} is {value}")
