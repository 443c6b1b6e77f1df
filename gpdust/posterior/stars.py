"""What a posterior says of each star: where it is, what dust it sees, and whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from gpdust.catalogue import StarCatalogue
from gpdust.errors import PosteriorError
from gpdust.units import MAGNITUDE, PARSEC

if TYPE_CHECKING:
    from gpdust.posterior.posterior import Posterior

PERCENTILES = ("p16", "p50", "p84")


def star_table(posterior: Posterior, stars: StarCatalogue, samples: int = 20, seed: int = 0) -> QTable:
    """Distance, extinction, residual and outlier probability of every star that the fit uses.

    Parameters
    ----------
    posterior : Posterior
        Its `treatment` says what is done with distance errors and outliers.
    stars : StarCatalogue
        Those of the fit, or others.
    samples : int
        Joint draws of the map over which results are averaged.
    seed : int

    Returns
    -------
    QTable
        A row for each star used, in the order of the catalogue: `row` (of the catalogue), `distance_p16`, `_p50`,
        `_p84` (given measurement, distance prior, extinction and map, pc), `extinction_p16`, `_p50`, `_p84` (of the
        map at the star, mag), `residual` (measured − predicted over the error), `outlier_probability` (of being a bad
        star of the mixture; for a Student-t the weight that the star loses; 0 for Gaussian noise).

    Raises
    ------
    PosteriorError
        If no star lies on the grid of the fit.
    """
    likelihood = posterior.treatment.star_by_star(stars, posterior.grid)
    if not likelihood.n_stars:
        raise PosteriorError(f"none of the {len(stars)} stars lies on the grid of this fit ({posterior.grid!r})")
    parts = []
    for rays, _, extinction in posterior.sample_chunks(posterior.grid, samples, seed):
        some = likelihood[rays]
        if some.n_stars:
            parts.append(some.star_results(extinction))
    number = np.concatenate([part.number for part in parts])
    order = np.argsort(number)

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])[order]

    table = QTable({"row": np.asarray(stars.row)[number[order]]})
    for name, unit in (("distance", PARSEC), ("extinction", MAGNITUDE)):
        for place, percentile in enumerate(PERCENTILES):
            table[f"{name}_{percentile}"] = column(name)[:, place] * unit
    table["residual"] = column("residual")
    table["outlier_probability"] = column("outlier")
    words = {key: posterior.meta[key] for key in ("band", "quantity", "reference") if posterior.meta.get(key)}
    table.meta = {"SAMPLES": samples, "SEED": seed, **{key[:8].upper(): value for key, value in words.items()}}
    return table
