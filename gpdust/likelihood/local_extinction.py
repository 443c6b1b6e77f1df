"""What a scatter in proportion to extinction is a share of: the extinction about a star."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from gpdust.grid.coordinates import cartesian

NEIGHBOURS = 15
ALIKE = 3.0  # ratio of extinctions beyond which two stars are not behind the same dust
AT_ONCE = 100_000  # stars, to bound memory


def local_extinction(l: np.ndarray, b: np.ndarray, distance: np.ndarray, extinction: np.ndarray) -> np.ndarray:
    """Median extinction of each star's nearest neighbours, without the star itself.

    A star's own measurement will not do: where it came out too low by chance, so would its error, and a weighted mean
    of stars with a scatter p A is too low by the share 2 p². Only a star that has far more extinction than its
    neighbours, as one behind a cloud whose distance seems to lie in front of it, goes with those of them that have as
    much, or by itself. One that has far less does not: its scatter is overrated, which does no harm.

    Parameters
    ----------
    l, b : ndarray, shape (stars,)
        Degrees.
    distance : ndarray, shape (stars,)
        pc.
    extinction : ndarray, shape (stars,)
        Measured, mag.

    Returns
    -------
    ndarray, shape (stars,)
        mag
    """
    points, found = cartesian(np.deg2rad(l), np.deg2rad(b), distance), np.array(extinction, dtype=float)
    if len(found) < 2:
        return found
    tree = cKDTree(points)
    for start in range(0, len(found), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        _, near = tree.query(points[some], k=min(NEIGHBOURS + 1, len(found)), workers=-1)
        itself = near == np.arange(len(found))[some, None]
        itself[~itself.any(axis=1), -1] = True  # of several at the same place, one is left out
        own, others = extinction[some], extinction[near[~itself].reshape(len(near), -1)]
        median = np.median(others, axis=1)
        alike = (others > own[:, None] / ALIKE) & (others < own[:, None] * ALIKE)
        with_it = (own + np.sum(others, axis=1, where=alike)) / (1 + alike.sum(axis=1))
        found[some] = np.where(own > ALIKE * median, with_it, median)
    return found
