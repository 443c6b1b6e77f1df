"""Rays on HEALPix pixels, through healpy."""

from __future__ import annotations

from typing import ClassVar

import astropy.units as u
import healpy
import numpy as np

from gpdust.errors import GridError
from gpdust.grid.rays import RayGrid
from gpdust.units import DEGREE, PARSEC, as_quantity

SUBDIVISIONS = 6
RIM_POINTS = 32  # along a side of a pixel of nside 1: about 2° apart
AT_ONCE = 100_000  # pixels, to bound memory


class HealpixGrid(RayGrid):
    """One ray at the centre of each of a set of HEALPix pixels in Galactic coordinates.

    Parameters
    ----------
    nside : int
        HEALPix resolution, a power of two.
    distance_edges : Quantity, shape (cells + 1,)
        Increasing.
    pixels : array_like of int, or of bool for every pixel, optional
        Which pixels; all of the sky by default.
    order : {"ring", "nested"}
        Pixel numbering.
    foreground, background : int
        Number of foreground and padding cells.

    Raises
    ------
    GridError
        If `nside` is no power of two, or a pixel is no whole number, does not exist, is masked or comes twice.
    """

    kind: ClassVar[str] = "healpix"

    def __init__(
        self,
        nside: int,
        distance_edges: u.Quantity,
        pixels: np.ndarray | None = None,
        order: str = "ring",
        foreground: int = 0,
        background: int = 0,
    ) -> None:
        if order not in ("ring", "nested"):
            raise GridError(f"HEALPix order must be 'ring' or 'nested', not {order!r}")
        self.nside, self.order = checked_nside(nside), order
        n_pixels = healpy.nside2npix(self.nside)
        self.pixels = np.arange(n_pixels) if pixels is None else _numbers(pixels, n_pixels)
        if self.pixels.size == 0 or self.pixels.min() < 0 or self.pixels.max() >= n_pixels:
            raise GridError(f"HEALPix pixels must lie in 0…{n_pixels - 1} for nside {nside}, and there must be one")
        self._ray_of_pixel = np.full(n_pixels, -1)
        self._ray_of_pixel[self.pixels] = np.arange(self.pixels.size)
        if np.count_nonzero(self._ray_of_pixel >= 0) != self.pixels.size:
            raise GridError("a HEALPix pixel is listed twice")
        l, b = healpy.pix2ang(self.nside, self.pixels, nest=order == "nested", lonlat=True)
        solid_angle = np.full(self.pixels.size, healpy.nside2pixarea(self.nside))
        super().__init__(l * DEGREE, b * DEGREE, distance_edges, solid_angle * u.sr, foreground, background)

    def rim(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions about the rim of every pixel; see `RayGrid.rim`."""
        step = max(1, RIM_POINTS // self.nside)
        rims = [
            np.moveaxis(healpy.boundaries(self.nside, some, step, nest=self.order == "nested"), -2, 0).reshape(3, -1)
            for some in np.array_split(self.pixels, 1 + self.pixels.size // AT_ONCE)
        ]
        return healpy.vec2ang(np.concatenate(rims, axis=1).T, lonlat=True)

    def with_edges(self, edges: np.ndarray) -> HealpixGrid:
        """The same rays with other distance edges; see `RayGrid.with_edges`."""
        return HealpixGrid(self.nside, as_quantity(edges, PARSEC), self.pixels, self.order)

    def locate_rays(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Index of the ray whose pixel holds each direction (degrees), −1 outside; see `RayGrid.locate_rays`."""
        return self._ray_of_pixel[healpy.ang2pix(self.nside, l, b, nest=self.order == "nested", lonlat=True)]

    def random_directions(self, rays: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random direction within the pixel of each of the given rays; see `RayGrid.random_directions`."""
        pixel = self.pixels[rays]
        nested = pixel if self.order == "nested" else healpy.ring2nest(self.nside, pixel)
        # A pixel at random among the 4^k that a pixel holds at 2^k times the resolution is as good as uniform.
        inner = nested * 4**SUBDIVISIONS + rng.integers(4**SUBDIVISIONS, size=rays.size)
        l, b = healpy.pix2ang(self.nside * 2**SUBDIVISIONS, inner, nest=True, lonlat=True)
        return np.deg2rad(l), np.deg2rad(b)

    def description(self) -> dict:
        """Everything needed to build the grid again; see `RayGrid.description`."""
        return {
            "kind": self.kind,
            "nside": self.nside,
            "order": self.order,
            "pixels": self.pixels.tolist(),
            **self._distance_description(),
        }

    @classmethod
    def from_description(cls, description: dict) -> HealpixGrid:
        """Build the grid again from what `description` returned."""
        return cls(
            description["nside"],
            description["distance_edges"] * PARSEC,
            np.asarray(description["pixels"]),
            description["order"],
            description["foreground"],
            description["background"],
        )


def checked_nside(nside: int) -> int:
    """Check that a HEALPix resolution is a power of two.

    Raises
    ------
    GridError
        If it is not.
    """
    if not float(nside).is_integer() or not healpy.isnsideok(int(nside), nest=True):
        raise GridError(f"HEALPix nside must be a power of two, not {nside}")
    return int(nside)


def _numbers(pixels: np.ndarray, n_pixels: int) -> np.ndarray:
    """Pixels by number, of numbers or of a mask over the whole sky."""
    if np.ma.is_masked(pixels):
        raise GridError(f"{np.ma.count_masked(pixels)} HEALPix pixels are masked: leave them out")
    given = np.asarray(pixels).ravel()
    if given.dtype == bool:
        if given.size != n_pixels:
            raise GridError(f"a mask of HEALPix pixels must be that of all {n_pixels}, not of {given.size}")
        return np.flatnonzero(given)
    if given.size and not np.array_equal(given, np.trunc(given)):
        raise GridError("HEALPix pixels are whole numbers")
    return given.astype(np.int64)
