"""Galactic spherical coordinates to heliocentric Cartesian ones: x towards the Galactic centre, z towards the pole."""

import numpy as np


def cartesian(l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Heliocentric Cartesian positions.

    Parameters
    ----------
    l, b : ndarray
        Galactic longitude and latitude, radians.
    distance : ndarray
        Distance from the Sun, pc. The three broadcast against each other.

    Returns
    -------
    ndarray
        x, y, z in pc along a new last axis.
    """
    in_plane = distance * np.cos(b)
    return np.stack(np.broadcast_arrays(in_plane * np.cos(l), in_plane * np.sin(l), distance * np.sin(b)), axis=-1)
