"""What a scatter in proportion to extinction is a share of: the extinction of a star and of those like it about it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from gpdust.grid.coordinates import cartesian

NEIGHBOURS = 16  # the star itself among them: its own noise then makes a 16th of what its weight is made of
ALIKE = 3.0  # ratio of extinctions beyond which two stars are not behind the same dust
AT_ONCE = 100_000  # stars, to bound memory


def local_extinction(l: np.ndarray, b: np.ndarray, distance: np.ndarray, extinction: np.ndarray) -> np.ndarray:
    """Mean extinction of each star's nearest neighbours whose extinction is like its own.

    A star's own measurement will not do: where it came out too low by chance, so would its error, and a weighted mean
    of stars with a scatter p A is too low by the share 2 p². Neighbours behind other dust, as at a cloud's edge or with
    wrong distances, are left out by their extinction.

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
        mag; a star's own where no other is like it, or its own is not positive.
    """
    points, found = cartesian(np.deg2rad(l), np.deg2rad(b), distance), np.array(extinction, dtype=float)
    if len(found) < 2:
        return found
    tree = cKDTree(points)
    for start in range(0, len(found), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        _, near = tree.query(points[some], k=min(NEIGHBOURS, len(found)), workers=-1)
        own, others = extinction[some, None], extinction[near]
        alike = (others > own / ALIKE) & (others < own * ALIKE)
        count = alike.sum(axis=1)
        mean = np.sum(others, axis=1, where=alike) / np.maximum(count, 1)
        found[some] = np.where(count > 0, mean, found[some])
    return found
