"""Where a cube lies on the sky: its axis, its cells, and the way between cells and Galactic coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from gpdust.errors import EncoderError
from gpdust.grid.coordinates import cartesian
from gpdust.los.cartesian import cell_centres

HALF_OPENING = math.degrees(math.atan(0.5))  # 26.6°, of the far face seen from the Sun
STRETCH = 1.5  # how much deeper than its points a cube may be made so that it is wide enough for them
MARGIN = 1e-6  # of the side, so that rounding leaves no point outside


@dataclass(frozen=True)
class CubeGrid:
    """A cube of n³ cells with the Sun in the centre of its near face.

    Axis 0 (depth) runs away from the Sun in a given direction; at the axis, y points to increasing longitude and z to
    the north Galactic pole. In units of cells the Sun is at (0, n/2, n/2).

    Attributes
    ----------
    cells : int
        Cells a side, n.
    cell_length : float
        Side of a cell, pc.
    l, b : float
        Galactic direction of the depth axis, degrees.

    Raises
    ------
    EncoderError
        If there is no cell, a length is not positive or the direction does not exist.

    Notes
    -----
    The regions of "3D dust maps by V-net" (MNRAS), section 2, are (32, 6, 180, 0) and (32, 60, 180, 0): its X and Y are
    minus the depth and minus y.
    """

    cells: int
    cell_length: float
    l: float
    b: float

    def __post_init__(self) -> None:
        if self.cells < 1:
            raise EncoderError(f"a cube has at least one cell a side, not {self.cells}")
        if not 0 < self.cell_length < math.inf:
            raise EncoderError(f"the cells of a cube have a positive length in pc, not {self.cell_length}")
        if not math.isfinite(self.l) or not -90 <= self.b <= 90:
            raise EncoderError(f"a cube looks to a longitude and a latitude from −90 to 90°, not ({self.l}, {self.b})")

    @property
    def side(self) -> float:
        """Depth and width of the cube, pc."""
        return self.cells * self.cell_length

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, n, n)."""
        return (self.cells,) * 3

    def points_galactic(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Longitude in [0, 360) and latitude in degrees and distance in pc of the cell centres, each (n, n, n)."""
        return tuple(x.reshape(self.shape) for x in self.to_galactic(cell_centres(self.cells)))

    def to_galactic(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Longitude in [0, 360) and latitude (degrees) and distance (pc) of points in cells, shape (..., 3)."""
        from_sun = (np.asarray(points, dtype=float) - self.sun) * self.cell_length
        x, y, z = np.moveaxis(from_sun @ _axes(self.l, self.b), -1, 0)
        in_plane = np.hypot(x, y)
        return np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arctan2(z, in_plane)), np.hypot(in_plane, z)

    def to_cube(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Positions in units of cells, (depth, y, z) along a new last axis, inside the cube or not.

        Parameters
        ----------
        l, b : ndarray
            Degrees.
        distance : ndarray
            pc. The three broadcast against each other.

        Returns
        -------
        ndarray, shape (..., 3)
        """
        return _from_sun(l, b, distance) @ _axes(self.l, self.b).T / self.cell_length + self.sun

    def holds(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Whether points (degrees, pc) lie in the cube, its faces included; boolean."""
        points = self.to_cube(l, b, distance)
        return ((points >= 0) & (points <= self.cells)).all(axis=-1)

    @property
    def sun(self) -> np.ndarray:
        """Where the Sun is, in units of cells, shape (3,)."""
        return np.array([0.0, self.cells / 2, self.cells / 2])

    @classmethod
    def covering(
        cls, l: np.ndarray, b: np.ndarray, distance: np.ndarray, cells: int = 32, stretch: float = STRETCH
    ) -> CubeGrid:
        """The smallest cube towards the middle of given points, such as stars or the cells of a grid, that holds them.

        A cube is as wide as it is deep, so its far face spans ±26.6° only. Where points lie wider than that, the cube
        is made deeper than they reach, as far as `stretch` allows.

        Parameters
        ----------
        l, b : ndarray, shape (points,)
            Degrees.
        distance : ndarray, shape (points,)
            pc.
        cells : int
            Cells a side.
        stretch : float
            Largest side, in units of the depth that the points reach. Cells behind all points see nothing.

        Returns
        -------
        CubeGrid

        Raises
        ------
        EncoderError
            If there are no points, or they lie too wide on the sky for one cube.
        """
        points = _from_sun(*(np.ravel(x) for x in np.broadcast_arrays(l, b, distance)))
        if not len(points) or not np.isfinite(points).all() or not points.any():
            raise EncoderError("a cube covers points at finite, positive distances, and at least one of them")
        start = _direction(points.sum(axis=0))
        step = start + np.array([(0, 0), (5, 0), (0, 5)])  # a simplex; it rolls towards the middle
        best = minimize(_off_axis, start, (points,), method="Nelder-Mead", options={"initial_simplex": step})
        l, b = _wrapped(best.x)
        reach = points @ _axes(l, b).T
        depth = reach[:, 0].max()
        side = max(depth, 2 * np.abs(reach[:, 1:]).max())
        if reach[:, 0].min() < -MARGIN * side or side > stretch * depth:
            raise EncoderError(_too_wide(reach, depth, stretch))
        return cls(cells, float(side * (1 + 2 * MARGIN)) / cells, float(l % 360), float(b))


def _too_wide(reach: np.ndarray, depth: float, stretch: float) -> str:
    angle = np.rad2deg(np.arctan2(np.hypot(reach[:, 1], reach[:, 2]), reach[:, 0])).max()
    outside = np.abs(reach[:, 1:]).max() - depth / 2
    return (
        f"the points lie up to {angle:.0f}° from the axis of a cube towards them, but its far face spans "
        f"±{HALF_OPENING:.1f}° only: they reach {outside:.4g} pc outside a cube as deep as they are, and one made "
        f"{stretch:g} times as deep does not hold them; cover fewer degrees of the sky at a time, or begin farther away"
        if depth > 0
        else "the points lie all around the Sun, and a cube looks one way; cover fewer degrees of the sky at a time"
    )


def _off_axis(axis: np.ndarray, points: np.ndarray) -> float:
    """How far points reach from an axis (l, b, degrees), least in their middle; those behind the Sun cost more.

    A cube may be a few per cent smaller if it looks elsewhere, but then has the points at its sides, where a network
    knows one half of their neighbourhood only.
    """
    reach = points @ _axes(*_wrapped(axis)).T
    return np.abs(reach[:, 1]).max() + np.abs(reach[:, 2]).max() + 10 * max(0.0, -reach[:, 0].min())


def _wrapped(axis: np.ndarray) -> np.ndarray:
    """Direction with its latitude within −90…90°."""
    return np.array([axis[0], np.clip(axis[1], -90, 90)])


def _direction(vector: np.ndarray) -> np.ndarray:
    """(l, b) of a vector, degrees."""
    return np.rad2deg([math.atan2(vector[1], vector[0]), math.atan2(vector[2], math.hypot(*vector[:2]))])


def _axes(l: float, b: float) -> np.ndarray:
    """Unit vectors of depth, y and z, in rows, heliocentric Galactic."""
    sl, cl = math.sin(math.radians(l)), math.cos(math.radians(l))
    sb, cb = math.sin(math.radians(b)), math.cos(math.radians(b))
    return np.array([[cb * cl, cb * sl, sb], [-sl, cl, 0.0], [-sb * cl, -sb * sl, cb]])


def _from_sun(l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Heliocentric Galactic x, y, z in pc of points in degrees and pc."""
    return cartesian(np.deg2rad(l), np.deg2rad(b), np.asarray(distance, dtype=float))
