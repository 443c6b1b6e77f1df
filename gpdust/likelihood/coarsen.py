"""The statistics of the stars on a coarser grid, from those on a fine one."""

from __future__ import annotations

import numpy as np
import torch

from gpdust.grid import RayGrid
from gpdust.grid.coarsen import Coarsening
from gpdust.likelihood.information import Tridiagonal


def fold(
    precision: Tridiagonal, weighted: torch.Tensor, counts: torch.Tensor, grid: RayGrid, coarsening: Coarsening
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compress again: W → PᵀWP and h → Pᵀh, where P interpolates extinction from coarse edges to fine ones.

    Exact for an extinction that is linear within coarse cells and the same on all rays of a group; W stays tridiagonal,
    since neighbouring fine edges lie in one coarse cell.

    Parameters
    ----------
    precision : Tridiagonal
        W.
    weighted, counts : Tensor, shape (ray, cell)
        h, and stars per cell.
    grid : RayGrid
        On which they are.
    coarsening : Coarsening
        Of that grid.

    Returns
    -------
    diagonal, coupling, weighted, counts : Tensor, shape (coarse ray, coarse cell)
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

    diagonal, pair = precision.diagonal, precision.coupling
    coupling = total(diagonal * outer * inner + pair * (outer * inner_before + outer_before * inner))
    coupling[:, 0] = 0
    folded = total(diagonal * outer**2 + 2 * pair * outer * outer_before)
    folded[:, :-1] += total(diagonal * inner**2 + 2 * pair * inner * inner_before)[:, 1:]
    folded_weighted = total(weighted * outer)
    folded_weighted[:, :-1] += total(weighted * inner)[:, 1:]
    return folded, coupling, folded_weighted, total(counts)
