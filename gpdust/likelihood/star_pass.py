"""The pass over the stars: each sums its likelihood over where it may be; compiled, rays in parallel.

Compiled code is kept on disk by file. After a change to a function that another file calls, as in `noise_density`, save
that other file anew too (or set NUMBA_CACHE_DIR to an empty folder): it holds a copy of the old one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from gpdust.likelihood.exponential import exponential
from gpdust.likelihood.noise_density import GAUSSIAN, INVERSE_ROOT_2PI, NoiseNumbers, noise_density

INFINITE = 1e100  # mag; an extinction that overflowed counts as infinite, as its square would be
NEGLIGIBLE = -40.0  # nats below a star's best node
SHARE, EXPONENT, BY_RESIDUAL, BY_VARIANCE, BY_SHAPE, BAD, COLUMNS = range(7)


class StarArrays(NamedTuple):
    """Stars sorted by ray, and their nodes: ray → stars → nodes.

    Attributes
    ----------
    star_start : ndarray of int, shape (rays + 1,)
        Where each ray's stars begin.
    node_start : ndarray of int, shape (stars + 1,)
        Where each star's nodes begin.
    cell, weight, fraction, variance : ndarray, shape (nodes,)
        See `Nodes`.
    measured, low, up : ndarray, shape (stars,)
        Measured extinction, mag, and its variances for a truth below and above it, mag².
    local : ndarray, shape (stars,)
        What a scatter in proportion to extinction is a share of, mag.
    number : ndarray of int, shape (stars,)
        The star's place in the caller's table.
    beyond : float
        Largest extinction beyond the grid, mag.
    """

    star_start: np.ndarray
    node_start: np.ndarray
    cell: np.ndarray
    weight: np.ndarray
    fraction: np.ndarray
    variance: np.ndarray
    measured: np.ndarray
    low: np.ndarray
    up: np.ndarray
    local: np.ndarray
    number: np.ndarray
    beyond: float


@njit(cache=True, error_model="numpy")
def edge_extinction(extinction: np.ndarray, beyond: float) -> np.ndarray:
    """Extinction at all edges of a ray: 0 at the near end, the map's, and the end of the cell beyond the grid."""
    edges = np.zeros(len(extinction) + 2)
    for k in range(len(extinction)):  # slices would compile for seconds
        edges[k + 1] = extinction[k]
    edges[-1] = extinction[-1] + beyond
    return edges


@njit(cache=True, error_model="numpy")
def error_variances(stars: StarArrays, noise: NoiseNumbers, star: int) -> tuple[float, float]:
    """σ² of a star below and above its measurement, with the scatter that the noise adds."""
    added = noise.extra + noise.proportional * stars.local[star] ** 2
    return stars.low[star] + added, stars.up[star] + added


@njit(cache=True, error_model="numpy")
def widest(stars: StarArrays, ray: int) -> int:
    """Most nodes that a star of this ray has."""
    most = 0
    for star in range(stars.star_start[ray], stars.star_start[ray + 1]):
        most = max(most, stars.node_start[star + 1] - stars.node_start[star])
    return most


