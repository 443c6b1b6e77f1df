"""Maps on HEALPix pixels: a FITS table with one row per pixel, and full-sky arrays for healpy."""

from __future__ import annotations

import astropy.units as u
import healpy
import numpy as np
from astropy.io import fits

from gpdust.errors import PosteriorError
from gpdust.export.lookup import sky_values
from gpdust.export.parts import QUANTITIES, edges_hdu, fits_unit, product_name, read_column
from gpdust.grid import HealpixGrid
from gpdust.posterior.maps import PercentileMaps
from gpdust.units import PARSEC, as_quantity


def healpix_map(
    maps: PercentileMaps, distance: u.Quantity, quantity: str = "density", percentile: float = 50
) -> np.ndarray:
    """Full-sky HEALPix array of one quantity at one distance, for healpy.

    Parameters
    ----------
    maps : PercentileMaps
        On a `HealpixGrid`.
    distance : Quantity
        Densities are those of the cell that holds it, extinctions those at the nearest outer edge of a cell.
    quantity : {"density", "extinction"}
        In mag/pc or mag.
    percentile : float
        One of those the maps hold.

    Returns
    -------
    ndarray, shape (12 · nside²,)
        Plain numbers in the grid's own ordering (`maps.grid.order`); `healpy.UNSEEN` where there is no ray.

    Raises
    ------
    PosteriorError
        If the grid is not HEALPix, or the maps do not hold the distance, the quantity or the percentile.
    """
    grid = maps.grid
    if not isinstance(grid, HealpixGrid):
        raise PosteriorError(f"a HEALPix map needs maps on a HealpixGrid; these are on a {type(grid).__name__}")
    sky = np.full(healpy.nside2npix(grid.nside), healpy.UNSEEN)
    sky[grid.pixels] = sky_values(maps, distance, quantity, percentile)
    return sky


def healpix_hdus(maps: PercentileMaps) -> list[fits.BinTableHDU]:
    """Table of pixels, with one vector (a value per cell) per quantity and percentile, and the table of edges."""
    grid = maps.grid
    columns = [fits.Column("PIXEL", "K", array=grid.pixels)]
    for name, values in (("DENSITY", maps.density_values), ("EXTINCTION", maps.extinction_values)):
        unit = fits_unit(QUANTITIES[name])
        columns += [
            fits.Column(product_name(name, percentile), f"{grid.n_cells}E", unit=unit, array=held.astype(np.float32))
            for percentile, held in zip(maps.percentiles, values, strict=True)
        ]
    table = fits.BinTableHDU.from_columns(columns, name="HEALPIX")
    table.header.update(_cards(grid))
    table.header["COMMENT"] = "One number per cell of D_EDGES: the mean density of the cell,"
    table.header["COMMENT"] = "the extinction from the Sun to its OUTER EDGE."
    return [table, edges_hdu("D_EDGES", grid.distance_edges)]


def _cards(grid: HealpixGrid) -> dict[str, tuple[str | int, str]]:
    """Keywords of HEALPix tables. `healpy.read_map` takes one number per pixel; `healpix_map` makes those."""
    return {
        "PIXTYPE": ("HEALPIX", "HEALPix pixelisation"),
        "ORDERING": (grid.order.upper(), "pixel numbering, RING or NESTED"),
        "COORDSYS": ("G", "Galactic coordinates"),
        "NSIDE": (grid.nside, "resolution"),
        "INDXSCHM": ("EXPLICIT", "PIXEL gives the pixel of each row"),
        "OBJECT": ("PARTIAL" if grid.n_rays < healpy.nside2npix(grid.nside) else "FULLSKY", "sky coverage"),
    }


def read_healpix(hdus: fits.HDUList, percentiles: tuple[float, ...]) -> tuple[HealpixGrid, np.ndarray, np.ndarray]:
    """Grid, densities and extinctions of shape (percentile, ray, cell)."""
    table = hdus["HEALPIX"]
    edges = as_quantity(read_column(hdus, "D_EDGES", "edge"), PARSEC)
    pixels = table.data["PIXEL"].astype(np.int64)
    grid = HealpixGrid(table.header["NSIDE"], edges, pixels, table.header["ORDERING"].lower())
    density, extinction = (
        np.stack(
            [
                table.data[product_name(name, percentile)].astype(np.float64).reshape(grid.shape)
                for percentile in percentiles
            ]
        )
        for name in QUANTITIES
    )
    return grid, density, extinction
