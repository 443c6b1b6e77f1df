"""Scores of joint draws, added up a few rays at a time."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import torch

from gpdust.errors import PosteriorError
from gpdust.scores.formulas import (
    LEVELS,
    bias_and_scatter,
    crps_of_ordered,
    median_and_p90,
    rank_coverage,
    relative_error,
)
from gpdust.scores.results import PosteriorScores
from gpdust.simulate import GridTruth
from gpdust.units import DENSITY, MAGNITUDE, as_array, as_float


class Tally:
    """What draws of some rays add to the scores of all.

    Parameters
    ----------
    truth : GridTruth
        Positive density; foreground and background cells are not scored.
    structure : Quantity
        A cell with at least this true density counts as dense structure.
    draws : int
        How many there are of every ray.

    Raises
    ------
    PosteriorError
        If a true density is not positive.
    """

    def __init__(self, truth: GridTruth, structure: u.Quantity, draws: int) -> None:
        self._inner = truth.grid.interior_cells
        self._density = as_array(truth.density, DENSITY, "density")[:, self._inner]
        self._extinction = as_array(truth.extinction, MAGNITUDE, "extinction")[:, self._inner]
        if not (self._density > 0).all():
            raise PosteriorError("the true density must be positive everywhere: errors are relative to it")
        self._dense = self._density >= as_float(structure, DENSITY, "structure")
        self._draws = draws
        self._median_density, self._median_extinction = np.empty_like(self._density), np.empty_like(self._density)
        # At position r, how many cells have r draws below the truth: density, density in structure, extinction.
        self._ranks = np.zeros((3, draws + 1))
        self._crps = np.zeros(3)  # sums over cells: log density, density, extinction

    def add(self, rays: slice, density: torch.Tensor, extinction: torch.Tensor) -> None:
        """Score the draws of some rays, shapes (draws, rays, cells), margins included."""
        density = np.sort(density[..., self._inner].numpy(), axis=0)
        extinction = np.sort(extinction[..., self._inner].numpy(), axis=0)
        true_density, true_extinction = self._density[rays], self._extinction[rays]
        self._median_density[rays] = np.median(density, axis=0)
        self._median_extinction[rays] = np.median(extinction, axis=0)
        below = np.sum(density < true_density, axis=0)
        below_extinction = np.sum(extinction < true_extinction, axis=0)
        for counts, here in zip(self._ranks, (below, below[self._dense[rays]], below_extinction), strict=True):
            counts += np.bincount(here.ravel(), minlength=self._draws + 1)
        self._crps += (
            crps_of_ordered(np.log10(density), np.log10(true_density)).sum(),
            crps_of_ordered(density, true_density).sum(),
            crps_of_ordered(extinction, true_extinction).sum(),
        )

    def scores(self) -> PosteriorScores:
        """The scores, once all rays have been added."""
        error, dense = relative_error(self._median_density, self._density), self._dense
        coverages = (
            {level: rank_coverage(counts, level) for level in LEVELS} if counts.any() else None
            for counts in self._ranks
        )
        return PosteriorScores(
            error.size,
            int(dense.sum()),
            self._draws,
            *median_and_p90(error),
            *(median_and_p90(error[dense]) if dense.any() else (None, None)),
            *bias_and_scatter(self._median_extinction, self._extinction),
            *coverages,
            *(self._crps / error.size).tolist(),
        )
