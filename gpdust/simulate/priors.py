"""Truths drawn from a prior: the one case in which a fit with that prior should be calibrated exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gpdust.grid import RayGrid
from gpdust.prior import SampledVolume
from gpdust.simulate.streams import stream
from gpdust.simulate.truth import GridTruth
from gpdust.units import DENSITY, as_quantity

if TYPE_CHECKING:
    from gpdust.prior import InducingGP, SpectralGP

CHUNK_POINTS = 20_000  # a thousand inducing points make a matrix of 160 MB of these


def prior_truth(prior: InducingGP | SpectralGP, grid: RayGrid, seed: int) -> GridTruth:
    """Draw the density of every cell of a grid from a prior with its starting hyperparameters.

    Parameters
    ----------
    prior : InducingGP or SpectralGP
        Where it has not been placed yet, inducing points or box are placed over the whole grid.
    grid : RayGrid
        Cells of the truth. A fit on the same cells, with this prior and `learn=False`, has no error but its own.
    seed : int
        The same seed gives the same truth.

    Returns
    -------
    GridTruth
        10^φ at the centres of the cells, with the prior's independent residual in each cell.
    """
    placed = prior.placed(SampledVolume(grid, np.zeros(grid.shape, dtype=np.int64)), seed)
    generator = stream(seed, "density")
    latent = torch.from_numpy(generator.standard_normal(placed.latent_size))
    log_density = np.empty(grid.shape)
    step = max(1, CHUNK_POINTS // grid.n_cells)
    for first in range(0, grid.n_rays, step):
        rays = slice(first, first + step)
        points = torch.from_numpy(grid.cell_points(rays)).reshape(-1, 3)
        with torch.no_grad():
            linear_map = placed.at(points)
            values = linear_map.log_density(latent).numpy()
            residual = linear_map.residual_variance.sqrt().numpy() * generator.standard_normal(len(points))
        log_density[rays] = (values + residual).reshape(-1, grid.n_cells)
    return GridTruth(grid, as_quantity(10**log_density, DENSITY))