@njit(cache=True, error_model="numpy")
def weigh_nodes(
    stars: StarArrays,
    noise: NoiseNumbers,
    star: int,
    measured: float,
    low: float,
    up: float,
    edges: np.ndarray,
    nodes: np.ndarray,
) -> float:
    """Log L of one star, log Σ_k w_k N(A − c_k; s_k²) with c = A_in + f D and s² = σ² + u D².

    Fills `nodes`, shape (columns, nodes), with the responsibility r_k and the derivatives of log N of each node; the
    latter mean nothing where r_k is zero.
    """
    first, count = stars.node_start[star], stars.node_start[star + 1] - stars.node_start[star]
    if noise.code == GAUSSIAN and low == up and edges[-1] < INFINITE:
        return weigh_gaussian_nodes(stars, first, count, measured, low, edges, nodes)
    largest = -math.inf
    for k in range(count):
        node = first + k
        inner, outer = edges[stars.cell[node]], edges[stars.cell[node] + 1]
        if outer > INFINITE:
            nodes[SHARE, k], nodes[EXPONENT, k] = 0.0, -math.inf
            continue
        jump = outer - inner
        scatter = stars.variance[node] * jump**2
        height, exponent, by_residual, by_variance, by_shape, bad = noise_density(
            noise, measured - inner - stars.fraction[node] * jump, low + scatter, up + scatter
        )
        nodes[SHARE, k], nodes[EXPONENT, k] = stars.weight[node] * height, exponent
        nodes[BY_RESIDUAL, k], nodes[BY_VARIANCE, k] = by_residual, by_variance
        nodes[BY_SHAPE, k], nodes[BAD, k] = by_shape, bad
        largest = largest if exponent <= largest else exponent  # a NaN goes through, for the caller to see
    if largest == -math.inf:
        return -math.inf
    total = 0.0
    for k in range(count):
        below = nodes[EXPONENT, k] - largest
        nodes[SHARE, k] = 0.0 if below < NEGLIGIBLE else nodes[SHARE, k] * math.exp(below)
        total += nodes[SHARE, k]
    inverse = 1.0 / total
    for k in range(count):
        nodes[SHARE, k] *= inverse
    return largest + math.log(total)


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nnan", "nsz"})
def weigh_gaussian_nodes(
    stars: StarArrays, first: int, count: int, measured: float, variance: float, edges: np.ndarray, nodes: np.ndarray
) -> float:
    """What `weigh_nodes` does, for the commonest noise and finite extinctions, several nodes at a time."""
    last = first + count
    cell, weight = stars.cell[first:last], stars.weight[first:last]
    fraction, spread = stars.fraction[first:last], stars.variance[first:last]
    share, exponent, pull, by_variance = nodes[SHARE], nodes[EXPONENT], nodes[BY_RESIDUAL], nodes[BY_VARIANCE]
    for k in range(count):
        at = np.uint64(cell[k])  # unsigned, or each index would be tested for a count from the end
        inner = edges[at]
        jump = edges[at + np.uint64(1)] - inner
        residual = measured - inner - fraction[k] * jump
        inverse = 1.0 / (variance + spread[k] * jump * jump)
        exponent[k] = -0.5 * residual * residual * inverse
        pull[k] = -residual * inverse
        by_variance[k] = inverse
    largest = exponent[0]
    for k in range(1, count):
        largest = max(largest, exponent[k])
    total = 0.0
    for k in range(count):
        inverse = by_variance[k]
        share[k] = weight[k] * math.sqrt(inverse) * exponential(exponent[k] - largest)
        by_variance[k] = 0.5 * (pull[k] * pull[k] - inverse)
        total += share[k]
    inverse = 1.0 / total
    for k in range(count):
        share[k] *= inverse
        nodes[BY_SHAPE, k] = nodes[BAD, k] = 0.0
    return largest + math.log(total * INVERSE_ROOT_2PI)


@njit(cache=True, error_model="numpy")
def add_slope(stars: StarArrays, star: int, edges: np.ndarray, nodes: np.ndarray, slope: np.ndarray) -> None:
    """Add ∂log L / ∂A of one star to the slope at all edges of its ray."""
    first = stars.node_start[star]
    for k in range(stars.node_start[star + 1] - first):
        node = first + k
        if nodes[SHARE, k] == 0:
            continue
        cell, fraction = stars.cell[node], stars.fraction[node]
        by_centre = -nodes[SHARE, k] * nodes[BY_RESIDUAL, k]
        by_jump = nodes[SHARE, k] * nodes[BY_VARIANCE, k] * 2 * stars.variance[node] * (edges[cell + 1] - edges[cell])
        slope[cell] += (1 - fraction) * by_centre - by_jump
        slope[cell + 1] += fraction * by_centre + by_jump


