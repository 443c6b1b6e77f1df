"""The mean at fixed draws: Newton steps in the metric, conjugate to each other, along each of which a secant is taken.

The Gauss–Newton metric is not the curvature itself: along some directions a step overshoots, along others it falls
short. A solve costs a hundred evaluations, so each direction is made conjugate to the last (Polak & Ribière), and its
length is corrected by the slope at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gpdust.errors import InferenceError
from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision

LARGEST_DAMPING = 1e14
PROMISE_KEPT = 0.1  # share of the predicted decrease below which a step is not taken
OVERSHOT = 0.1  # of the slope at the start of a line, at its end: then its length is corrected


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


@dataclass(frozen=True)
class Direction:
    """A direction of v, and of the field on the cells."""

    latent: torch.Tensor
    field: torch.Tensor

    def share(self, reach: float) -> float:
        """How much of it changes no cell by more than the reach, dex; at most all."""
        return min(1.0, reach / max(float(self.field.abs().max()), 1e-12))


@dataclass(frozen=True)
class Line:
    """A search along a direction: where it began, and where it ended."""

    gradient: torch.Tensor
    newton: Direction
    direction: Direction
    place: Place
    value: float
    new_gradient: torch.Tensor
    whole: bool

    def conjugate(self, newton: Direction) -> Direction:
        """The next Newton step with what it needs of this direction, if it is still one of descent."""
        change = float(newton.latent @ (self.new_gradient - self.gradient))
        share = change / float(self.newton.latent @ self.gradient)
        if not share > 0:
            return newton
        latent = newton.latent + share * self.direction.latent
        if not float(self.new_gradient @ latent) < 0:
            return newton
        return Direction(latent, newton.field + share * self.direction.field)


def find_mean(
    objective: Objective,
    place: Place,
    precision_at: Callable[[Place], Precision],
    tolerance: float,
    solve_tolerance: float,
    reach: float,
    goes_on: Callable[[float], bool],
    damping: float = 0.0,
    at_most: float = math.inf,
) -> Found:
    """Steps of the mean at fixed draws, until the next would gain less than the tolerance.

    Parameters
    ----------
    objective : Objective
    place : Place
        The start, with the draws.
    precision_at : callable
        Place to Λ there.
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

    Raises
    ------
    InferenceError
        If the objective is not finite at the start.
    """
    value, gradient = objective.gradient(place)
    _check(value)
    predicted, actual, taken, last = math.inf, math.inf, 0, None
    while predicted > tolerance and taken < at_most:
        precision = precision_at(place)
        while True:
            latent = -precision.solve(gradient[None], solve_tolerance, damping, floor=tolerance)[0]
            newton = Direction(latent, objective.cells.apply(latent))
            predicted = _predicted(precision, latent, gradient, newton.share(reach))
            follows = last is not None and last.whole and damping == 0
            line = _line(objective, place, gradient, newton, last.conjugate(newton) if follows else newton, reach)
            actual = value - line.value
            if actual >= PROMISE_KEPT * predicted or predicted < tolerance:
                break
            damping = max(10 * damping, 1.0)
            if damping > LARGEST_DAMPING:
                break
        if actual < 0:  # rounding, at the bottom
            break
        damping = 0.0 if damping <= 1 else damping / 4
        last, place, value, gradient, taken = line, line.place, line.value, line.new_gradient, taken + 1
        if not goes_on(value):
            break
    return Found(place, damping, predicted, actual)


def _line(
    objective: Objective, place: Place, gradient: torch.Tensor, newton: Direction, direction: Direction, reach: float
) -> Line:
    share = direction.share(reach)
    whole = share == 1
    new = place.moved(direction.latent, direction.field, share)
    value, new_gradient = objective.gradient(new)
    slope, slope_there = float(gradient @ direction.latent), float(new_gradient @ direction.latent)
    if slope_there > OVERSHOT * abs(slope):
        nearer = place.moved(direction.latent, direction.field, share * slope / (slope - slope_there))
        value_nearer, gradient_nearer = objective.gradient(nearer)
        if value_nearer < value:
            new, value, new_gradient = nearer, value_nearer, gradient_nearer
    return Line(gradient, newton, direction, new, value, new_gradient, whole)


def _predicted(precision: Precision, step: torch.Tensor, gradient: torch.Tensor, share: float) -> float:
    linear = float((gradient * step).sum())
    quadratic = float((step * precision.product(step[None])[0]).sum())
    return -(share * linear + 0.5 * share**2 * quadratic)


def _check(value: float) -> None:
    if not math.isfinite(value):
        raise InferenceError(
            f"the objective is {value}: a density has overflowed. Check the prior's mean density and amplitude, "
            "and the errors of the brightest stars"
        )
