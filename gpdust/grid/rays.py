"""A set of rays from the Sun that share their distance edges: all that the rest of gpdust knows of a grid."""

from __future__ import annotations

from typing import ClassVar

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from gpdust.errors import GridError
from gpdust.grid.coordinates import cartesian
from gpdust.units import DEGREE, PARSEC, as_array, as_quantity

FULL_SKY = 4 * np.pi
ROUNDING = 1e-12  # radians, of a pole
RIM_ERROR = 1e-3  # of the distance, at most: rims are known at points up to about 2° apart


class RayGrid:
    """Rays in given directions, cut into cells at common distances.

    The cells nearest to the Sun may be foreground ("ghost") cells, which hold the dust in front of the region, and the
    farthest ones background padding, which holds the stars behind it. Both are fitted; `interior` cuts them off.

    Parameters
    ----------
    l, b : Quantity, shape (rays,)
        Galactic directions of the rays.
    distance_edges : Quantity, shape (cells + 1,)
        Cell boundaries, increasing, the first one not negative.
    solid_angle : Quantity, shape (rays,), optional
        Solid angle that each ray stands for; an equal share of the sky by default.
    foreground, background : int
        Number of foreground cells at the near end and of padding cells at the far end.

    Raises
    ------
    GridError
        If a direction is not on the sky, edges do not increase, or no interior cell is left.
    """

    kind: ClassVar[str] = "rays"

    def __init__(
        self,
        l: u.Quantity,
        b: u.Quantity,
        distance_edges: u.Quantity,
        solid_angle: u.Quantity | None = None,
        foreground: int = 0,
        background: int = 0,
    ) -> None:
        self._ray_l = np.deg2rad(np.atleast_1d(as_array(l, DEGREE, "l")))
        self._ray_b = np.deg2rad(np.atleast_1d(as_array(b, DEGREE, "b")))
        if self._ray_l.shape != self._ray_b.shape or self._ray_l.ndim != 1:
            raise GridError(f"rays need as many l as b, got shapes {self._ray_l.shape} and {self._ray_b.shape}")
        on_sky = np.isfinite(self._ray_l) & (np.abs(self._ray_b) <= np.pi / 2 + ROUNDING)
        if not on_sky.all():
            raise GridError(f"{np.sum(~on_sky)} rays have no direction on the sky, the first is {np.argmin(on_sky)}")
        self._edges = checked_edges(as_array(distance_edges, PARSEC, "distance_edges"), "distance edges")
        if self._edges[0] < 0:
            raise GridError(f"distance edges begin at {self._edges[0]:g} pc; they can't be negative")
        if solid_angle is None:
            self._solid_angle = np.full(self._ray_l.shape, FULL_SKY / max(1, self._ray_l.size))
        else:
            self._solid_angle = as_array(solid_angle, u.sr, "solid_angle")
            if self._solid_angle.shape != self._ray_l.shape:
                raise GridError(f"{self.n_rays} rays need as many solid angles, got shape {self._solid_angle.shape}")
        if foreground < 0 or background < 0 or foreground + background >= self.n_cells:
            raise GridError(
                f"{foreground} foreground and {background} background cells leave no interior in {self.n_cells} cells"
            )
        self._foreground, self._background = int(foreground), int(background)

    # Plain numbers, for the inside: radians, parsec, steradian.

    @property
    def ray_l(self) -> np.ndarray:
        """Longitude of each ray, radians, shape (rays,)."""
        return self._ray_l

    @property
    def ray_b(self) -> np.ndarray:
        """Latitude of each ray, radians, shape (rays,)."""
        return self._ray_b

    @property
    def edges(self) -> np.ndarray:
        """Distance edges, pc, shape (cells + 1,)."""
        return self._edges

    @property
    def cell_lengths(self) -> np.ndarray:
        """Length of the cells along the ray, pc, shape (cells,)."""
        return np.diff(self._edges)

    @property
    def cell_volumes(self) -> np.ndarray:
        """Volume of every cell, pc³, shape (rays, cells)."""
        return self._solid_angle[:, None] * np.diff(self._edges**3) / 3

    @property
    def typical_cell(self) -> float:
        """Edge of a cube as large as the median cell, pc."""
        return float(np.median(np.cbrt(self.cell_volumes)))

    # Quantities, for the outside.

    @property
    def l(self) -> u.Quantity:
        """Longitude of each ray, deg in [0, 360)."""
        return as_quantity(np.rad2deg(self._ray_l) % 360, DEGREE)

    @property
    def b(self) -> u.Quantity:
        """Latitude of each ray, deg."""
        return as_quantity(np.rad2deg(self._ray_b), DEGREE)

    @property
    def distance_edges(self) -> u.Quantity:
        """Cell boundaries, pc, shape (cells + 1,)."""
        return as_quantity(self._edges, PARSEC)

    @property
    def distances(self) -> u.Quantity:
        """Cell centres, pc, shape (cells,)."""
        return as_quantity((self._edges[1:] + self._edges[:-1]) / 2, PARSEC)

    @property
    def solid_angle(self) -> u.Quantity:
        """Solid angle of each ray, sr, shape (rays,)."""
        return as_quantity(self._solid_angle, u.sr)

    @property
    def coordinates(self) -> SkyCoord:
        """Galactic coordinates of every cell centre, shape (rays, cells)."""
        return SkyCoord(l=self.l[:, None], b=self.b[:, None], distance=self.distances[None, :], frame="galactic")

    @property
    def n_rays(self) -> int:
        """Number of rays."""
        return self._ray_l.size

    @property
    def n_cells(self) -> int:
        """Number of cells along each ray."""
        return self._edges.size - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(rays, cells)."""
        return self.n_rays, self.n_cells

    @property
    def interior_cells(self) -> slice:
        """Which cells along a ray are neither foreground nor background."""
        return slice(self._foreground, self.n_cells - self._background)

    @property
    def has_margins(self) -> bool:
        """Whether there are foreground or background cells."""
        return bool(self._foreground or self._background)

    @property
    def interior(self) -> RayGrid:
        """The same rays without foreground and background cells."""
        cells = self.interior_cells
        return self.with_edges(self._edges[cells.start : cells.stop + 1])

    def with_edges(self, edges: np.ndarray) -> RayGrid:
        """The same rays with other distance edges (pc), all of them of the interior."""
        return RayGrid(self.l, self.b, as_quantity(edges, PARSEC), self.solid_angle)

    def cell_points(self, rays: slice = slice(None)) -> np.ndarray:
        """Cartesian centres of the cells of some rays, pc, shape (rays, cells, 3)."""
        centres = (self._edges[1:] + self._edges[:-1]) / 2
        return cartesian(self._ray_l[rays, None], self._ray_b[rays, None], centres)

    def rim(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions (l and b, degrees) about the rims of the columns of all rays: what lies in them lies between."""
        return np.rad2deg(self._ray_l), np.rad2deg(self._ray_b)

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest x, y and z that finer grids of the same columns may have, pc: two of shape (3,).

        Centres of cells, and half a cell more, for rays that have no columns; and all that lies within the rims.
        """
        width = self._edges[-1] * min(1.0, np.sqrt(self._solid_angle.max()))
        l, b = (np.deg2rad(angle)[:, None] for angle in self.rim())
        reach = (
            (self.cell_points(), max(width, self.cell_lengths.max()) / 2),
            (cartesian(l, b, self._edges[[0, -1]]), RIM_ERROR * self._edges[-1]),
        )
        low, high = zip(*((some.min((0, 1)) - more, some.max((0, 1)) + more) for some, more in reach), strict=True)
        return np.minimum(*low), np.maximum(*high)

    def locate_rays(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Index of the ray whose column holds each direction, −1 where there is none.

        Parameters
        ----------
        l, b : ndarray
            Galactic longitude and latitude, degrees.

        Returns
        -------
        ndarray of int
        """
        raise GridError(
            "a bare set of rays has no columns that a star could lie in; use a SphericalGrid or HealpixGrid"
        )

    def random_directions(self, rays: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random direction within the column of each of the given rays, uniform in solid angle: l and b, radians.

        A bare ray has no width: its own direction.
        """
        return self._ray_l[rays], self._ray_b[rays]

    def locate_cells(self, distance: np.ndarray) -> np.ndarray:
        """Index of the cell that holds each distance (pc), −1 outside. The far edge belongs to the last cell."""
        return find_bins(self._edges, distance)

    def description(self) -> dict:
        """Everything needed to build the grid again, as plain lists; see `gpdust.grid.grid_from_description`."""
        return {
            "kind": self.kind,
            "l": np.rad2deg(self._ray_l).tolist(),
            "b": np.rad2deg(self._ray_b).tolist(),
            "solid_angle": self._solid_angle.tolist(),
            **self._distance_description(),
        }

    def _distance_description(self) -> dict:
        return {
            "distance_edges": self._edges.tolist(),
            "foreground": self._foreground,
            "background": self._background,
        }

    @classmethod
    def from_description(cls, description: dict) -> RayGrid:
        """Build the grid again from what `description` returned."""
        return cls(
            description["l"] * DEGREE,
            description["b"] * DEGREE,
            description["distance_edges"] * PARSEC,
            description["solid_angle"] * u.sr,
            description["foreground"],
            description["background"],
        )

    def __repr__(self) -> str:
        near, far = self._edges[[0, -1]]
        return f"{type(self).__name__}({self.n_rays} rays × {self.n_cells} cells, {near:g}–{far:g} pc)"


def checked_edges(edges: np.ndarray, name: str) -> np.ndarray:
    """Check that cell boundaries are at least two, finite and increasing.

    Raises
    ------
    GridError
        Naming the first offending pair.
    """
    edges = np.atleast_1d(edges)
    if edges.ndim != 1 or edges.size < 2 or not np.isfinite(edges).all():
        raise GridError(f"{name} must be at least two finite numbers, got shape {edges.shape}")
    falling = np.flatnonzero(np.diff(edges) <= 0)
    if falling.size:
        first = falling[0]
        raise GridError(
            f"{name} must increase, but number {first} is {edges[first]:g} and the next {edges[first + 1]:g}"
        )
    return edges


def find_bins(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index of the bin that holds each value, −1 outside; the last edge belongs to the last bin."""
    index = np.searchsorted(edges, values, side="right") - 1
    index = np.where(values == edges[-1], edges.size - 2, index)
    return np.where((index >= 0) & (index < edges.size - 1), index, -1)