@njit(cache=True, error_model="numpy", parallel=True)
def log_likelihood_pass(
    stars: StarArrays, noise: NoiseNumbers, extinction: np.ndarray, want_slope: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of the stars, and its slope.

    Parameters
    ----------
    stars : StarArrays
    noise : NoiseNumbers
    extinction : ndarray, shape (draws, rays, cells)
        At the outer edges, mag.
    want_slope : bool
        Otherwise the slope is left empty.

    Returns
    -------
    value : ndarray, shape (draws, rays)
        log L of each ray's stars, nats.
    slope : ndarray, shape (draws, rays, cells)
        ∂log L / ∂A, mag⁻¹.
    """
    draws, rays, cells = extinction.shape
    value = np.zeros((draws, rays))
    slope = np.zeros((draws, rays, cells if want_slope else 0))
    for ray in prange(rays):
        add_ray(stars, noise, ray, extinction[:, ray], want_slope, value[:, ray], slope[:, ray])
    return value, slope


@njit(cache=True, error_model="numpy")
def add_ray(
    stars: StarArrays,
    noise: NoiseNumbers,
    ray: int,
    extinction: np.ndarray,
    want_slope: bool,
    value: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Add log L of the stars of one ray, for draws of its extinction (draws, cells), and its slope."""
    draws, cells = extinction.shape
    nodes, slopes = np.empty((COLUMNS, widest(stars, ray))), np.zeros((draws, cells + 2))
    edges = [edge_extinction(extinction[draw], stars.beyond) for draw in range(draws)]
    for star in range(stars.star_start[ray], stars.star_start[ray + 1]):
        low, up = error_variances(stars, noise, star)
        for draw in range(draws):  # inside, so that a star's nodes are read once
            value[draw] += weigh_nodes(stars, noise, star, stars.measured[star], low, up, edges[draw], nodes)
            if want_slope:
                add_slope(stars, star, edges[draw], nodes, slopes[draw])
    if want_slope:
        for draw in range(draws):
            slopes[draw, cells] += slopes[draw, cells + 1]  # what lies beyond rises with the end of the grid
            for k in range(cells):
                slope[draw, k] += slopes[draw, k + 1]


@njit(cache=True, error_model="numpy", parallel=True)
def noise_pass(stars: StarArrays, noise: NoiseNumbers, extinction: np.ndarray) -> np.ndarray:
    """Derivatives of log L of each ray's stars by what the noise adds.

    Returns
    -------
    ndarray, shape (draws, rays, 3)
        By an added variance; the same, each star times its squared local extinction; by the parameter of the shape.
    """
    draws, rays = extinction.shape[:2]
    slope = np.zeros((draws, rays, 3))
    for ray in prange(rays):
        for draw in range(draws):
            add_noise_slope(stars, noise, ray, extinction[draw, ray], slope[draw, ray])
    return slope


@njit(cache=True, error_model="numpy")
def add_noise_slope(
    stars: StarArrays, noise: NoiseNumbers, ray: int, extinction: np.ndarray, slope: np.ndarray
) -> None:
    """Add the derivatives of one ray's stars, for one draw of its extinction."""
    nodes, edges = np.empty((COLUMNS, widest(stars, ray))), edge_extinction(extinction, stars.beyond)
    for star in range(stars.star_start[ray], stars.star_start[ray + 1]):
        low, up = error_variances(stars, noise, star)
        weigh_nodes(stars, noise, star, stars.measured[star], low, up, edges, nodes)
        for k in range(stars.node_start[star + 1] - stars.node_start[star]):
            if nodes[SHARE, k] == 0:
                continue
            by_variance = nodes[SHARE, k] * nodes[BY_VARIANCE, k]
            slope[0] += by_variance
            slope[1] += by_variance * stars.local[star] ** 2
            slope[2] += nodes[SHARE, k] * nodes[BY_SHAPE, k]
