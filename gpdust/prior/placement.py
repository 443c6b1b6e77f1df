"""Where inducing points go: over the volume that the stars sample, not on the stars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree

from gpdust.grid import RayGrid
from gpdust.grid.coordinates import cartesian

CANDIDATES_PER_POINT = 20
MIN_CANDIDATES = 2000


@dataclass(frozen=True)
class SampledVolume:
    """The part of a grid that stars say something about: every cell with a star in it or behind it.

    Attributes
    ----------
    grid : RayGrid
    counts : ndarray of int, shape (ray, cell)
        Stars per cell.
    """

    grid: RayGrid
    counts: np.ndarray

    @property
    def cells(self) -> np.ndarray:
        """Which cells are sampled, boolean, shape (ray, cell); all of them where there is no star."""
        sampled = np.flip(np.cumsum(np.flip(self.counts, -1), -1), -1) > 0
        return sampled if sampled.any() else np.ones_like(sampled)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Random points, uniform in space over the sampled cells, pc, shape (count, 3)."""
        volume = np.where(self.cells, self.grid.cell_volumes, 0.0).ravel()
        return self._points_in(rng.choice(volume.size, count, p=volume / volume.sum()), rng)

    def draw_stars(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Random points distributed as the stars are, pc, shape (count, 3)."""
        weight = self.counts.ravel() if self.counts.any() else np.ones(self.counts.size)
        return self._points_in(rng.choice(weight.size, count, p=weight / weight.sum()), rng)

    def _points_in(self, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One random point in each of the given cells, uniform in space."""
        ray, cell = np.divmod(cells, self.grid.n_cells)
        near, far = self.grid.edges[cell], self.grid.edges[cell + 1]
        distance = np.cbrt(near**3 + rng.random(cells.size) * (far**3 - near**3))
        return cartesian(*self.grid.random_directions(ray, rng), distance)


def place_kmeans(volume: SampledVolume, count: int, rng: np.random.Generator) -> np.ndarray:
    """Centres of k-means over the sampled volume: evenly spread, each with an equal share of space."""
    candidates = volume.draw(max(CANDIDATES_PER_POINT * count, MIN_CANDIDATES), rng)
    centres, _ = kmeans2(candidates, count, iter=15, minit="points", missing="warn", rng=rng)
    return centres


def place_farthest(volume: SampledVolume, count: int, rng: np.random.Generator) -> np.ndarray:
    """Each point as far as can be from all before it: covers edges and corners best."""
    candidates = volume.draw(max(CANDIDATES_PER_POINT * count, MIN_CANDIDATES), rng)
    chosen = np.empty((count, 3))
    chosen[0] = candidates[0]
    nearest = np.sum((candidates - chosen[0]) ** 2, axis=-1)
    for i in range(1, count):
        chosen[i] = candidates[np.argmax(nearest)]
        nearest = np.minimum(nearest, np.sum((candidates - chosen[i]) ** 2, axis=-1))
    return chosen


def place_stars(volume: SampledVolume, count: int, rng: np.random.Generator) -> np.ndarray:
    """At random where the stars are, as Dharmawardena et al. (2022) do."""
    return volume.draw_stars(count, rng)


def place_lattice(volume: SampledVolume, count: int, rng: np.random.Generator) -> np.ndarray:
    """On a body-centred cubic lattice cut to the sampled volume; the spacing is chosen to come nearest to `count`."""
    candidates = volume.draw(max(CANDIDATES_PER_POINT * count, MIN_CANDIDATES), rng)
    low, high = candidates.min(0), candidates.max(0)
    total = float(np.where(volume.cells, volume.grid.cell_volumes, 0.0).sum())
    spacing = (2 * total / count) ** (1 / 3)  # two points in each cube of a body-centred lattice
    lattices = [
        _near_candidates(_body_centred(low, high, spacing * factor), candidates, spacing * factor)
        for factor in np.geomspace(0.6, 1.6, 41)
    ]
    best = min(lattices, key=lambda points: abs(len(points) - count))
    return best if len(best) else candidates[:count]


def _body_centred(low: np.ndarray, high: np.ndarray, spacing: float) -> np.ndarray:
    axes = [np.arange(a + spacing / 4, b + spacing / 2, spacing) for a, b in zip(low, high, strict=True)]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return np.concatenate([corners, corners + spacing / 2])


def _near_candidates(points: np.ndarray, candidates: np.ndarray, spacing: float) -> np.ndarray:
    distance, _ = cKDTree(candidates).query(points)
    return points[distance < spacing / 2]


PLACEMENTS: dict[str, Callable[[SampledVolume, int, np.random.Generator], np.ndarray]] = {
    "kmeans": place_kmeans,
    "farthest": place_farthest,
    "stars": place_stars,
    "lattice": place_lattice,
}
