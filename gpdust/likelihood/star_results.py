"""What a map says of its stars: their distances and extinctions, how well they fit, and which are outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from gpdust.likelihood.noise_density import NoiseNumbers
from gpdust.likelihood.star_pass import (
    BAD,
    COLUMNS,
    SHARE,
    StarArrays,
    edge_extinction,
    error_variances,
    weigh_nodes,
    widest,
)

LEVELS = np.array([0.16, 0.5, 0.84])


@dataclass(frozen=True)
class StarResults:
    """The stars that were used, in the order of their numbers.

    Attributes
    ----------
    number : ndarray of int, shape (stars,)
        The star's place in the caller's table.
    distance : ndarray, shape (stars, 3)
        16th, 50th and 84th percentile given the measurement, the prior and the map, pc. Linear within a node.
    distance_mean, distance_error : ndarray, shape (stars,)
        Mean and standard deviation of the same, pc. What lies beyond the grid counts as its far end.
    extinction : ndarray, shape (stars, 3)
        Percentiles of the map's extinction at the star, over draws and distances, mag.
    residual : ndarray, shape (stars,)
        Mean of (measured − predicted) / s over draws and distances.
    outlier : ndarray, shape (stars,)
        Probability that the star is a bad one of the mixture; for a Student-t 1 − w with w = (ν + 1) / (ν + z²), at
        least 0: the weight that the star loses; 0 for a Gaussian.
    """

    number: np.ndarray
    distance: np.ndarray
    distance_mean: np.ndarray
    distance_error: np.ndarray
    extinction: np.ndarray
    residual: np.ndarray
    outlier: np.ndarray


def star_results(
    stars: StarArrays, noise: NoiseNumbers, extinction: np.ndarray, distance_edges: np.ndarray, parts: int
) -> StarResults:
    """Look at every star again, given maps.

    Parameters
    ----------
    stars : StarArrays
    noise : NoiseNumbers
    extinction : ndarray, shape (draws, rays, cells)
        At the outer edges, mag.
    distance_edges : ndarray, shape (cells + 1,)
        pc.
    parts : int
        How many nodes a cell holds.
    """
    edges = np.append(distance_edges, distance_edges[-1])  # beyond the grid: a cell without length
    distances, extinctions, fits = results_pass(stars, noise, extinction, edges, parts)
    order = np.argsort(stars.number, kind="stable")
    distances, extinctions, fits = distances[order], extinctions[order], fits[order]
    return StarResults(
        stars.number[order], distances[:, :3], distances[:, 3], distances[:, 4], extinctions, fits[:, 0], fits[:, 1]
    )


@njit(cache=True, error_model="numpy", parallel=True)
def results_pass(
    stars: StarArrays, noise: NoiseNumbers, extinction: np.ndarray, distance_edges: np.ndarray, parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances (stars, 5), extinctions (stars, 3), residuals and outliers (stars, 2); see `StarResults`."""
    draws, rays, cells = extinction.shape
    n_stars = len(stars.measured)
    distances, extinctions, fits = np.zeros((n_stars, 5)), np.zeros((n_stars, 3)), np.zeros((n_stars, 2))
    for ray in prange(rays):
        most = widest(stars, ray)
        nodes, centres, shares = np.empty((most, COLUMNS)), np.empty((draws, most)), np.empty((draws, most))
        edges = np.empty((draws, cells + 2))
        for draw in range(draws):
            edges[draw] = edge_extinction(extinction[draw, ray], stars.beyond)
        for star in range(stars.star_start[ray], stars.star_start[ray + 1]):
            first = stars.node_start[star]
            count = stars.node_start[star + 1] - first
            low, up = error_variances(stars, noise, star)
            for draw in range(draws):
                weigh_nodes(stars, noise, star, stars.measured[star], low, up, edges[draw], nodes)
                for k in range(count):
                    inner = edges[draw, stars.cell[first + k]]
                    jump = edges[draw, stars.cell[first + k] + 1] - inner
                    share, centre = nodes[k, SHARE] / draws, inner + stars.fraction[first + k] * jump
                    shares[draw, k], centres[draw, k] = share, centre
                    if share > 0:
                        residual = stars.measured[star] - centre
                        side = up if residual < 0 else low
                        fits[star, 0] += share * residual / math.sqrt(side + stars.variance[first + k] * jump**2)
                        fits[star, 1] += share * nodes[k, BAD]
            distances[star] = distance_summary(stars, star, shares[:, :count], distance_edges, parts)
            weights, values = shares[:, :count].copy().ravel(), centres[:, :count].copy().ravel()
            extinctions[star] = percentiles(values, weights)
    return distances, extinctions, fits


@njit(cache=True, error_model="numpy")
def distance_summary(stars: StarArrays, star: int, shares: np.ndarray, edges: np.ndarray, parts: int) -> np.ndarray:
    """Percentiles, mean and standard deviation of a star's distance, from responsibilities (draws, nodes).

    Within a node, distances are uniform over the interval that has the node's mean and variance.
    """
    first, levels = stars.node_start[star], LEVELS
    summary, total = np.zeros(5), shares.sum()
    cumulative, square, level = 0.0, 0.0, 0
    high = edges[stars.cell[first]]
    for k in range(shares.shape[1]):
        node = first + k
        start, length = edges[stars.cell[node]], edges[stars.cell[node] + 1] - edges[stars.cell[node]]
        middle, reach = stars.fraction[node], math.sqrt(3 * stars.variance[node])
        part = min(math.floor(middle * parts), parts - 1)
        low = start + length * max(middle - reach, part / parts)
        high = start + length * min(middle + reach, (part + 1) / parts)
        share = shares[:, k].sum() / total
        while level < 3 and cumulative + share >= levels[level]:
            summary[level] = low + (high - low) * (levels[level] - cumulative) / share
            level += 1
        cumulative += share
        mean = start + length * middle
        before = summary[3]
        summary[3] += share * (mean - before) / cumulative if cumulative > 0 else 0.0
        square += share * ((mean - before) * (mean - summary[3]) + stars.variance[node] * length**2)
    summary[level:3] = high  # rounding
    summary[4] = math.sqrt(square)
    return summary


@njit(cache=True, error_model="numpy")
def percentiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Percentiles of weighted values, each in the middle of its weight."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    middle = (cumulative - 0.5 * weights[order]) / cumulative[-1]
    return np.interp(LEVELS, middle, values[order])
