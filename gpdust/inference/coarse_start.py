"""A fit of a coarser grid as the place to start from, stage by stage, so that it too can be stopped and taken up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from gpdust.inference.progress import Progress
from gpdust.inference.state import NewtonState
from gpdust.model import DustModel
from gpdust.prior import transfer

if TYPE_CHECKING:
    from gpdust.inference.newton import Newton

COARSEST_CELLS = 1000  # of the grids that a fit climbs through
COARSER = 12  # times fewer cells from grid to grid
ROUNDS = 12  # of learning on a coarser grid, at most


def coarser_cells(cells: int) -> int | None:
    """How many cells the next coarser grid should have; none where a coarser one would not help."""
    coarser = cells // COARSER if cells > 2 * COARSER * COARSEST_CELLS else COARSEST_CELLS
    return coarser if cells > 2 * coarser else None


class CoarseStart:
    """Fits a coarser grid, hyperparameters and all, in the same way as the fine one.

    Parameters
    ----------
    fine : DustModel
    cells : int
        Of the coarser grid, about.
    engine_for : callable
        A model on that grid to the engine that fits it.
    """

    def __init__(self, fine: DustModel, cells: int, engine_for: Callable[[DustModel], Newton]) -> None:
        self._fine, self._model, self._engine_for = fine, fine.coarsened(cells), engine_for
        self._engine, self._misfit = engine_for(self._model), 0.0

    def begin(self, fine: NewtonState) -> NewtonState:
        """The state to begin with. What is learned of the stars' noise would there explain how large cells are."""
        return replace(
            self._engine.init(fine.seed), theta=fine.theta.clone(), noise=torch.zeros(0, dtype=torch.float64)
        )

    def stage(self, state: NewtonState, progress: Progress) -> NewtonState:
        """Take it further, until its phase is "done"."""
        engine = self._engine_at(state.misfit)
        if state.phase == "learn" and not state.misfit:
            # Else hyperparameters would explain by tiny and wild structure what is due to cells of that size.
            return replace(state, misfit=engine.misfit(state), phase="climb")
        learning = state.phase == "learn"
        state = engine.stage(state, progress)
        state = replace(state, rounds=state.rounds + learning)
        found = state.phase == "settle" or state.rounds >= ROUNDS
        return replace(state, phase="done") if found else state

    def transferred(self, end: NewtonState, state: NewtonState) -> NewtonState:
        """The state of the fine grid's fit where the coarse one's has ended."""
        return replace(state, mean=transfer(end.mean, self._model.prior, self._fine.prior), theta=end.theta)

    def _engine_at(self, misfit: float) -> Newton:
        """The engine where stars' errors are so many times as large; zero, where that is not known yet, is once."""
        if misfit != self._misfit:
            self._engine, self._misfit = self._engine_for(self._model.with_errors_times(misfit or 1.0)), misfit
        return self._engine
