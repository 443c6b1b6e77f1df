"""The pass that predicts stars: their extinction before it is measured, over draws, distances and noise; compiled.

Compiled code is kept on disk by file: after a change to `noise_tails` or `star_pass`, save this file anew too.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from gpdust.checks.noise_tails import noise_tails
from gpdust.likelihood.noise_density import MIXTURE, NoiseNumbers
from gpdust.likelihood.star_pass import INFINITE, StarArrays, edge_extinction, error_variances

BELOW, ABOVE, MATCHED_BELOW, MATCHED_ABOVE, MEAN, VARIANCE, COLUMNS = range(7)


@njit(cache=True, error_model="numpy", parallel=True)
def predictive_pass(
    stars: StarArrays, noise: NoiseNumbers, table: np.ndarray, extinction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predict every star from its prior distance weights.

    Parameters
    ----------
    stars : StarArrays
    noise : NoiseNumbers
    table : ndarray
        See `log_tails`.
    extinction : ndarray, shape (draws, rays, cells)
        At the outer edges, mag.

    Returns
    -------
    rows : ndarray, shape (stars, columns)
        Probability below and above the measurement; the same with a Gaussian of the draws' mean and variance at each
        node in place of the draws; mean and variance of the predicted extinction, mag and mag².
    centre : ndarray, shape (stars, draws)
        Extinction of each draw at the star, averaged over its distances, mag.
    """
    rows = np.zeros((len(stars.measured), COLUMNS))
    centre = np.zeros((len(stars.measured), len(extinction)))
    for ray in prange(extinction.shape[1]):
        add_ray(stars, noise, table, ray, extinction[:, ray], rows, centre)
    return rows, centre


@njit(cache=True, error_model="numpy")
def add_ray(
    stars: StarArrays,
    noise: NoiseNumbers,
    table: np.ndarray,
    ray: int,
    extinction: np.ndarray,
    rows: np.ndarray,
    centre: np.ndarray,
) -> None:
    """Predict the stars of one ray, from draws of its extinction, shape (draws, cells)."""
    draws = len(extinction)
    edges = np.empty((extinction.shape[1] + 2, draws))  # draws run fastest: they are the inner loop
    for draw in range(draws):
        edges[:, draw] = np.minimum(edge_extinction(extinction[draw], stars.beyond), INFINITE)
    for star in range(stars.star_start[ray], stars.star_start[ray + 1]):
        low, up = error_variances(stars, noise, star)
        square = 0.0
        for node in range(stars.node_start[star], stars.node_start[star + 1]):
            cell = stars.cell[node]
            square += add_node(
                stars, noise, table, star, node, low, up, edges[cell], edges[cell + 1], rows[star], centre[star]
            )
        rows[star, VARIANCE] = max(square - rows[star, MEAN] ** 2, 0.0) + 0.5 * (low + up)


@njit(cache=True, error_model="numpy")
def add_node(
    stars: StarArrays,
    noise: NoiseNumbers,
    table: np.ndarray,
    star: int,
    node: int,
    low: float,
    up: float,
    inner: np.ndarray,
    outer: np.ndarray,
    row: np.ndarray,
    centre: np.ndarray,
) -> float:
    """Add one node of a star, for draws of the extinction at its cell's edges; returns its share of E[c²].

    A Gaussian of the same mean and variance says how probable a measurement is where no draw comes near to it.
    """
    draws, weight, fraction, variance = len(inner), stars.weight[node], stars.fraction[node], stars.variance[node]
    code, measured, first = noise.code, stars.measured[star], inner[0] + fraction * (outer[0] - inner[0])
    share, width = (noise.shape[0], noise.shape[1]) if code == MIXTURE else (0.0, 0.0)
    lower, upper, total, square, scatter = 0.0, 0.0, 0.0, 0.0, 0.0
    for draw in range(draws):
        jump = outer[draw] - inner[draw]
        seen, inside = inner[draw] + fraction * jump, variance * jump * jump
        below, above = noise_tails(code, share, width, table, measured - seen, low + inside, up + inside)
        lower += below
        upper += above
        centre[draw] += weight * seen
        total += seen - first
        square += (seen - first) ** 2
        scatter += inside
    mean = first + total / draws
    spread = (max(square - total**2 / draws, 0.0) + scatter) / draws
    row[BELOW] += weight * lower / draws
    row[ABOVE] += weight * upper / draws
    below, above = noise_tails(code, share, width, table, measured - mean, low + spread, up + spread)
    row[MATCHED_BELOW] += weight * below
    row[MATCHED_ABOVE] += weight * above
    row[MEAN] += weight * mean
    return weight * (mean**2 + spread)
