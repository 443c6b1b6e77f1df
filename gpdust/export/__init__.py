"""Maps as files that other programs read: FITS cubes with a WCS, and HEALPix tables."""

from gpdust.export.fits import read_maps, write_maps
from gpdust.export.healpix import healpix_map

__all__ = ["healpix_map", "read_maps", "write_maps"]
