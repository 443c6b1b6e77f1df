"""The walk of straight rays from the Sun through the cells of a cube, compiled.

Compiled code is kept on disk by file, so what shares a function stays in one.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy", nogil=True)
def follow_rays(
    points: np.ndarray, n: int, values: np.ndarray, sums: np.ndarray, cell_length: float, transposed: bool
) -> None:
    """Add path length × value for every piece of every ray; the batch is innermost, so that it runs in vectors."""
    at, length = np.empty(4 * n + 4, np.int64), np.empty(4 * n + 4, values.dtype)
    batch = values.shape[1]
    for ray in range(len(points)):
        pieces = _follow_ray(points[ray, 0], points[ray, 1], points[ray, 2], n, at, length)
        for piece in range(pieces):
            source, target = (ray, at[piece]) if transposed else (at[piece], ray)
            path = length[piece] * cell_length
            for cube in range(batch):
                sums[target, cube] += path * values[source, cube]


@njit(cache=True, error_model="numpy", nogil=True)
def substitute(
    points: np.ndarray, order: np.ndarray, n: int, extinction: np.ndarray, ridge: np.ndarray, density: np.ndarray
) -> None:
    """Solve for the density of one cell after another, each from what the cells before it on its ray leave over.

    Path lengths are in cells; the batch is innermost. The last piece of a ray to a cell centre lies in that cell.
    """
    at, length = np.empty(4 * n + 4, np.int64), np.empty(4 * n + 4, density.dtype)
    batch = density.shape[1]
    for cell in order:
        pieces = _follow_ray(points[cell, 0], points[cell, 1], points[cell, 2], n, at, length)
        own = 0.0
        for piece in range(pieces):
            own += length[piece] if at[piece] == cell else 0.0
        for cube in range(batch):
            left = extinction[cell, cube]
            for piece in range(pieces):
                left -= length[piece] * density[at[piece], cube] if at[piece] != cell else 0.0
            density[cell, cube] = max(own * left / (own * own + ridge[cell, cube]), 0.0)


@njit(cache=True, error_model="numpy", nogil=True)
def _follow_ray(x: float, y: float, z: float, n: int, at: np.ndarray, length: np.ndarray) -> int:
    """Cells that the ray from the Sun to a point goes through and its length in each, in cells; returns how many.

    Crossings are counted from the Sun by whole cells (Siddon 1985, Medical Physics 12, 252), so no error adds up.
    """
    middle = 0.5 * n
    dy, dz = y - middle, z - middle
    whole = math.sqrt(x * x + dy * dy + dz * dz)
    even = n % 2 == 0
    sides_y, sides_z = 2 if even and dy == 0 else 1, 2 if even and dz == 0 else 1
    share = whole / (sides_y * sides_z)
    step_y, step_z = 1 if dy >= 0 else -1, 1 if dz >= 0 else -1
    count = 0
    for side_y in range(sides_y):
        for side_z in range(sides_z):
            i = 0
            j = (n // 2 if step_y > 0 or not even else n // 2 - 1) - side_y
            k = (n // 2 if step_z > 0 or not even else n // 2 - 1) - side_z
            gone = 0.0
            while gone < 1.0:
                # Where the ray, 0 at the Sun and 1 at the point, leaves the cell.
                to_x = (i + 1) / x if x > 0 else math.inf
                to_y = (j + (step_y > 0) - middle) / dy if dy != 0 else math.inf
                to_z = (k + (step_z > 0) - middle) / dz if dz != 0 else math.inf
                end = min(to_x, to_y, to_z, 1.0)
                if end > gone:
                    at[count], length[count] = (i * n + j) * n + k, (end - gone) * share
                    count += 1
                i += to_x <= end
                j += step_y if to_y <= end else 0
                k += step_z if to_z <= end else 0
                gone = end
    return count
