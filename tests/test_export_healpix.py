"""HEALPix maps in FITS, and as arrays for healpy."""

import astropy.units as u
import healpy
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal

from gpdust.errors import PosteriorError
from gpdust.export import healpix_map, read_maps, write_maps
from gpdust.grid import HealpixGrid, SphericalGrid
from gpdust.posterior.maps import PercentileMaps

EDGES = [100, 110, 130, 160] * u.pc


def make_maps(grid, percentiles=(16.0, 50.0, 84.0)) -> PercentileMaps:
    rng = np.random.default_rng(0)
    density = np.sort(rng.lognormal(-7, 2, (len(percentiles), *grid.shape)), axis=0)
    return PercentileMaps(grid, percentiles, density, np.cumsum(density, axis=-1), {"band": "V", "seed": 5})


@pytest.fixture
def partial() -> PercentileMaps:
    return make_maps(HealpixGrid(4, EDGES, pixels=[17, 3, 100, 42], order="nested"))


@pytest.mark.parametrize(
    "grid",
    [
        HealpixGrid(4, EDGES, pixels=[17, 3, 100, 42], order="nested"),
        HealpixGrid(2, EDGES),
        HealpixGrid(8, EDGES[:2], pixels=[5, 6]),
    ],
    ids=["nested, partial", "ring, full", "one cell"],
)
def test_round_trip(grid, tmp_path):
    maps = make_maps(grid, percentiles=(2.5, 50))
    back = read_maps(write_maps(maps, tmp_path / "map.fits"))
    assert back.grid.description() == grid.description()
    assert back.percentiles == (2.5, 50)
    assert_array_equal(back.density_values, maps.density_values.astype(np.float32))
    assert_array_equal(back.extinction_values, maps.extinction_values.astype(np.float32))
    assert (np.diff(back.density_values, axis=0) >= 0).all()
    assert back.meta == maps.meta


def test_what_others_see(partial, tmp_path):
    with fits.open(write_maps(partial, tmp_path / "map.fits"), checksum=True) as hdus:
        table = hdus["HEALPIX"]
        keys = ("PIXTYPE", "ORDERING", "NSIDE", "INDXSCHM", "COORDSYS", "OBJECT")
        assert [table.header[key] for key in keys] == ["HEALPIX", "NESTED", 4, "EXPLICIT", "G", "PARTIAL"]
        assert_array_equal(table.data["PIXEL"], [17, 3, 100, 42])
        assert table.data["DENSITY_P16"].shape == (4, 3)
        assert table.columns["DENSITY_P16"].unit == "mag pc-1"
        assert table.columns["EXTINCTION_P84"].unit == "mag"
        assert hdus["D_EDGES"].columns["edge"].unit == "pc"


def test_a_missing_column(partial, tmp_path):
    with fits.open(write_maps(partial, tmp_path / "map.fits")) as hdus:
        hdus["HEALPIX"].columns.del_col("EXTINCTION_P50")
        hdus.writeto(tmp_path / "part.fits", checksum=True)
    with pytest.raises(PosteriorError, match=r"part\.fits.*EXTINCTION_P50"):
        read_maps(tmp_path / "part.fits")


def test_map_for_healpy(partial):
    sky = healpix_map(partial, 120 * u.pc)
    assert sky.shape == (192,)
    assert np.count_nonzero(sky != healpy.UNSEEN) == 4
    assert_array_equal(sky[[17, 3, 100, 42]], partial.density_values[1, :, 1])
    l, b = partial.grid.l[2].value, partial.grid.b[2].value
    assert healpy.get_interp_val(sky, l, b, nest=True, lonlat=True) is not None
    assert sky[healpy.ang2pix(4, l, b, nest=True, lonlat=True)] == partial.density_values[1, 2, 1]


@pytest.mark.parametrize(("distance", "cell"), [(100, 0), (110, 0), (119, 0), (121, 1), (130, 1), (160, 2)])
def test_extinction_is_that_of_the_nearest_outer_edge(partial, distance, cell):
    sky = healpix_map(partial, distance * u.pc, "extinction", percentile=84)
    assert_array_equal(sky[partial.grid.pixels], partial.extinction_values[2, :, cell])


@pytest.mark.parametrize(("distance", "cell"), [(100, 0), (110, 1), (129, 1), (160, 2)])
def test_density_is_that_of_the_cell_around(partial, distance, cell):
    sky = healpix_map(partial, distance * u.pc)
    assert_array_equal(sky[partial.grid.pixels], partial.density_values[1, :, cell])


def test_what_the_maps_do_not_hold(partial):
    with pytest.raises(PosteriorError, match="100 to 160 pc"):
        healpix_map(partial, 0.2 * u.kpc)
    with pytest.raises(PosteriorError, match="percentiles"):
        healpix_map(partial, 120 * u.pc, percentile=2)
    with pytest.raises(PosteriorError, match="'mass'"):
        healpix_map(partial, 120 * u.pc, "mass")
    spherical = make_maps(SphericalGrid([0, 1] * u.deg, [0, 1] * u.deg, EDGES))
    with pytest.raises(PosteriorError, match="SphericalGrid"):
        healpix_map(spherical, 120 * u.pc)
