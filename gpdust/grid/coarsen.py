"""Fewer, larger cells: groups of neighbouring rays, and runs of cells along them."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from scipy.cluster.vq import kmeans2

from gpdust.grid.rays import FULL_SKY, RayGrid
from gpdust.units import DEGREE, PARSEC, as_array, as_quantity


@dataclass(frozen=True)
class Coarsening:
    """A coarse grid, and where the cells of the fine one went.

    Attributes
    ----------
    grid : RayGrid
        Rays in the mean directions of their groups.
    group : ndarray of int, shape (fine rays,)
        Coarse ray of each fine one.
    """

    grid: RayGrid
    group: np.ndarray


def coarsen(grid: RayGrid, cells: int, seed: int = 0) -> Coarsening:
    """Coarsen a grid to about so many cells, about as long as they are wide.

    Parameters
    ----------
    grid : RayGrid
    cells : int
        How many to have at most; a grid of fewer is returned as it is.
    seed : int
        For the k-means of directions.

    Returns
    -------
    Coarsening
        Its distance edges are a subset of the grid's.
    """
    if grid.n_rays * grid.n_cells <= cells:
        return Coarsening(grid, np.arange(grid.n_rays))
    edges = grid.edges
    solid_angle = as_array(grid.solid_angle, u.sr, "solid_angle")
    depth, middle = edges[-1] - edges[0], 0.5 * (edges[-1] + edges[0])
    along = (cells * depth**2 / (min(solid_angle.sum(), FULL_SKY) * middle**2)) ** (1 / 3)
    along = int(np.clip(round(along), -(-cells // (2 * grid.n_rays)), min(grid.n_cells, cells)))
    wanted = np.linspace(edges[0], edges[-1], along + 1)
    kept = np.unique(np.abs(edges - wanted[:, None]).argmin(-1))
    n_rays = max(1, cells // (len(kept) - 1))
    group = np.arange(grid.n_rays) if n_rays >= grid.n_rays else _groups(grid, n_rays, seed)
    directions = _sums(group, grid.cell_points()[:, -1] * solid_angle[:, None])
    l, b = np.arctan2(directions[:, 1], directions[:, 0]), np.arctan2(directions[:, 2], np.hypot(*directions[:, :2].T))
    coarse = RayGrid(
        np.rad2deg(l) * DEGREE,
        np.rad2deg(b) * DEGREE,
        as_quantity(edges[kept], PARSEC),
        _sums(group, solid_angle) * u.sr,
    )
    return Coarsening(coarse, group)


def _groups(grid: RayGrid, count: int, seed: int) -> np.ndarray:
    """Group of each ray, by k-means of the directions."""
    far = grid.cell_points()[:, -1]
    unit = far / np.linalg.norm(far, axis=-1, keepdims=True)
    rng = np.random.default_rng(seed)
    centres = unit[rng.choice(len(unit), count, replace=False)]
    _, group = kmeans2(unit, centres, iter=10, minit="matrix", missing="warn")
    return np.unique(group, return_inverse=True)[1]


def _sums(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    totals = np.zeros((group.max() + 1, *values.shape[1:]))
    np.add.at(totals, group, values)
    return totals
