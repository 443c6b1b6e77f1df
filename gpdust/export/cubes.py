"""Maps on a spherical grid as FITS image cubes (distance, b, l)."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from gpdust.errors import PosteriorError
from gpdust.export.parts import QUANTITIES, edges_hdu, fits_unit, product_name, read_column
from gpdust.export.wcs import wcs_header
from gpdust.grid import SphericalGrid
from gpdust.posterior.maps import PercentileMaps
from gpdust.units import DEGREE, PARSEC, as_quantity


def cube_hdus(maps: PercentileMaps) -> list[fits.ImageHDU | fits.BinTableHDU]:
    """One image per quantity and percentile, and the tables of edges."""
    grid = maps.grid
    images = []
    for name, values in (("DENSITY", maps.density_values), ("EXTINCTION", maps.extinction_values)):
        header = wcs_header(grid, at_outer_edge=name == "EXTINCTION")
        header["BUNIT"] = fits_unit(QUANTITIES[name])
        for percentile, held in zip(maps.percentiles, values, strict=True):
            header["PERCENT"] = (float(percentile), "percentile of the posterior")
            image = grid.cube(np.asarray(held, dtype=np.float32))
            images.append(fits.ImageHDU(image, header, product_name(name, percentile)))
    edges = {"L_EDGES": grid.l_edges, "B_EDGES": grid.b_edges, "D_EDGES": grid.distance_edges}
    return images + [edges_hdu(name, values) for name, values in edges.items()]


def read_cubes(hdus: fits.HDUList, percentiles: tuple[float, ...]) -> tuple[SphericalGrid, np.ndarray, np.ndarray]:
    """Grid, densities and extinctions of shape (percentile, ray, cell)."""
    l_edges, b_edges, d_edges = (read_column(hdus, f"{axis}_EDGES", "edge") for axis in "LBD")
    grid = SphericalGrid(as_quantity(l_edges, DEGREE), as_quantity(b_edges, DEGREE), as_quantity(d_edges, PARSEC))
    density, extinction = (
        np.stack([_rays(hdus[product_name(name, percentile)], grid) for percentile in percentiles])
        for name in QUANTITIES
    )
    return grid, density, extinction


def _rays(image: fits.ImageHDU, grid: SphericalGrid) -> np.ndarray:
    """Reorder a cube (distance, b, l) into (ray, cell); the inverse of `SphericalGrid.cube`."""
    n_l, n_b = grid.sky_shape
    if image.shape != (grid.n_cells, n_b, n_l):
        raise PosteriorError(
            f"{image.name} has shape {image.shape}, but the edges say {(grid.n_cells, n_b, n_l)} (distance, b, l)"
        )
    return image.data.astype(np.float64).transpose(2, 1, 0).reshape(grid.shape)
