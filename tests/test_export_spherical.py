"""Spherical maps in FITS: cubes that read back, with a WCS that points at the right cells."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

import gpdust
from gpdust.errors import PosteriorError
from gpdust.export import read_maps, write_maps
from gpdust.grid import RayGrid, Region, SphericalGrid
from gpdust.posterior.maps import PercentileMaps

META = {
    "band": "547 nm",
    "quantity": "A0",
    "reference": "Müller & Søren 2024, " + "a long title " * 9,
    "seed": 3,
    "a long keyword with spaces": 1.5e-7,
    "none": None,
    "numpy": np.float64(0.25),
}


def make_maps(grid: RayGrid, percentiles=(16.0, 50.0, 84.0), meta=META) -> PercentileMaps:
    """Sorted positive random values, different in every cell."""
    rng = np.random.default_rng(0)
    density = np.sort(rng.lognormal(-7, 2, (len(percentiles), *grid.shape)), axis=0)
    extinction = np.cumsum(density * grid.cell_lengths, axis=-1)
    return PercentileMaps(grid, percentiles, density, extinction, meta)


def make_grid(l=(50, 90), b=(-10, 14), b_spacing="uniform", distance_spacing="linear") -> SphericalGrid:
    region = Region(l=l * u.deg, b=b * u.deg, distance=(180, 500) * u.pc)
    return region.grid((8, 6, 5), b_spacing=b_spacing, distance_spacing=distance_spacing)


GRIDS = {
    "uniform": make_grid(),
    "sin b": make_grid(b_spacing="sin"),
    "log distance": make_grid(distance_spacing="log"),
    "across the centre": make_grid(l=(340, 20)),
    "from below zero": make_grid(l=(-30, 10), b_spacing="sin"),
    "whole sky": make_grid(l=(0, 360), b=(-90, 90), b_spacing="sin"),
    "uneven": SphericalGrid([50, 51, 57, 90] * u.deg, [-80, -3, 5] * u.deg, [0, 10, 40] * u.pc),
}


@pytest.mark.parametrize("name", GRIDS)
def test_round_trip(name, tmp_path):
    maps = make_maps(GRIDS[name], percentiles=(2.5, 15.8655254, 50, 97.5))
    path = write_maps(maps, tmp_path / "map.fits")
    assert path == tmp_path / "map.fits"
    back = read_maps(path)
    for edges in ("l_edges", "b_edges", "distance_edges"):
        assert_array_equal(getattr(back.grid, edges), getattr(maps.grid, edges))
    assert back.percentiles == maps.percentiles
    assert back.density_values.dtype == np.float64
    assert back.density_values.dtype.isnative
    assert_array_equal(back.density_values, maps.density_values.astype(np.float32))
    assert_array_equal(back.extinction_values, maps.extinction_values.astype(np.float32))
    assert back.meta == META
    assert (np.diff(back.density_values, axis=0) >= 0).all()
    assert (np.diff(back.extinction_values, axis=-1) >= 0).all()


def test_what_others_see(tmp_path):
    maps = make_maps(GRIDS["uniform"], percentiles=(2.5, 50))
    with fits.open(maps.write(tmp_path / "map.fits"), checksum=True) as hdus:
        assert [hdu.name for hdu in hdus[1:5]] == ["DENSITY_P2.5", "DENSITY_P50", "EXTINCTION_P2.5", "EXTINCTION_P50"]
        header = hdus[0].header
        assert header["CREATOR"] == f"gpdust {gpdust.__version__}"
        assert (header["BAND"], header["QUANTITY"], header["SEED"]) == ("547 nm", "A0", 3)
        assert header["REFERENC"].startswith("M?ller")
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
        for hdu, unit in zip(hdus[1:5], 2 * ["mag / pc"] + 2 * ["mag"], strict=True):
            assert u.Unit(hdu.header["BUNIT"], format="fits") == u.Unit(unit)
            assert hdu.shape == (5, 6, 8)
            assert hdu.data.dtype == ">f4"
        assert hdus["DENSITY_P50"].header["BUNIT"] == "mag pc-1"
        assert hdus["DENSITY_P2.5"].header["PERCENT"] == 2.5
        assert hdus["DENSITY_P50"].header["PERCENT"] == 50
        assert hdus["B_EDGES"].columns["edge"].unit == "deg"
        assert hdus["D_EDGES"].columns["edge"].unit == "pc"
        # ray = i_l · n_b + i_b
        assert hdus["DENSITY_P50"].data[4, 2, 7] == np.float32(maps.density_values[1, 7 * 6 + 2, 4])


def wcs_of(grid: SphericalGrid, name: str, tmp_path) -> WCS:
    with fits.open(write_maps(make_maps(grid), tmp_path / "map.fits")) as hdus:
        return WCS(hdus[name].header)


@pytest.mark.parametrize("name", ["uniform", "sin b", "log distance", "across the centre", "from below zero"])
def test_every_pixel_lies_on_its_ray(name, tmp_path):
    grid = GRIDS[name]
    sky = wcs_of(grid, "DENSITY_P50", tmp_path).celestial
    i_b, i_l = np.mgrid[:6, :8]
    there = sky.pixel_to_world(i_l, i_b)
    assert isinstance(there, SkyCoord)
    assert there.frame.name == "galactic"
    assert_array_equal(grid.locate_rays(there.l.deg, there.b.deg), i_l * 6 + i_b)
    x, y = sky.world_to_pixel(there)
    assert_allclose(x, i_l, atol=1e-9)
    assert_allclose(y, i_b, atol=1e-9)


@pytest.mark.parametrize("name", sorted(GRIDS.keys() - {"uneven"}))
def test_pixel_edges_are_cell_edges(name, tmp_path):
    grid = GRIDS[name]
    sky = wcs_of(grid, "DENSITY_P50", tmp_path).celestial
    l, _ = sky.wcs_pix2world(np.arange(9) - 0.5, np.full(9, 2.0), 0)
    _, b = sky.wcs_pix2world(np.full(7, 2.0), np.arange(7) - 0.5, 0)
    assert_allclose((l - grid.l_edges.value + 180) % 360, 180, atol=1e-9)
    assert_allclose(b, grid.b_edges.value, atol=1e-6 if name == "whole sky" else 1e-9)


def test_plate_carree_values(tmp_path):
    wcs = wcs_of(GRIDS["across the centre"], "DENSITY_P50", tmp_path)
    assert list(wcs.wcs.ctype) == ["GLON-CAR", "GLAT-CAR", "DIST"]
    assert_allclose(wcs.wcs.crval[:2], [0, 0])
    # Cells of 5 by 4 degrees and 64 pc from (340, -10, 180).
    assert_allclose(wcs.wcs_pix2world([[0, 0, 0], [3, 2, 1], [7, 5, 4]], 0), [
        [342.5, -8, 212],
        [357.5, 0, 276],
        [17.5, 12, 468],
    ])  # fmt: skip
    assert_allclose(wcs_of(GRIDS["uniform"], "DENSITY_P50", tmp_path).wcs.crval[0], 70)


def test_extinctions_sit_at_outer_edges(tmp_path):
    grid = GRIDS["uniform"]
    wcs = wcs_of(grid, "EXTINCTION_P50", tmp_path)
    distances = wcs.wcs_pix2world(np.stack([np.zeros(5), np.zeros(5), np.arange(5)], axis=1), 0)[:, 2]
    assert_allclose(distances, grid.edges[1:])
    assert wcs.wcs.cunit[2] == u.pc


def test_uneven_distances_are_counted(tmp_path):
    wcs = wcs_of(GRIDS["log distance"], "EXTINCTION_P50", tmp_path)
    assert list(wcs.wcs.ctype) == ["GLON-CAR", "GLAT-CAR", "CELL"]
    assert_allclose(wcs.wcs_pix2world([[0, 0, 3]], 0), [[52.5, -8, 4]])


@pytest.mark.parametrize(
    ("l", "b", "said"),
    [([50, 51, 57], [-5, 0, 5], "not even in longitude"), ([50, 52, 54], [-5, 3, 5], "neither in b nor in sin b")],
)
def test_no_wcs_is_better_than_a_wrong_one(l, b, said, tmp_path):
    grid = SphericalGrid(l * u.deg, b * u.deg, [10, 20, 30] * u.pc)
    with fits.open(write_maps(make_maps(grid), tmp_path / "map.fits")) as hdus:
        header = hdus["DENSITY_P50"].header
        assert not [key for key in header if key.startswith(("CTYPE", "CRVAL", "CDELT"))]
        assert said in str(header["COMMENT"])


def test_no_meta(tmp_path):
    maps = make_maps(GRIDS["uniform"], meta={})
    assert read_maps(write_maps(maps, tmp_path / "map.fits")).meta == {}


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "other.fits"
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(path)
    with pytest.raises(PosteriorError, match=r"other\.fits.*GRIDKIND"):
        read_maps(path)


@pytest.mark.parametrize("missing", ["B_EDGES", "EXTINCTION_P84", "PERCENTILES", "META"])
def test_a_part_is_missing(missing, tmp_path):
    path = write_maps(make_maps(GRIDS["uniform"]), tmp_path / "map.fits")
    with fits.open(path) as hdus:
        del hdus[missing]
        hdus.writeto(tmp_path / "part.fits")
    with pytest.raises(PosteriorError, match=rf"part\.fits.*{missing}"):
        read_maps(tmp_path / "part.fits")


def test_edges_and_cubes_differ(tmp_path):
    path = write_maps(make_maps(GRIDS["uniform"]), tmp_path / "map.fits")
    other = write_maps(make_maps(GRIDS["uneven"]), tmp_path / "other.fits")
    with fits.open(path) as hdus, fits.open(other) as others:
        hdus["DENSITY_P50"] = others["DENSITY_P50"]
        hdus.writeto(tmp_path / "mixed.fits")
    with pytest.raises(PosteriorError, match=r"DENSITY_P50 has shape \(2, 2, 3\)"):
        read_maps(tmp_path / "mixed.fits")


def test_a_damaged_file(tmp_path):
    path = write_maps(make_maps(GRIDS["uniform"]), tmp_path / "map.fits")
    content = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        content[hdus["DENSITY_P50"].fileinfo()["datLoc"] + 5] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(PosteriorError, match=r"map\.fits.*[Cc]hecksum"):
        read_maps(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PosteriorError, match=r"map\.fits"):
        read_maps(path)
    path.write_text("not FITS at all")
    with pytest.raises(PosteriorError, match=r"map\.fits"):
        read_maps(path)
    with pytest.raises(PosteriorError, match="no file"):
        read_maps(tmp_path / "nowhere.fits")


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = write_maps(make_maps(GRIDS["uniform"]), tmp_path / "map.fits")
    before = path.read_bytes()
    rays = RayGrid([1, 2] * u.deg, [0, 0] * u.deg, [0, 1, 2] * u.pc)
    with pytest.raises(PosteriorError, match="'rays'"):
        write_maps(make_maps(rays), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["map.fits"]
