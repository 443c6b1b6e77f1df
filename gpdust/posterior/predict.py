"""What the posterior predicts for stars: the extinction that it puts in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpdust.catalogue import StarCatalogue
from gpdust.errors import PosteriorError
from gpdust.los import StarPositions, extinction_at, locate_stars
from gpdust.posterior.estimate import Estimate
from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array, as_quantity

if TYPE_CHECKING:
    from gpdust.posterior.posterior import Posterior


def star_positions(posterior: Posterior, stars: StarCatalogue) -> StarPositions:
    """Cells of stars on the grid of the fit."""
    return locate_stars(
        posterior.grid,
        as_array(stars.l, DEGREE, "l"),
        as_array(stars.b, DEGREE, "b"),
        as_array(stars.distance, PARSEC, "distance"),
    )


def predict(posterior: Posterior, stars: StarCatalogue, samples: int = 100, seed: int = 0) -> Estimate:
    """Posterior of the extinction of stars at their catalogued distances, from joint draws of the map.

    Parameters
    ----------
    posterior : Posterior
    stars : StarCatalogue
        All of them on the grid of the fit (`Posterior.covers` tells which are).
    samples, seed : int

    Returns
    -------
    Estimate, samples of shape (samples, stars)
        mag. Of the map alone: a measurement scatters about it by its own error.

    Raises
    ------
    PosteriorError
        If a star lies off the grid.
    """
    positions = star_positions(posterior, stars)
    outside = np.flatnonzero(~positions.inside)
    if outside.size:
        raise PosteriorError(
            f"{outside.size} of {len(stars)} stars lie off the grid of this fit ({posterior.grid!r}), the first is "
            f"number {outside[0]}; select those on it with stars[posterior.covers(stars)]"
        )
    predicted = np.empty((samples, len(stars)))
    for rays, _, extinction in posterior.sample_chunks(posterior.grid, samples, seed):
        here = np.flatnonzero((positions.ray >= rays.start) & (positions.ray < rays.stop))
        local = StarPositions(positions.ray[here] - rays.start, positions.cell[here], positions.fraction[here])
        predicted[:, here] = extinction_at(extinction, local).numpy()
    return Estimate(as_quantity(predicted, MAGNITUDE))
