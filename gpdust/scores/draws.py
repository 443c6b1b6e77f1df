"""Scores of joint draws against a known truth: errors, calibration and CRPS, a few rays at a time."""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np
import torch

from gpdust.catalogue import StarCatalogue
from gpdust.errors import PosteriorError
from gpdust.los import integrate
from gpdust.posterior import Posterior
from gpdust.scores.heldout import log_predictive_density
from gpdust.scores.percentiles import STRUCTURE
from gpdust.scores.results import PosteriorScores
from gpdust.scores.tally import Tally
from gpdust.simulate import GridTruth
from gpdust.units import DENSITY, MAGNITUDE, as_array

FEWEST = 39  # draws: below, an interval of 95 % would end outside all of them
CHUNK_VALUES = 10_000_000  # of draws given as an array, scored at once


def posterior_scores(
    posterior: Posterior,
    truth: GridTruth,
    *,
    structure: u.Quantity = STRUCTURE,
    held_out: StarCatalogue | None = None,
    samples: int = 200,
    seed: int = 0,
) -> PosteriorScores:
    """Score a posterior against a known truth, by joint draws on the grid of the truth.

    Draws are made and scored a few rays at a time, so that memory does not grow with the map.

    Parameters
    ----------
    posterior : Posterior
    truth : GridTruth
        Positive density, on any grid that the posterior can be drawn on. Foreground and background cells of the grid
        are drawn, so that they count in the extinction, but not scored.
    structure : Quantity
        A cell with at least this true density counts as dense structure.
    held_out : StarCatalogue, optional
        Stars that the fit did not see, all of them on its grid.
    samples : int
        Joint draws, at least 39. Coverage and CRPS do not depend on their number on average; more make them smoother.
    seed : int

    Returns
    -------
    PosteriorScores

    Raises
    ------
    PosteriorError
        If a true density is not positive, draws are too few, or a star lies off the grid.
    """
    _check_draws(samples)
    tally = Tally(truth, structure, samples)
    for rays, density, extinction in posterior.sample_chunks(truth.grid, samples, seed):
        tally.add(rays, density, extinction)
    if held_out is None or not len(held_out):
        return tally.scores()
    held = log_predictive_density(posterior, held_out, samples, seed)
    return replace(tally.scores(), held_out_stars=len(held_out), held_out_log_density=float(held.mean()))


def draw_scores(
    density: u.Quantity,
    truth: GridTruth,
    extinction: u.Quantity | None = None,
    structure: u.Quantity = STRUCTURE,
) -> PosteriorScores:
    """Score joint draws of any map, gpdust's or another's, against a known truth; see `posterior_scores`.

    Parameters
    ----------
    density : Quantity, shape (draws, ray, cell)
        On the cells of the truth; at least 39 draws.
    truth : GridTruth
        Positive density.
    extinction : Quantity, shape (draws, ray, cell), optional
        At the outer edges of the cells. By default the integral of the density along each ray.
    structure : Quantity
        A cell with at least this true density counts as dense structure.

    Returns
    -------
    PosteriorScores

    Raises
    ------
    PosteriorError
        If a shape does not fit, a true density is not positive, or draws are too few.
    """
    drawn = torch.from_numpy(_draws_on_cells(density, truth, DENSITY, "density"))
    if extinction is None:
        integrated = integrate(drawn, torch.from_numpy(truth.grid.cell_lengths))
    else:
        integrated = torch.from_numpy(_draws_on_cells(extinction, truth, MAGNITUDE, "extinction"))
    if len(drawn) != len(integrated):
        raise PosteriorError(f"there are {len(drawn)} draws of density, but {len(integrated)} of extinction")
    step = max(1, CHUNK_VALUES // (len(drawn) * truth.grid.n_cells))
    tally = Tally(truth, structure, len(drawn))
    for first in range(0, truth.grid.n_rays, step):
        rays = slice(first, first + step)
        tally.add(rays, drawn[:, rays], integrated[:, rays])
    return tally.scores()


def _draws_on_cells(values: u.Quantity, truth: GridTruth, unit: u.UnitBase, name: str) -> np.ndarray:
    draws = as_array(values, unit, name)
    if draws.shape[1:] != truth.grid.shape:
        raise PosteriorError(
            f"draws of {name} have shape {draws.shape}, but the truth has {truth.grid.shape} (rays, cells)"
        )
    _check_draws(len(draws))
    return draws


def _check_draws(count: int) -> None:
    if count < FEWEST:
        raise PosteriorError(
            f"{count} draws are too few to score: with less than {FEWEST} an interval of 95 % ends outside all of them"
        )
