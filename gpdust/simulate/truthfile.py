"""True densities on disk: FITS cubes of density and extinction with the edges of their cells."""

import os

import astropy.units as u
from astropy.io import fits
from astropy.table import QTable

from gpdust.errors import GridError, PosteriorError
from gpdust.files import atomic_path
from gpdust.grid import RayGrid, SphericalGrid

EDGES = ("L_EDGES", "B_EDGES", "D_EDGES")


def write_cubes(path: str | os.PathLike, grid: RayGrid, density: u.Quantity, extinction: u.Quantity) -> None:
    """Write density and extinction to a FITS file, whole or not at all.

    The file holds the images DENSITY and EXTINCTION of numpy shape (distance, b, l), and the tables L_EDGES, B_EDGES
    and D_EDGES with one column ``edge`` of the boundaries of the cells.

    Parameters
    ----------
    path : path-like
        An older file is replaced.
    grid : SphericalGrid
        The cells.
    density, extinction : Quantity, shape (ray, cell)
        Extinction at the outer edges of the cells.

    Raises
    ------
    GridError
        If the grid is not spherical.
    """
    if not isinstance(grid, SphericalGrid):
        raise GridError(f"only a SphericalGrid can be written as a cube, not {grid}")
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["FOREGRND"] = (grid.interior_cells.start, "number of foreground cells")
    hdus[0].header["BACKGRND"] = (grid.n_cells - grid.interior_cells.stop, "number of background cells")
    for name, values in (("DENSITY", density), ("EXTINCTION", extinction)):
        image = fits.ImageHDU(grid.cube(values.value), name=name)
        image.header["BUNIT"] = values.unit.to_string("fits")
        hdus.append(image)
    for name, edges in zip(EDGES, (grid.l_edges, grid.b_edges, grid.distance_edges), strict=True):
        table = fits.table_to_hdu(QTable({"edge": edges}))
        table.name = name
        hdus.append(table)
    with atomic_path(path) as temporary:
        hdus.writeto(temporary)


def read_cubes(path: str | os.PathLike) -> tuple[SphericalGrid, u.Quantity]:
    """Read grid and density, shape (ray, cell), back from what `write_cubes` wrote.

    Raises
    ------
    PosteriorError
        If the file is missing or is not one of these.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            edges = [QTable.read(hdus[name])["edge"] for name in EDGES]
            grid = SphericalGrid(*edges, hdus[0].header["FOREGRND"], hdus[0].header["BACKGRND"])
            cube, unit = hdus["DENSITY"].data.astype(float), hdus["DENSITY"].header["BUNIT"]
    except (OSError, KeyError) as error:
        raise PosteriorError(f"'{path}' can't be read as a truth written by gpdust: {error}") from error
    # (distance, b, l) back to (l, b, distance), then l and b to rays
    return grid, u.Quantity(cube.transpose(2, 1, 0).reshape(grid.shape), unit)
