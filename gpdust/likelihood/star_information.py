"""Expected Fisher information of the stars on the extinctions at cell edges: the curvature that a fit should use.

F = Σ_i E[s_i s_iᵀ] with s_i = ∂log L_i/∂A, over measurements that the map itself would give. The scores of the real
measurements are not used: they are noisy, and take a misfit for information.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from gpdust.likelihood.noise_density import NoiseNumbers, at_ratio
from gpdust.likelihood.star_pass import (
    COLUMNS,
    INFINITE,
    StarArrays,
    add_slope,
    edge_extinction,
    error_variances,
    weigh_nodes,
    widest,
)

NEGLIGIBLE = 1e-9  # of the largest score of a star
GOLDEN = (math.sqrt(5) - 1) / 2


@njit(cache=True, error_model="numpy", parallel=True)
def information_pass(stars: StarArrays, noise: NoiseNumbers, extinction: np.ndarray, quantiles: int) -> np.ndarray:
    """Expected information of each ray's stars.

    Each star is simulated at a few quantiles of its distance, which a golden-ratio sequence shifts from star to star,
    and at deviations ±ε at which the mean squared score of the noise is its Fisher information, so that a star of
    known distance gives its information exactly.

    Parameters
    ----------
    stars : StarArrays
    noise : NoiseNumbers
    extinction : ndarray, shape (rays, cells)
        At the outer edges, mag.
    quantiles : int
        Of each star's distance.

    Returns
    -------
    ndarray, shape (rays, cells, cells)
        mag⁻².
    """
    rays, cells = extinction.shape
    information = np.zeros((rays, cells, cells))
    for ray in prange(rays):
        add_information(stars, noise, ray, extinction[ray], quantiles, information[ray])
    return information


@njit(cache=True, error_model="numpy")
def add_information(
    stars: StarArrays, noise: NoiseNumbers, ray: int, extinction: np.ndarray, quantiles: int, information: np.ndarray
) -> None:
    """Add the information of the stars of one ray."""
    cells = len(extinction)
    nodes = np.empty((COLUMNS, widest(stars, ray)))
    edges, score = edge_extinction(extinction, stars.beyond), np.empty(cells + 2)
    for star in range(stars.star_start[ray], stars.star_start[ray + 1]):
        for quantile in range(quantiles):
            level = (quantile + (GOLDEN * (stars.number[star] + 0.5)) % 1.0) / quantiles
            node = node_at(stars, star, level)
            if edges[stars.cell[node] + 1] > INFINITE:
                continue
            for side in range(2):
                for deviation in range(len(noise.deviations)):
                    share = score_simulated(stars, noise, star, node, side, deviation, edges, nodes, score)
                    add_square(stars, star, score, share / quantiles, information)
    for row in range(cells):
        for column in range(row):
            information[column, row] = information[row, column]


@njit(cache=True, error_model="numpy")
def node_at(stars: StarArrays, star: int, level: float) -> int:
    """The node in which a star's cumulative weight reaches a level between 0 and 1."""
    node, last = stars.node_start[star], stars.node_start[star + 1] - 1
    cumulative = stars.weight[node] * 1.0
    while cumulative < level and node < last:
        node += 1
        cumulative += stars.weight[node]
    return node


@njit(cache=True, error_model="numpy")
def score_simulated(
    stars: StarArrays,
    noise: NoiseNumbers,
    star: int,
    node: int,
    side: int,
    deviation: int,
    edges: np.ndarray,
    nodes: np.ndarray,
    score: np.ndarray,
) -> float:
    """Score at all edges of a star whose measured extinction is some deviations above or below that of one node.

    Returns
    -------
    float
        How much this simulation counts.
    """
    low, up = error_variances(stars, noise, star)
    inner, jump = edges[stars.cell[node]], edges[stars.cell[node] + 1] - edges[stars.cell[node]]
    scatter = stars.variance[node] * jump**2
    scales = math.sqrt(low + scatter), math.sqrt(up + scatter)  # a measurement above the truth has the lower error
    variance = scales[side] ** 2
    offset = (1 - 2 * side) * scales[side] * at_ratio(noise, noise.deviations[deviation], variance)
    simulated = inner + stars.fraction[node] * jump + offset
    score[:] = 0.0
    weigh_nodes(stars, noise, star, simulated, low, up, edges, nodes)
    add_slope(stars, star, edges, nodes, score)
    score[-2] += score[-1]  # what lies beyond rises with the end of the grid
    return at_ratio(noise, noise.shares[deviation], variance) * scales[side] / (scales[0] + scales[1])


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def add_square(stars: StarArrays, star: int, score: np.ndarray, share: float, information: np.ndarray) -> None:
    """Add share · s sᵀ, below the diagonal, over the cells of a star's window."""
    first, last = stars.cell[stars.node_start[star]], stars.cell[stars.node_start[star + 1] - 1]
    first, last = max(first - 1, 0), min(last, len(information) - 1)  # the near edge, before cell 0, has no extinction
    seen = score[first + 1 : last + 2]
    least = NEGLIGIBLE * np.abs(seen).max()
    low, high = 0, len(seen)
    while low < high and abs(seen[low]) <= least:  # a wide window is mostly ruled out by the extinction
        low += 1
    while high > low and abs(seen[high - 1]) <= least:
        high -= 1
    for row in range(low, high):
        scaled = share * seen[row]
        target, source = information[first + row, first + low : first + row + 1], seen[low : row + 1]
        for k in range(len(source)):
            target[k] += scaled * source[k]
