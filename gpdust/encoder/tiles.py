"""Which cubes cover a region: one where it is narrow enough, else several, each for the cells nearest to its axis."""

from __future__ import annotations

import healpy as hp
import numpy as np

from gpdust.encoder.cube import CubeGrid
from gpdust.errors import EncoderError
from gpdust.grid.coordinates import cartesian

TILES_NSIDE = 2  # 48 axes; no direction lies farther than 21° from one, and a cube spans 26.6° at its far face
PLANE_STEP = 30.0  # degrees between the axes of cubes along the Galactic plane
PLANE_REACH = 25.0  # degrees of latitude that these cover


def cover(
    l: np.ndarray, b: np.ndarray, distance: np.ndarray, cells: int, in_plane: bool
) -> list[tuple[CubeGrid, np.ndarray]]:
    """Cubes that cover points, and which points belong to each.

    Parameters
    ----------
    l, b : ndarray, shape (points,)
        Degrees.
    distance : ndarray, shape (points,)
        pc.
    cells : int
        Cells a side.
    in_plane : bool
        Whether a cube's z must be Galactic Z: all axes then lie in the plane, and points far from it in no cube.

    Returns
    -------
    list of (CubeGrid, ndarray of int)
        Indices of points; no point is in two cubes.
    """
    if not in_plane:
        try:
            return [(CubeGrid.covering(l, b, distance, cells), np.arange(len(l)))]
        except EncoderError:  # too wide for one
            axes = np.stack(hp.pix2ang(TILES_NSIDE, np.arange(hp.nside2npix(TILES_NSIDE)), lonlat=True), axis=-1)
    else:
        axes = np.stack([np.arange(0, 360, PLANE_STEP), np.zeros(int(360 / PLANE_STEP))], axis=-1)
    tiles = []
    nearest = _nearest(axes, l, b)
    for number, (axis_l, axis_b) in enumerate(axes):
        mine = np.flatnonzero((nearest == number) & ((np.abs(b) <= PLANE_REACH) | (not in_plane)))
        if len(mine):
            cube = CubeGrid(cells, float(distance[mine].max()) / cells, float(axis_l), float(axis_b))
            tiles.append((cube, mine[cube.holds(l[mine], b[mine], distance[mine])]))
    return tiles


def _nearest(axes: np.ndarray, l: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Index of the axis nearest to each direction, degrees."""
    towards = cartesian(np.deg2rad(axes[:, 0]), np.deg2rad(axes[:, 1]), np.ones(len(axes)))
    points = cartesian(np.deg2rad(l), np.deg2rad(b), np.ones(len(l)))
    return np.concatenate(
        [np.argmax(some @ towards.T, axis=1) for some in np.array_split(points, len(l) // 100_000 + 1)]
    )
