"""A region of interest on the sky and in distance, and the grids that cover it."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import healpy
import numpy as np

from gpdust.errors import GridError
from gpdust.grid.healpix import HealpixGrid, checked_nside
from gpdust.grid.spherical import ROUNDING, SphericalGrid
from gpdust.units import DEGREE, PARSEC, as_array, as_float, as_quantity

FOREGROUND_LENGTH, MOST_FOREGROUND = 5.0, 20  # cells of the region that a foreground cell is long; how many at most


@dataclass(frozen=True)
class Region:
    """A box in Galactic longitude, latitude and distance.

    Parameters
    ----------
    l : Quantity, two angles
        West to east in the sense of increasing l; (350°, 10°) and (−10°, 10°) both cross the Galactic centre.
    b : Quantity, two angles
        Increasing, within −90…90°.
    distance : Quantity, two lengths
        Near and far end.
    foreground_cells : int
        Cells from the Sun to the near end, which take up the dust in front of the region.
    background : Quantity
        Length of the padding behind the far end, where stars still say something of the dust in front of them.

    Raises
    ------
    GridError
        If a range is empty or upside down.
    """

    l: u.Quantity
    b: u.Quantity
    distance: u.Quantity
    foreground_cells: int = 0
    background: u.Quantity = 0 * PARSEC

    def __post_init__(self) -> None:
        l = _pair(as_array(self.l, DEGREE, "region l"), "l")
        if l[1] < l[0]:
            l = np.array([l[0], l[1] + 360])
        if 360 < l[1] - l[0] <= 360 + ROUNDING:
            l[1] = l[0] + 360
        if not 0 < l[1] - l[0] <= 360 + ROUNDING:
            raise GridError(f"region l must span more than 0° and at most 360°, got {l[0]:g}…{l[1]:g}°")
        b = _pair(as_array(self.b, DEGREE, "region b"), "b")
        if not -90 <= b[0] < b[1] <= 90:
            raise GridError(f"region b must increase within −90…90°, got {b[0]:g}…{b[1]:g}°")
        distance = _pair(as_array(self.distance, PARSEC, "region distance"), "distance")
        if not 0 <= distance[0] < distance[1]:
            raise GridError(
                f"region distance must increase and not be negative, got {distance[0]:g}…{distance[1]:g} pc"
            )
        if self.foreground_cells < 0 or not float(self.foreground_cells).is_integer():
            raise GridError(f"foreground_cells is a whole number, not negative, got {self.foreground_cells}")
        if self.foreground_cells and distance[0] == 0:
            raise GridError("the region begins at the Sun: there is no foreground to put foreground_cells in")
        if not 0 <= as_float(self.background, PARSEC, "region background") < np.inf:
            raise GridError(f"region background must be finite and not negative, got {self.background}")
        object.__setattr__(self, "foreground_cells", int(self.foreground_cells))
        for name, value, unit in (("l", l, DEGREE), ("b", b, DEGREE), ("distance", distance, PARSEC)):
            object.__setattr__(self, name, as_quantity(value, unit))

    def foreground_cells_for(self, n_distance: int) -> int:
        """How many foreground cells suit a grid of so many cells: each five of those long, twenty at most.

        No star tells where in front of the region its dust is, so that finer cells would show nothing.
        """
        near, far = as_array(self.distance, PARSEC, "distance")
        return int(min(MOST_FOREGROUND, np.ceil(near / (FOREGROUND_LENGTH * (far - near) / n_distance))))

    def grid(
        self, shape: tuple[int, int, int], b_spacing: str = "sin", distance_spacing: str = "linear"
    ) -> SphericalGrid:
        """Cut the region into cells.

        Parameters
        ----------
        shape : (n_l, n_b, n_distance)
            Cells of the region itself; foreground and padding come on top.
        b_spacing : {"sin", "uniform"}
            "sin" gives rays of equal solid angle; "uniform" gives maps a simple WCS.
        distance_spacing : {"linear", "log"}
            "log" keeps cells as long as they are wide.

        Returns
        -------
        SphericalGrid

        Raises
        ------
        GridError
            If the shape or a spacing is unusable.
        """
        n_l, n_b, n_distance = self._checked_shape(shape)
        l0, l1 = as_array(self.l, DEGREE, "l")
        b0, b1 = as_array(self.b, DEGREE, "b")
        if b_spacing == "sin":
            b_edges = np.rad2deg(np.arcsin(np.linspace(np.sin(np.deg2rad(b0)), np.sin(np.deg2rad(b1)), n_b + 1)))
            b_edges[[0, -1]] = b0, b1
        elif b_spacing == "uniform":
            b_edges = np.linspace(b0, b1, n_b + 1)
        else:
            raise GridError(f"b_spacing must be 'sin' or 'uniform', not {b_spacing!r}")
        edges, background = self._distance_edges(n_distance, distance_spacing)
        return SphericalGrid(
            np.linspace(l0, l1, n_l + 1) * DEGREE, b_edges * DEGREE, edges, self.foreground_cells, background
        )

    def healpix_grid(
        self, nside: int, n_distance: int, order: str = "ring", distance_spacing: str = "linear"
    ) -> HealpixGrid:
        """Rays on all HEALPix pixels whose centre lies in the region; see `grid`."""
        nside = checked_nside(nside)
        l, b = healpy.pix2ang(nside, np.arange(healpy.nside2npix(nside)), nest=order == "nested", lonlat=True)
        l0, l1 = as_array(self.l, DEGREE, "l")
        b0, b1 = as_array(self.b, DEGREE, "b")
        inside = (np.mod(l - l0, 360) <= l1 - l0) & (b >= b0) & (b <= b1)
        edges, background = self._distance_edges(n_distance, distance_spacing)
        return HealpixGrid(nside, edges, np.flatnonzero(inside), order, self.foreground_cells, background)

    def _distance_edges(self, n: int, spacing: str) -> tuple[u.Quantity, int]:
        if not float(n).is_integer() or n < 1:
            raise GridError(f"a grid needs a whole number of cells in distance, one or more, not {n}")
        near, far = as_array(self.distance, PARSEC, "distance")
        if spacing == "linear":
            edges = np.linspace(near, far, n + 1)
        elif spacing == "log" and near > 0:
            edges = np.geomspace(near, far, n + 1)
        elif spacing == "log":
            raise GridError("distance_spacing 'log' needs a region that begins beyond the Sun")
        else:
            raise GridError(f"distance_spacing must be 'linear' or 'log', not {spacing!r}")
        padding = as_float(self.background, PARSEC, "background")
        last = edges[-1] - edges[-2]
        n_background = int(np.ceil(padding / last - 1e-9))
        foreground = np.linspace(0, near, self.foreground_cells + 1)[:-1] if self.foreground_cells else []
        edges = np.concatenate([foreground, edges, far + last * np.arange(1, n_background + 1)])
        return as_quantity(edges, PARSEC), n_background

    @staticmethod
    def _checked_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
        if len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
            raise GridError(f"a grid's shape is three positive whole numbers (l, b, distance), not {tuple(shape)}")
        return tuple(int(n) for n in shape)


def _pair(values: np.ndarray, name: str) -> np.ndarray:
    if values.shape != (2,) or not np.isfinite(values).all():
        raise GridError(f"region {name} must be two finite numbers, got {values}")
    return values
