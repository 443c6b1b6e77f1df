"""A cube of extinction from stars: each cell the weighted mean of its nearest ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from gpdust.catalogue import StarCatalogue
from gpdust.encoder.cube import CubeGrid
from gpdust.encoder.nearest import nearest_stars
from gpdust.errors import EncoderError
from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array

SMALLEST_VARIANCE = 1e-4  # mag², added to that of every star
FALL = 0.75  # how much weight the farthest neighbour loses by its distance
FEWEST, MOST = 3, 30  # neighbours: those of the paper for its small and its large region
PER_CELL = 4  # neighbours for each star that a cell holds on average: where stars crowd, more of them tell more
HIGHEST_INFORMATION = 1 / SMALLEST_VARIANCE  # mag⁻²: of a star without error in the centre of the cell


@dataclass(frozen=True)
class ExtinctionCube:
    """Extinction in every cell of a cube, and how much the stars say about it.

    Attributes
    ----------
    extinction : ndarray, shape (n, n, n)
        Weighted mean of the nearest stars, mag; float32. Noise may make it negative.
    information : ndarray, shape (n, n, n)
        Sum of the weights per cell volume that the neighbours sample, Σw / max(1, (4π/3) (d_max / L)³), mag⁻²; float32.
        Stars that are far away thus tell less.
    averages : csr_array, shape (n³, stars)
        From stars to cells; rows sum to one.
    dropped : int
        Stars that lay outside the cube.

    Notes
    -----
    Weights are those of "3D dust maps by V-net" (MNRAS), eq. 5: w = (1 − 0.75 (d / d_max)²) / (σ² + 10⁻⁴), d_max being
    the distance of the farthest of the neighbours.
    """

    extinction: np.ndarray
    information: np.ndarray
    averages: csr_array
    dropped: int = 0

    @classmethod
    def of(
        cls,
        positions: np.ndarray,
        extinction: np.ndarray,
        sigma: np.ndarray,
        cells: int,
        neighbours: int | None = None,
        dropped: int = 0,
    ) -> ExtinctionCube:
        """Average stars into the cells of a cube.

        Parameters
        ----------
        positions : ndarray, shape (m, 3)
            In units of cells; those outside the cube are neighbours as well as those inside.
        extinction, sigma : ndarray, shape (m,)
            Extinction and its standard error, mag.
        cells : int
            Cells a side, n.
        neighbours : int, optional
            How many stars make a cell; all where there are fewer. The paper takes 3 with cells of 6 pc and 30 with
            cells of 60 pc; by default it is between these, four times as many as a cell holds on average.
        dropped : int
            Stars that were left out before.

        Raises
        ------
        EncoderError
            If there are no stars, or their numbers are not usable.
        """
        positions, extinction, sigma = _checked(positions, extinction, sigma, neighbours)
        if neighbours is None:
            neighbours = int(np.clip(round(PER_CELL * len(positions) / cells**3), FEWEST, MOST))
        count = min(neighbours, len(positions))
        distance, nearest = nearest_stars(positions, cells, count)
        farthest = distance[:, -1]
        # Where all neighbours are in the very centre of a cell, they weigh by their errors alone.
        squared = (distance / np.where(farthest > 0, farthest, 1)[:, None]) ** 2
        weights = (1 - FALL * squared) * (1 / (sigma**2 + SMALLEST_VARIANCE))[nearest]
        total = weights.sum(axis=1)
        rows = np.arange(0, nearest.size + 1, count)
        averages = csr_array(((weights / total[:, None]).ravel(), nearest.ravel(), rows), (cells**3, len(positions)))
        information = total / np.maximum(1, 4 * math.pi / 3 * farthest**3)
        shape = (cells,) * 3
        mean = (averages @ extinction).reshape(shape)
        return cls(mean.astype(np.float32), information.reshape(shape).astype(np.float32), averages, dropped)

    @classmethod
    def of_catalogue(cls, stars: StarCatalogue, cube: CubeGrid, neighbours: int | None = None) -> ExtinctionCube:
        """Average the stars of a catalogue that lie in a cube; the others are dropped and counted.

        Raises
        ------
        EncoderError
            If no star lies in the cube.
        """
        positions, inside = positions_in(stars, cube, as_array(stars.distance, PARSEC, "distance"))
        extinction = as_array(stars.extinction, MAGNITUDE, "extinction")[inside]
        sigma = as_array(stars.extinction_error, MAGNITUDE, "extinction_error")[inside]
        return cls.of(positions, extinction, sigma, cube.cells, neighbours, int(np.count_nonzero(~inside)))

    def redrawn(self, extinctions: np.ndarray) -> np.ndarray:
        """Cubes of other extinctions of the same stars, by the same neighbours and weights.

        Parameters
        ----------
        extinctions : ndarray, shape (draws, m)
            mag.

        Returns
        -------
        ndarray, shape (draws, n, n, n)
            float32.
        """
        extinctions = np.asarray(extinctions)
        if extinctions.ndim != 2 or extinctions.shape[1] != self.averages.shape[1]:
            raise EncoderError(
                f"extinctions drawn anew have shape (draws, {self.averages.shape[1]}), not {extinctions.shape}"
            )
        cubes = (self.averages @ extinctions.T).T
        return cubes.astype(np.float32).reshape(-1, *self.extinction.shape)


def positions_in(stars: StarCatalogue, cube: CubeGrid, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in cells of the stars that lie in a cube at given distances (pc), and which they are.

    Raises
    ------
    EncoderError
        If there are none.
    """
    positions = cube.to_cube(as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b"), distance)
    inside = ((positions >= 0) & (positions <= cube.cells)).all(axis=1)
    if not inside.any():
        raise EncoderError(
            f"none of {len(stars)} stars lies in the cube of {cube.side:g} pc a side towards l = {cube.l:g}°, "
            f"b = {cube.b:g}°; CubeGrid.covering makes one that holds them"
        )
    return positions[inside], inside


def _checked(
    positions: np.ndarray, extinction: np.ndarray, sigma: np.ndarray, neighbours: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    positions, extinction, sigma = (np.asarray(x, dtype=np.float64) for x in (positions, extinction, sigma))
    if positions.ndim != 2 or positions.shape[1] != 3 or not extinction.shape == sigma.shape == positions.shape[:1]:
        raise EncoderError(
            f"stars in a cube come as positions (m, 3), extinctions (m,) and errors (m,), not as {positions.shape}, "
            f"{extinction.shape} and {sigma.shape}"
        )
    if not len(positions):
        raise EncoderError("there are no stars to make a cube of extinction from")
    if neighbours is not None and neighbours < 1:
        raise EncoderError(f"a cell is the mean of at least one star, not of {neighbours}")
    if not all(np.isfinite(x).all() for x in (positions, extinction, sigma)) or sigma.min() < 0:
        raise EncoderError("positions, extinctions and errors of stars must be finite, and no error negative")
    return positions, extinction, sigma
