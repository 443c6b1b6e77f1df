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
    order = np.argsort(stars.number, kind="stable")
    found = results_pass(stars, noise, extinction, edges, parts)[order]
    distance, mean, error, seen, residual, outlier = np.split(found, [3, 4, 5, 8, 9], axis=1)
    return StarResults(stars.number[order], distance, mean[:, 0], error[:, 0], seen, residual[:, 0], outlier[:, 0])


@njit(cache=True, error_model="numpy", parallel=True)
def results_pass(
    stars: StarArrays, noise: NoiseNumbers, extinction: np.ndarray, distance_edges: np.ndarray, parts: int
) -> np.ndarray:
    """Rows of `StarResults`, shape (stars, 10): distance (5), extinction (3), residual and outlier."""
    results = np.zeros((len(stars.measured), 10))
    for ray in prange(extinction.shape[1]):
        add_results(stars, noise, ray, extinction[:, ray], distance_edges, parts, results)
    return results


@njit(cache=True, error_model="numpy")
def add_results(
    stars: StarArrays,
    noise: NoiseNumbers,
    ray: int,
    extinction: np.ndarray,
    distance_edges: np.ndarray,
    parts: int,
    results: np.ndarray,
) -> None:
    """Results of the stars of one ray, from draws of its extinction, shape (draws, cells)."""
    draws, most = len(extinction), widest(stars, ray)
    nodes, by_node = np.empty((COLUMNS, most)), np.empty(most)
    values, shares = np.empty(draws * most), np.empty(draws * most)
    for star in range(stars.star_start[ray], stars.star_start[ray + 1]):
        first = stars.node_start[star]
        count = stars.node_start[star + 1] - first
        low, up = error_variances(stars, noise, star)
        by_node[:] = 0.0
        for draw in range(draws):
            edges = edge_extinction(extinction[draw], stars.beyond)
            weigh_nodes(stars, noise, star, stars.measured[star], low, up, edges, nodes)
            for k in range(count):
                inner = edges[stars.cell[first + k]]
                jump = edges[stars.cell[first + k] + 1] - inner
                share, centre = nodes[SHARE, k] / draws, inner + stars.fraction[first + k] * jump
                by_node[k] += share
                shares[draw * count + k], values[draw * count + k] = share, centre
                if share > 0:
                    residual = stars.measured[star] - centre
                    side = up if residual < 0 else low
                    results[star, 8] += share * residual / math.sqrt(side + stars.variance[first + k] * jump**2)
                    results[star, 9] += share * nodes[BAD, k]
        add_distance(stars, star, by_node, distance_edges, parts, results[star, :5])
        add_percentiles(values[: draws * count], shares[: draws * count], results[star, 5:8])


@njit(cache=True, error_model="numpy")
def add_distance(
    stars: StarArrays, star: int, shares: np.ndarray, edges: np.ndarray, parts: int, summary: np.ndarray
) -> None:
    """Percentiles, mean and standard deviation of a star's distance, from the shares of its nodes.

    Within a node, distances are uniform over the interval that has the node's mean and variance.
    """
    cumulative, square, level, high = 0.0, 0.0, 0, 0.0
    for node in range(stars.node_start[star], stars.node_start[star + 1]):
        share = shares[node - stars.node_start[star]]
        start, length = edges[stars.cell[node]], edges[stars.cell[node] + 1] - edges[stars.cell[node]]
        middle, reach = stars.fraction[node], math.sqrt(3 * stars.variance[node])
        part = min(math.floor(middle * parts), parts - 1)
        low = start + length * max(middle - reach, part / parts)
        high = start + length * min(middle + reach, (part + 1) / parts)
        while level < 3 and cumulative + share >= LEVELS[level]:
            summary[level] = low + (high - low) * (LEVELS[level] - cumulative) / share
            level += 1
        if share > 0:
            cumulative += share
            before, mean = summary[3], start + length * middle
            summary[3] += share * (mean - before) / cumulative
            square += share * ((mean - before) * (mean - summary[3]) + stars.variance[node] * length**2)
    summary[level:3] = high  # only by rounding
    summary[4] = math.sqrt(square)


@njit(cache=True, error_model="numpy")
def add_percentiles(values: np.ndarray, shares: np.ndarray, summary: np.ndarray) -> None:
    """Percentiles of values, linear between the middles of their shares."""
    cumulative, level, before, middle_before = 0.0, 0, math.nan, math.nan
    for k in np.argsort(values):
        if shares[k] == 0:
            continue
        middle = cumulative + 0.5 * shares[k]
        while level < 3 and middle >= LEVELS[level]:
            step = (LEVELS[level] - middle_before) / (middle - middle_before)
            summary[level] = values[k] if math.isnan(before) else before + step * (values[k] - before)
            level += 1
        before, middle_before = values[k], middle
        cumulative += shares[k]
    summary[level:] = before
