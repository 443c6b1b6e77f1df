"""Mass, mean and variance of each star's distance in every cell of its ray, by Gauss–Legendre quadrature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpdust.errors import ConfigError
from gpdust.likelihood.distance_priors import DistancePrior
from gpdust.likelihood.distances import DistanceMeasurements

POINTS, WEIGHTS = (column[:, None, None] for column in np.polynomial.legendre.leggauss(4))
BLOCK = 400_000  # quadrature points held at a time


@dataclass(frozen=True)
class CellMoments:
    """Moments of a block of stars, in cells along their rays.

    Attributes
    ----------
    stars : ndarray of int, shape (block,)
        Which stars these are.
    first : ndarray of int, shape (block,)
        The cell that column 0 stands for.
    mass, mean, variance : ndarray, shape (block, width)
        Share of p in the cell, and its mean (pc) and variance (pc²) there; no mass in columns past the last cell.
    near, far : ndarray, shape (block,)
        Share of p in front of the first edge and behind the last.
    """

    stars: np.ndarray
    first: np.ndarray
    mass: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    near: np.ndarray
    far: np.ndarray


def cell_moments(
    edges: np.ndarray, distances: DistanceMeasurements, l: np.ndarray, b: np.ndarray, prior: DistancePrior
) -> Iterator[CellMoments]:
    """Integrate p ∝ measurement × prior over cells, in blocks of stars whose windows are about as wide.

    Parameters
    ----------
    edges : ndarray, shape (cells + 1,)
        pc.
    distances : DistanceMeasurements
        None of them exact.
    l, b : ndarray, shape (stars,)
        Degrees.
    prior : function
        See `DistancePrior`.
    """
    panels = distances.panels()
    n_cells = len(edges) - 1
    first = np.clip(np.searchsorted(edges, panels[:, 0], side="right") - 1, 0, n_cells - 1)
    last = np.clip(np.searchsorted(edges, panels[:, -1], side="left") - 1, 0, n_cells - 1)
    order = np.argsort(last - first, kind="stable")
    while len(order):
        size = max(1, BLOCK // (len(POINTS) * (panels.shape[1] + 1)))  # of the narrowest; shrinks until it fits
        while size > 1 and size * len(POINTS) * (panels.shape[1] + _width(first, last, order[:size])) > BLOCK:
            size = max(1, size // 2)
        block, order = order[:size], order[size:]
        width = _width(first, last, block)
        yield _block_moments(
            edges, distances[block], block, panels[block], first[block], width, l[block], b[block], prior
        )


def _width(first: np.ndarray, last: np.ndarray, block: np.ndarray) -> int:
    return int((last - first)[block].max()) + 1


def _block_moments(
    edges: np.ndarray,
    distances: DistanceMeasurements,
    stars: np.ndarray,
    panels: np.ndarray,
    first: np.ndarray,
    width: int,
    l: np.ndarray,
    b: np.ndarray,
    prior: DistancePrior,
) -> CellMoments:
    n_cells = len(edges) - 1
    within = edges[np.minimum(first[:, None] + np.arange(width + 1), n_cells)]
    ends = np.sort(np.concatenate([panels, np.clip(within, panels[:, :1], panels[:, -1:])], axis=1), axis=1)
    middle, half = 0.5 * (ends[:, 1:] + ends[:, :-1]), 0.5 * np.diff(ends, axis=1)
    points = middle + half * POINTS  # (points of a panel, stars, panels)
    mass = half * WEIGHTS * np.stack([_density(distances, each, l, b, prior) for each in points])

    # Column 0 is what lies in front of all edges, the last one what lies behind; panels of no length weigh nothing.
    cell = np.searchsorted(edges, middle, side="right") - 1
    column = np.clip(np.where(cell == n_cells, width + 1, cell - first[:, None] + 1), 0, width + 1)
    place = (column + np.arange(len(stars))[:, None] * (width + 2)).ravel()

    def total(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(place, values.sum(0).ravel(), minlength=len(stars) * (width + 2))
        return sums.reshape(len(stars), width + 2)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.divide(total(mass * values), masses, out=np.zeros_like(masses), where=masses > 0)

    masses = total(mass)
    # About the star's own middle, lest a narrow distance far away loses digits.
    centre = panels[:, panels.shape[1] // 2, None]
    offset = mean(points - centre)
    deviation = points - (centre + np.take_along_axis(offset, column, axis=1))
    variance = mean(deviation**2)
    masses /= np.maximum(masses.sum(1, keepdims=True), np.finfo(float).tiny)
    cells = np.s_[:, 1:-1]
    return CellMoments(
        stars, first, masses[cells], (centre + offset)[cells], variance[cells], masses[:, 0], masses[:, -1]
    )


def _density(
    distances: DistanceMeasurements, points: np.ndarray, l: np.ndarray, b: np.ndarray, prior: DistancePrior
) -> np.ndarray:
    """Measurement × prior, not normalised: (stars, points) to (stars, points)."""
    before = prior(l[:, None], b[:, None], points)
    if not (np.isfinite(before) & (before >= 0)).all():
        raise ConfigError("the distance prior must be a density: finite and not negative at every distance")
    return np.exp(distances.log_likelihood(points)) * before
