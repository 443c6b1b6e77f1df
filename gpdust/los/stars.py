"""Where stars sit on the rays, and the extinction that they see there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gpdust.grid import RayGrid


@dataclass(frozen=True)
class StarPositions:
    """The cell of each star, and how far into the cell it lies.

    Attributes
    ----------
    ray, cell : ndarray of int, shape (stars,)
        Indices on the grid; −1 for both where the star lies outside.
    fraction : ndarray, shape (stars,)
        (d − d_k) / Δd_k, between 0 and 1; 0 for stars outside.
    """

    ray: np.ndarray
    cell: np.ndarray
    fraction: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Which stars lie on the grid, boolean, shape (stars,)."""
        return self.ray >= 0

    def __getitem__(self, which: np.ndarray) -> StarPositions:
        return StarPositions(self.ray[which], self.cell[which], self.fraction[which])


def locate_stars(grid: RayGrid, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> StarPositions:
    """Find the cell of each star.

    Parameters
    ----------
    grid : RayGrid
        Where to look.
    l, b : ndarray, shape (stars,)
        Degrees.
    distance : ndarray, shape (stars,)
        pc.

    Returns
    -------
    StarPositions
    """
    ray = grid.locate_rays(l, b)
    cell = grid.locate_cells(distance)
    inside = (ray >= 0) & (cell >= 0)
    ray, cell = np.where(inside, ray, -1), np.where(inside, cell, -1)
    fraction = np.where(inside, (distance - grid.edges[cell]) / grid.cell_lengths[cell], 0.0)
    return StarPositions(ray, cell, fraction)


def extinction_at(extinction: torch.Tensor, stars: StarPositions) -> torch.Tensor:
    """Extinction of stars, linear inside their cell: A = A_k + (A_{k+1} − A_k) (d − d_k) / Δd_k.

    Parameters
    ----------
    extinction : Tensor, shape (..., ray, cell)
        At the outer edges, as `los.integrate` returns it.
    stars : StarPositions
        All of them on the grid.

    Returns
    -------
    Tensor, shape (..., stars)

    Notes
    -----
    Dharmawardena et al. (2022), eq. 8, with the division by Δd_k that their public code leaves out.
    """
    ray = torch.from_numpy(stars.ray).to(extinction.device)
    cell = torch.from_numpy(stars.cell).to(extinction.device)
    fraction = torch.from_numpy(stars.fraction).to(extinction)
    outer = extinction[..., ray, cell]
    inner = torch.where(cell > 0, extinction[..., ray, cell - 1], 0.0)
    return inner + fraction * (outer - inner)
