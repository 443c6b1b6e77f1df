"""Rays on a rectangle of Galactic longitude and latitude."""

from __future__ import annotations

from typing import ClassVar

import astropy.units as u
import numpy as np

from gpdust.errors import GridError
from gpdust.grid.rays import RayGrid, checked_edges, find_bins
from gpdust.units import DEGREE, PARSEC, as_array, as_quantity

RIM_STEP = 2.0  # deg
ROUNDING = 1e-9  # deg: a star on an edge stays in its cell when l + 360 is rounded


class SphericalGrid(RayGrid):
    """Cells between given edges in longitude, latitude and distance.

    Rays are ordered longitude first: ray = i_l · n_b + i_b.

    Parameters
    ----------
    l_edges : Quantity, shape (n_l + 1,)
        Increasing; may run past 360° or begin below 0° to cross the Galactic centre. Spans at most 360°.
    b_edges : Quantity, shape (n_b + 1,)
        Increasing, within −90…90°. Any spacing; `Region.grid` makes rays of equal solid angle.
    distance_edges : Quantity, shape (cells + 1,)
        Increasing.
    foreground, background : int
        Number of foreground and padding cells among them.

    Raises
    ------
    GridError
        If edges do not increase or lie outside the sphere.
    """

    kind: ClassVar[str] = "spherical"

    def __init__(
        self,
        l_edges: u.Quantity,
        b_edges: u.Quantity,
        distance_edges: u.Quantity,
        foreground: int = 0,
        background: int = 0,
    ) -> None:
        self._l_edges = checked_edges(as_array(l_edges, DEGREE, "l_edges"), "l edges")
        self._b_edges = checked_edges(as_array(b_edges, DEGREE, "b_edges"), "b edges")
        if self._l_edges[-1] - self._l_edges[0] > 360 + ROUNDING:
            raise GridError(f"l edges span {np.ptp(self._l_edges):g}°, more than the whole circle")
        if self._b_edges[0] < -90 or self._b_edges[-1] > 90:
            raise GridError(f"b edges {self._b_edges[0]:g}…{self._b_edges[-1]:g}° leave the range −90…90°")
        l_centres = (self._l_edges[1:] + self._l_edges[:-1]) / 2
        b_centres = (self._b_edges[1:] + self._b_edges[:-1]) / 2
        ray_l, ray_b = np.meshgrid(l_centres, b_centres, indexing="ij")
        solid_angle = np.outer(np.diff(np.deg2rad(self._l_edges)), np.diff(np.sin(np.deg2rad(self._b_edges))))
        super().__init__(
            ray_l.ravel() * DEGREE,
            ray_b.ravel() * DEGREE,
            distance_edges,
            solid_angle.ravel() * u.sr,
            foreground,
            background,
        )

    def __repr__(self) -> str:
        (west, east), (south, north) = self._l_edges[[0, -1]], self._b_edges[[0, -1]]
        return f"{super().__repr__()[:-1]}, l {west:g}–{east:g}°, b {south:g}–{north:g}°)"

    @property
    def l_edges(self) -> u.Quantity:
        """Longitude edges as given, deg, shape (n_l + 1,)."""
        return as_quantity(self._l_edges, DEGREE)

    @property
    def b_edges(self) -> u.Quantity:
        """Latitude edges, deg, shape (n_b + 1,)."""
        return as_quantity(self._b_edges, DEGREE)

    @property
    def sky_shape(self) -> tuple[int, int]:
        """(n_l, n_b)."""
        return self._l_edges.size - 1, self._b_edges.size - 1

    def rim(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions at most 2° apart all over the region, its rims among them; see `RayGrid.rim`."""
        ends = (edges[[0, -1]] for edges in (self._l_edges, self._b_edges))
        l, b = np.meshgrid(*(np.linspace(*end, 2 + int(np.ptp(end) / RIM_STEP)) for end in ends), indexing="ij")
        return l.ravel(), b.ravel()

    def with_edges(self, edges: np.ndarray) -> SphericalGrid:
        """The same rays with other distance edges; see `RayGrid.with_edges`."""
        return SphericalGrid(self.l_edges, self.b_edges, as_quantity(edges, PARSEC))

    def cube(self, values: np.ndarray) -> np.ndarray:
        """Reorder an array (..., ray, cell) into (..., distance, b, l), the order of a FITS cube seen from numpy."""
        cube = values.reshape(*values.shape[:-2], *self.sky_shape, values.shape[-1])
        return np.moveaxis(cube, (-3, -1), (-1, -3))

    def locate_rays(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Index of the ray whose column holds each direction (degrees), −1 outside; see `RayGrid.locate_rays`."""
        edges = self._l_edges - self._l_edges[0]
        offset = np.mod(np.asarray(l) - self._l_edges[0] + ROUNDING, 360.0)
        i_l = np.minimum(np.searchsorted(edges, offset, side="right") - 1, edges.size - 2)
        i_l = np.where(offset <= edges[-1] + 2 * ROUNDING, i_l, -1)
        i_b = find_bins(self._b_edges, np.asarray(b))
        return np.where((i_l >= 0) & (i_b >= 0), i_l * self.sky_shape[1] + i_b, -1)

    def random_directions(self, rays: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random direction within the column of each of the given rays; see `RayGrid.random_directions`."""
        i_l, i_b = np.divmod(rays, self.sky_shape[1])
        l_edges, sin_b_edges = np.deg2rad(self._l_edges), np.sin(np.deg2rad(self._b_edges))
        l = l_edges[i_l] + rng.random(rays.size) * np.diff(l_edges)[i_l]
        return l, np.arcsin(sin_b_edges[i_b] + rng.random(rays.size) * np.diff(sin_b_edges)[i_b])

    def description(self) -> dict:
        """Everything needed to build the grid again; see `RayGrid.description`."""
        return {
            "kind": self.kind,
            "l_edges": self._l_edges.tolist(),
            "b_edges": self._b_edges.tolist(),
            **self._distance_description(),
        }

    @classmethod
    def from_description(cls, description: dict) -> SphericalGrid:
        """Build the grid again from what `description` returned."""
        return cls(
            description["l_edges"] * DEGREE,
            description["b_edges"] * DEGREE,
            description["distance_edges"] * PARSEC,
            description["foreground"],
            description["background"],
        )
