"""A disc of dust: what makes the density of a cube fall with the height above the plane."""

from __future__ import annotations

import numpy as np

SCALE_HEIGHT = 120.0  # pc; the V-net paper, section 2.1


def multiplied(density: np.ndarray, cell_length: float) -> np.ndarray:
    """Density times exp(−|z| / 120 pc), averaged over each cell: a disc.

    The V-net paper says that the density is "convolved" with an exponential of this scale height, after the densest
    height has been moved to Z = 0. A convolution makes no disc: dust that is spread alike over all heights stays so and
    is only drawn out into vertical streaks, and where Z = 0 is doesn't matter to it. A product makes the disc that the
    words are for, with its scale height. `convolved` has the words as they stand.

    Parameters
    ----------
    density : ndarray, shape (n, n, n)
        Axis 2 is z, and Z = 0 in the middle.
    cell_length : float
        pc.

    Returns
    -------
    ndarray, shape (n, n, n)
        Of the same type.
    """
    edges = (np.arange(density.shape[2] + 1) - density.shape[2] / 2) * cell_length
    integral = -np.sign(edges) * SCALE_HEIGHT * np.expm1(-np.abs(edges) / SCALE_HEIGHT)
    return density * (np.diff(integral) / cell_length).astype(density.dtype)


def convolved(density: np.ndarray, cell_length: float) -> np.ndarray:
    """Density convolved along z with exp(−|z| / 120 pc), whose weights add up to one over the cells of the cube.

    Parameters and return value as for `multiplied`.
    """
    height = np.arange(density.shape[2]) * cell_length
    weights = np.exp(-np.abs(height[:, None] - height) / SCALE_HEIGHT)
    weights /= weights.sum(axis=1, keepdims=True)
    return density @ weights.T.astype(density.dtype)
