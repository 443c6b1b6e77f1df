"""The objective of natural and mgvi: −ELBO at fixed draws of q, its gradient, and its Gauss–Newton metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gpdust.inference.cells import PriorOnCells
from gpdust.inference.response import Response
from gpdust.inference.star_metric import CellMetric, ConvexMetric, StarMetric

DRAW_CELLS = 400_000  # cells of all draws that are evaluated at once: they stay in the caches


@dataclass(frozen=True)
class Place:
    """The mean on the cells, and the draws around it.

    Attributes
    ----------
    mean : Tensor, shape (M,)
    log_density : Tensor, shape (cells,)
        φ at the mean.
    offsets : Tensor, shape (pairs, cells)
        B δ of the draws: φ ± offset. No rows for a point estimate.
    """

    mean: torch.Tensor
    log_density: torch.Tensor
    offsets: torch.Tensor

    def moved(self, step: torch.Tensor, field: torch.Tensor, share: float) -> Place:
        """The place after a share of a step, of which the field on the cells is given."""
        return Place(self.mean + share * step, self.log_density + share * field, self.offsets)

    def log_densities(self) -> torch.Tensor:
        """φ of all draws, shape (2 pairs, cells), or of the mean alone, shape (1, cells)."""
        if not len(self.offsets):
            return self.log_density[None]
        return torch.cat([self.log_density + self.offsets, self.log_density - self.offsets])


class Objective:
    """F(v) = ½ |v|² + E[−log L(v ± δ)] at given hyperparameters, nats.

    Slope and metric cost a pass over the stars where these have places of their own; those of the last place are kept.

    Parameters
    ----------
    cells : PriorOnCells
    response : Response
    """

    def __init__(self, cells: PriorOnCells, response: Response) -> None:
        self.cells, self.response = cells, response
        self._slope: tuple[Place, tuple[float, torch.Tensor]] | None = None
        self._metric: tuple[Place, bool, StarMetric] | None = None

    def place(self, mean: torch.Tensor, draws: torch.Tensor) -> Place:
        """Put mean and draws, shapes (M,) and (pairs, M), on the cells."""
        log_density = self.cells.log_density(mean)
        offsets = self.cells.apply(draws) if len(draws) else log_density.new_zeros(0, len(log_density))
        return Place(mean, log_density, offsets)

    def energies(self, place: Place) -> torch.Tensor:
        """−log L of every draw, shape (2 pairs,); draw i + pairs mirrors draw i."""
        return torch.cat([self.response.energy(some) for some in self._blocks(place)])

    def gradient(self, place: Place) -> tuple[float, torch.Tensor]:
        """F, infinite where a density overflows, and its gradient by v, shape (M,)."""
        value, slope = self.slope(place)
        return value, self.gradient_of(place, slope)

    def gradient_of(self, place: Place, slope: torch.Tensor) -> torch.Tensor:
        """The gradient of F by v, shape (M,), from that of the energy by φ."""
        return place.mean + self.cells.adjoint(slope)

    def slope(self, place: Place) -> tuple[float, torch.Tensor]:
        """F, infinite where a density overflows, and the gradient of its energy by φ, shape (cells,)."""
        if self._slope is None or self._slope[0] is not place:
            self._slope = place, self._slope_at(place)
        return self._slope[1]

    def _slope_at(self, place: Place) -> tuple[float, torch.Tensor]:
        energy, slope, count = 0.0, torch.zeros_like(place.log_density), 0
        for some in self._blocks(place):
            energies, slopes = self.response.energy_and_gradient(some)
            energy, count = energy + float(energies.sum()), count + len(some)
            slope += slopes.sum(0)
        value = 0.5 * float(place.mean.square().sum()) + energy / count
        return value if math.isfinite(value) else math.inf, slope / count

    def metric(self, place: Place, averaged: bool = False) -> StarMetric:
        """G at the root mean square of the draws, or averaged over them."""
        if self._metric is None or self._metric[0] is not place or self._metric[1] != averaged:
            self._metric = None  # let go of the last one first: it may be large
            self._metric = place, averaged, self.response.metric(place.log_densities(), averaged)
        return self._metric[2]

    def hessian(self, place: Place, slope: torch.Tensor, averaged: bool, far: bool) -> CellMetric:
        """The Hessian of the energy, with what Gauss and Newton leave out where that is positive; for steps.

        Extinction is linear in density: a cell that stars want 1 + x times as dense needs a step of ln(1 + x), but
        Gauss and Newton take x, and what they leave out is negative. For a step that leads far, half of it is made
        positive, which turns x into x / (1 + x/2): right to second order, and never longer than two e-folds.

        Parameters
        ----------
        place : Place
        slope : Tensor, shape (cells,)
            Of the energy by φ, there.
        averaged : bool
            See `metric`.
        far : bool
            Whether the step leads far.
        """
        curvature = self.response.curvature(slope)
        missing = torch.maximum(curvature, -0.5 * curvature) if far else curvature.clamp(min=0)
        return ConvexMetric(self.metric(place, averaged), missing)

    def _blocks(self, place: Place) -> tuple[torch.Tensor, ...]:
        rows = max(1, DRAW_CELLS // len(place.log_density))
        if not len(place.offsets):
            return (place.log_density[None],)
        signed = [(place.log_density + sign * some) for sign in (1, -1) for some in place.offsets.split(rows)]
        return tuple(signed)
