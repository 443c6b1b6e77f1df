"""The statistics of the stars on a coarser grid, from those on a fine one."""

from __future__ import annotations

import numpy as np
import torch

from gpdust.grid import RayGrid
from gpdust.grid.coarsen import Coarsening
from gpdust.likelihood.statistics import ExtinctionStatistics


def coarsen_statistics(statistics: ExtinctionStatistics, grid: RayGrid, coarsening: Coarsening) -> ExtinctionStatistics:
    """Compress again: W → PᵀWP and h → Pᵀh, where P interpolates extinction from coarse edges to fine ones.

    Exact for an extinction that is linear within coarse cells and the same on all rays of a group; W stays tridiagonal,
    since neighbouring fine edges lie in one coarse cell.

    Parameters
    ----------
    statistics : ExtinctionStatistics
        On `grid`.
    grid : RayGrid
    coarsening : Coarsening
        Of that grid.

    Returns
    -------
    ExtinctionStatistics
    """
    edges, coarse = grid.edges, coarsening.grid.edges
    cell = np.searchsorted(coarse, edges[1:], side="left") - 1  # of the outer edge of each fine cell
    length = np.diff(coarse)[cell]
    outer = torch.from_numpy((edges[1:] - coarse[cell]) / length)
    outer_before = torch.from_numpy((edges[:-1] - coarse[cell]) / length)  # of the edge before it, in the same cell
    inner, inner_before = 1 - outer, 1 - outer_before

    index = torch.from_numpy(coarsening.group[:, None] * coarsening.grid.n_cells + cell[None])

    def total(values: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(coarsening.grid.n_rays * coarsening.grid.n_cells, dtype=values.dtype)
        return sums.index_add_(0, index.flatten(), values.flatten()).reshape(coarsening.grid.shape)

    diagonal, pair = statistics.diagonal, statistics.coupling
    coupling = total(diagonal * outer * inner + pair * (outer * inner_before + outer_before * inner))
    coupling[:, 0] = 0
    folded = total(diagonal * outer**2 + 2 * pair * outer * outer_before)
    folded[:, :-1] += total(diagonal * inner**2 + 2 * pair * inner * inner_before)[:, 1:]
    weighted = total(statistics.weighted * outer)
    weighted[:, :-1] += total(statistics.weighted * inner)[:, 1:]
    counts = total(statistics.counts)
    return ExtinctionStatistics(folded, coupling, weighted, statistics.squares, statistics.normalisation, counts)
