"""Whole sightlines held out of a fit: the honest test of a map where no star of it has looked."""

from __future__ import annotations

import healpy
import numpy as np

from gpdust.catalogue.catalogue import StarCatalogue
from gpdust.errors import CatalogueError
from gpdust.units import DEGREE, as_array


def hold_out_sightlines(
    stars: StarCatalogue, fraction: float, nside: int, seed: int
) -> tuple[StarCatalogue, StarCatalogue]:
    """Split by HEALPix pixel into a part to fit and a part to test with.

    Stars held out one by one (`StarCatalogue.split`) have neighbours that were fitted, a fraction of a parsec away.
    Pixels held out whole ask what the map knows between its sightlines.

    Parameters
    ----------
    stars : StarCatalogue
    fraction : float
        The part of the pixels with stars in them that is held out, between 0 and 1.
    nside : int
        Resolution of the pixels, a power of two: they are 58.6° / nside wide.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    fit, held_out : StarCatalogue
        In the order of the file.

    Raises
    ------
    CatalogueError
        If the fraction or the resolution is impossible.
    """
    if not 0 <= fraction <= 1:
        raise CatalogueError(f"fraction must lie between 0 and 1, not {fraction}")
    if not float(nside).is_integer() or not healpy.isnsideok(int(nside), nest=True):
        raise CatalogueError(f"HEALPix nside must be a power of two, not {nside}")
    nside = int(nside)
    pixel = healpy.ang2pix(nside, as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b"), lonlat=True)
    occupied = np.unique(pixel)
    order = np.random.default_rng(seed).permutation(occupied)
    held_out = np.isin(pixel, order[: round(fraction * len(occupied))])
    return stars[~held_out], stars[held_out]
