"""Density and extinction at given places, in the manner of the dustmaps package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from astropy.coordinates import SkyCoord

from gpdust.errors import PosteriorError
from gpdust.grid import RayGrid
from gpdust.grid.coordinates import cartesian
from gpdust.los import StarPositions, extinction_at, integrate
from gpdust.posterior.estimate import Estimate
from gpdust.posterior.residual import ray_chunks, residual_noise
from gpdust.units import DEGREE, DENSITY, MAGNITUDE, PARSEC, as_array, as_quantity

if TYPE_CHECKING:
    from gpdust.posterior.posterior import Posterior


def query(posterior: Posterior, coordinates: SkyCoord, samples: int = 100, seed: int = 0) -> tuple[Estimate, Estimate]:
    """Posterior of the density at given places and of the extinction from the Sun to them.

    Parameters
    ----------
    posterior : Posterior
    coordinates : SkyCoord
        In any frame, with distances; any shape.
    samples : int
        Joint draws: the density and extinction of all places are correlated as they should be.
    seed : int

    Returns
    -------
    density : Estimate, samples of shape (samples, *shape)
        mag/pc.
    extinction : Estimate, samples of shape (samples, *shape)
        mag, integrated over the cells of the fit along each sightline.

    Raises
    ------
    PosteriorError
        If a place has no distance, or lies outside the region of the fit.
    """
    galactic = coordinates.galactic.copy()
    galactic.representation_type = "spherical"
    if galactic.distance.unit.is_equivalent(""):
        raise PosteriorError("a query needs distances: SkyCoord(l=…, b=…, distance=…, frame='galactic')")
    l, b = as_array(galactic.l, DEGREE, "l").ravel(), as_array(galactic.b, DEGREE, "b").ravel()
    distance = as_array(galactic.distance, PARSEC, "distance").ravel()
    column, cell = _locate_inside(posterior.grid, l, b, distance)
    grid = RayGrid(l * DEGREE, b * DEGREE, posterior.grid.distance_edges)
    fraction = (distance - grid.edges[cell]) / grid.cell_lengths[cell]
    fields = posterior.fields(samples, seed)
    lengths = torch.from_numpy(grid.cell_lengths)
    density, extinction = [torch.empty(samples, 0)], [torch.empty(samples, 0)]
    for rays in ray_chunks(grid, max(samples, posterior.prior.row_width)):
        places = torch.from_numpy(cartesian(grid.ray_l[rays], grid.ray_b[rays], distance[rays]))
        cells = torch.from_numpy(grid.cell_points(rays)).reshape(-1, 3)
        noise, own_noise = None, None
        if fields.has_residual:
            noise = residual_noise(column[rays], samples, grid.n_cells, seed)
            own_noise = noise[:, torch.arange(len(places)), torch.from_numpy(cell[rays])]
            noise = noise.flatten(1)
        density.append(fields.density(places, own_noise))
        along = fields.density(cells, noise).unflatten(-1, (-1, grid.n_cells))
        positions = StarPositions(np.arange(len(places)), cell[rays], fraction[rays])
        extinction.append(extinction_at(integrate(along, lengths), positions))
    shape = (samples, *coordinates.shape)
    return (
        Estimate(as_quantity(torch.cat(density, dim=-1).reshape(shape), DENSITY)),
        Estimate(as_quantity(torch.cat(extinction, dim=-1).reshape(shape), MAGNITUDE)),
    )


def _locate_inside(grid: RayGrid, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ray and cell of each place; an error says which places lie outside, and outside of what."""
    column, cell = grid.locate_rays(l, b), grid.locate_cells(distance)
    near, far = grid.edges[[grid.interior_cells.start, grid.interior_cells.stop]]
    outside = np.flatnonzero((cell < 0) | (column < 0) | (distance < near) | (distance > far))
    if outside.size:
        first = outside[0]
        raise PosteriorError(
            f"{outside.size} of {l.size} places lie outside the region of this fit ({grid.interior!r}); the first is "
            f"number {first}: l = {l[first]:.4f}°, b = {b[first]:.4f}°, d = {distance[first]:.2f} pc"
        )
    return column, cell
