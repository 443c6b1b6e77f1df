"""Where a fit starts when a V-net has looked at the stars first."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from gpdust.catalogue import StarCatalogue
from gpdust.encoder.accuracy import log_density
from gpdust.encoder.cube import CubeGrid
from gpdust.encoder.encoder import Encoder
from gpdust.encoder.neighbours import ExtinctionCube, positions_in
from gpdust.encoder.reconstruction import image_space_reconstruction
from gpdust.encoder.tiles import cover
from gpdust.errors import EncoderError
from gpdust.grid import RayGrid
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.objective import Objective
from gpdust.inference.response import Response
from gpdust.inference.start import Start, projected
from gpdust.los.cartesian import cell_centres
from gpdust.model import DustModel
from gpdust.units import MAGNITUDE, PARSEC, as_array

CELLS = 32
LARGE = 19.0  # pc: cells from which on the net of large regions is the nearer one (between 6 and 60 pc, in logarithm)
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way from the prior's mean to a guess
AGREED_ERROR = 0.3  # dex, of a guess that agrees with the stars, and with their noise
EMPTIEST = 0.3  # dex below the prior's mean: how much emptier a void is, stars can't tell
CLEAR_ERROR = 0.01  # mag, of the knowledge that there is no dust in front of a region


def seed(stars: StarCatalogue, model: DustModel, encoder: Encoder | None = None) -> Start | None:
    """Start a fit where a V-net sees the dust.

    The net's log-density is read at the model's cells and made to agree with the stars, with and without holes. These
    guesses and the net's own, each cell with the error that the net showed in its validation where stars knew as much,
    are projected on the model's prior. From the prior's mean the start goes towards the best of them as far as the
    stars and the prior together gain by it: a few cells that the net sees too dense may spoil the whole guess.

    Parameters
    ----------
    stars : StarCatalogue
        Those of the model.
    model : DustModel
        With either prior.
    encoder : Encoder, optional
        By default that of the package whose cells are nearest in length.

    Returns
    -------
    Start or None
        For `gpdust.fit(model, start=…)`, with any engine. None where the stars find the prior's mean as likely; a
        fit then starts as it would have.

    Raises
    ------
    EncoderError
        If the package has no weights, or no star lies where the cubes of its nets are.
    """
    guess, error = (torch.from_numpy(found).flatten() for found in guessed(stars, model.grid, encoder))
    if not error.isfinite().any():
        raise EncoderError("no star of the model lies where a V-net's cubes are")
    start = Start.at_prior(model.prior)
    cells, response = PriorOnCells(model, start.theta), Response(model)
    agreed, seen = image_space_reconstruction(torch.where(error.isfinite(), guess, cells.offset), response)
    filled = torch.maximum(agreed, cells.offset - EMPTIEST)  # a fit climbs out of holes slowly, all cells with it
    known = torch.where(seen, AGREED_ERROR, math.inf)
    means = [projected(guess, error, cells), projected(agreed, known, cells), projected(filled, known, cells)]
    objective, nothing = Objective(cells, response), torch.empty(0, len(start.mean), dtype=torch.float64)
    places = [start.mean] + [start.mean.lerp(mean, share) for mean in means for share in SHARES]
    values = [objective.slope(objective.place(place, nothing))[0] for place in places]
    best = int(np.argmin(np.nan_to_num(values, nan=np.inf)))
    return Start(places[best], start.theta) if best else None


def guessed(stars: StarCatalogue, grid: RayGrid, encoder: Encoder | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Log-density of a V-net on the cells of a grid, and its error.

    Parameters
    ----------
    stars : StarCatalogue
    grid : RayGrid
    encoder : Encoder, optional

    Returns
    -------
    log_density, error : ndarray, shape (ray, cell)
        Dex; where no cube reaches, the error is infinite.
    """
    centres = (grid.edges[1:] + grid.edges[:-1]) / 2
    shape = (grid.n_rays, grid.n_cells)
    l = np.broadcast_to(np.rad2deg(grid.ray_l)[:, None], shape).ravel()
    b = np.broadcast_to(np.rad2deg(grid.ray_b)[:, None], shape).ravel()
    distance = np.broadcast_to(centres, shape).ravel()
    encoder = encoder or _nearest_encoder(grid.edges[-1] / CELLS)
    guess, error = np.zeros(distance.shape), np.full(distance.shape, np.inf)
    clear = 0.0 if grid.interior_cells.start else grid.edges[0]  # pc: up to there the model has no dust
    for cube, mine in cover(l, b, distance, CELLS, encoder.in_plane):
        try:
            seen = _seen(stars, cube, clear, encoder.neighbours)
        except EncoderError:  # no star there: the prior knows as much
            continue
        density = encoder.density(seen.extinction, seen.information, cube.cell_length)
        where = cube.to_cube(l[mine], b[mine], distance[mine]).T - 0.5  # array indices count cell centres
        guess[mine] = map_coordinates(log_density(density), where, order=1, mode="nearest")
        known = map_coordinates(np.log1p(seen.information), where, order=1, mode="nearest")
        error[mine] = encoder.accuracy.at(known)
    return guess.reshape(shape), error.reshape(shape)


def _seen(stars: StarCatalogue, cube: CubeGrid, clear: float, neighbours: int | None) -> ExtinctionCube:
    """Extinction of a cube, with what is known of the cells nearer than `clear` (pc): that no dust is there."""
    positions, inside = positions_in(stars, cube, as_array(stars.distance, PARSEC, "distance"))
    extinction, sigma = (
        as_array(getattr(stars, name), MAGNITUDE, name)[inside] for name in ("extinction", "extinction_error")
    )
    centres = cell_centres(cube.cells)
    centres = centres[np.linalg.norm(centres - cube.sun, axis=1) * cube.cell_length < clear]
    nothing = np.zeros(len(centres))
    return ExtinctionCube.of(
        np.concatenate([positions, centres]),
        np.concatenate([extinction, nothing]),
        np.concatenate([sigma, nothing + CLEAR_ERROR]),
        cube.cells,
        neighbours,
    )


def _nearest_encoder(cell_length: float) -> Encoder:
    return Encoder.packaged("large-region" if cell_length > LARGE else "small-region")
