"""Percentile maps to a FITS file and back, whatever the kind of their grid."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from gpdust.errors import PosteriorError
from gpdust.export.cubes import cube_hdus, read_cubes
from gpdust.export.healpix import healpix_hdus, read_healpix
from gpdust.export.parts import GRID_KEY, percentiles_hdu, primary_hdu, read_meta, read_percentiles, words_hdu
from gpdust.files import atomic_path
from gpdust.posterior.maps import PercentileMaps

if TYPE_CHECKING:
    from collections.abc import Callable

_WRITERS: dict[str, Callable] = {"spherical": cube_hdus, "healpix": healpix_hdus}
_READERS: dict[str, Callable] = {"spherical": read_cubes, "healpix": read_healpix}


def write_maps(maps: PercentileMaps, path: str | PathLike) -> Path:
    """Write percentile maps to one FITS file, which appears whole or not at all and takes the place of an older one.

    Maps on a `SphericalGrid` become image cubes (distance, b, l) with a WCS, maps on a `HealpixGrid` a table with one
    row per pixel; edges, percentiles and `maps.meta` are tables beside them. Every HDU has a checksum.

    Values are float32: rounding keeps the order of percentiles, and an error of 6e-8 is far below any error bar.
    Edges are float64.

    Parameters
    ----------
    maps : PercentileMaps
        On a `SphericalGrid` or a `HealpixGrid`. Its `meta` is kept as JSON: what JSON does not know becomes text.
    path : path-like
        The file; the suffix is up to you.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    PosteriorError
        If the grid is neither spherical nor HEALPix.
    """
    path, kind = Path(path), maps.grid.kind
    if kind not in _WRITERS:
        raise PosteriorError(f"maps on a grid of kind '{kind}' have no FITS form; use a SphericalGrid or a HealpixGrid")
    products = _WRITERS[kind](maps)
    hdus = fits.HDUList([primary_hdu(maps), *products, percentiles_hdu(maps.percentiles), words_hdu(maps.meta)])
    with atomic_path(path) as temporary:
        hdus.writeto(temporary, checksum=True)
    return path


def read_maps(path: str | PathLike) -> PercentileMaps:
    """Read maps that `write_maps` has written.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    PercentileMaps

    Raises
    ------
    PosteriorError
        If there is no such file, it is damaged, or it is not one of gpdust's; says what is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)  # a checksum that is wrong, a file cut short
            # Opened here, because astropy leaves a file open that it fails to read.
            with open(path, "rb") as file, fits.open(file, memmap=False, checksum=True) as hdus:
                return _maps(hdus)
    except FileNotFoundError:
        raise PosteriorError(f"there is no file '{path}'") from None
    except KeyError as missing:
        raise PosteriorError(f"'{path}' does not hold gpdust maps: {missing.args[0]}") from None
    except PosteriorError as error:
        raise PosteriorError(f"'{path}': {error}") from None
    except (OSError, TypeError, ValueError, AstropyUserWarning) as error:
        raise PosteriorError(f"'{path}' can't be read: {str(error).strip()}") from error


def _maps(hdus: fits.HDUList) -> PercentileMaps:
    kind = hdus[0].header[GRID_KEY]
    if kind not in _READERS:
        raise PosteriorError(f"its grid is of kind '{kind}', which this version of gpdust does not know")
    percentiles = read_percentiles(hdus)
    grid, density, extinction = _READERS[kind](hdus, percentiles)
    return PercentileMaps(grid, percentiles, density, extinction, read_meta(hdus))
