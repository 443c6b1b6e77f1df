"""Density maps of a cube, with errors where there are any, and the FITS file that holds them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from gpdust.encoder.cube import CubeGrid
from gpdust.errors import EncoderError
from gpdust.files import atomic_path

AXES = ("depth", "y", "z")  # of arrays; FITS counts them backwards


@dataclass(frozen=True, eq=False)
class CubeMaps:
    """What a V-net finds in a cube.

    Attributes
    ----------
    cube : CubeGrid
    density : ndarray, shape (n, n, n)
        mag/pc.
    error : ndarray, shape (n, n, n), or None
        Scatter of the density under the errors of the stars, mag/pc.
    """

    cube: CubeGrid
    density: np.ndarray
    error: np.ndarray | None = None

    def write(self, path: str | os.PathLike) -> None:
        """Write a FITS file with an image DENSITY and, where known, ERROR; NAXIS1 is z, NAXIS3 the depth.

        The header says in which direction (GLON, GLAT) the depth axis points, and gives positions in pc from the Sun.
        """
        images = [fits.PrimaryHDU()]
        for name, values in (("DENSITY", self.density), ("ERROR", self.error)):
            if values is not None:
                images.append(fits.ImageHDU(np.asarray(values, dtype=np.float32), self._header(), name))
        with atomic_path(path) as temporary:
            fits.HDUList(images).writeto(temporary)

    def _header(self) -> fits.Header:
        header = fits.Header([("BUNIT", "mag/pc")])
        cube = self.cube
        header["GLON"] = (cube.l, "Galactic longitude of the depth axis, deg")
        header["GLAT"] = (cube.b, "Galactic latitude of the depth axis, deg")
        for number, axis in enumerate(AXES[::-1], 1):
            first = cube.cell_length * (0.5 if axis == "depth" else 0.5 - cube.cells / 2)
            header[f"CTYPE{number}"] = (axis.upper(), "from the Sun")
            header[f"CUNIT{number}"] = "pc"
            header[f"CRPIX{number}"], header[f"CRVAL{number}"] = 1.0, first
            header[f"CDELT{number}"] = cube.cell_length
        return header

    @classmethod
    def read(cls, path: str | os.PathLike) -> CubeMaps:
        """Read what `write` wrote.

        Raises
        ------
        EncoderError
            If the file is none of these.
        """
        try:
            with fits.open(path) as hdus:
                image = hdus["DENSITY"]
                density = np.array(image.data, dtype=float)
                error = np.array(hdus["ERROR"].data, dtype=float) if "ERROR" in hdus else None
                header = image.header
                cube = CubeGrid(len(density), header["CDELT1"], header["GLON"], header["GLAT"])
        except FileNotFoundError:
            raise EncoderError(f"there is no file '{path}'") from None
        except (KeyError, OSError, TypeError) as failure:
            raise EncoderError(f"'{path}' does not hold the maps of a cube: {failure}") from None
        return cls(cube, density, error)


class RunningMoments:
    """Mean and standard deviation of draws that come a few at a time (Chan, Golub & LeVeque 1983).

    Parameters
    ----------
    shape : tuple of int
        Of a draw.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.mean, self._squares = 0, np.zeros(shape), np.zeros(shape)

    def add(self, draws: np.ndarray) -> None:
        """Take in some draws, shape (draws, ...)."""
        count, mean = len(draws), draws.mean(axis=0)
        shift, total = mean - self.mean, self.count + count
        self._squares += ((draws - mean) ** 2).sum(axis=0) + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = total

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of the draws; not a number of fewer than two."""
        return np.sqrt(self._squares / (self.count - 1)) if self.count > 1 else np.full(self.mean.shape, np.nan)
