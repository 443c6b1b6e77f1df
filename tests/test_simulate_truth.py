"""True densities on grids: integrals against known answers, and files."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from gpdust.errors import GridError, PosteriorError
from gpdust.grid import Region
from gpdust.simulate import GaussianClump, GridTruth, Shell, UniformDensity
from gpdust.simulate import truth as truth_module

RHO = u.mag / u.pc
REGION = Region(l=(350, 20) * u.deg, b=(-10, 15) * u.deg, distance=(100, 400) * u.pc)


def places(l, b, distance):
    return SkyCoord(l=l * u.deg, b=b * u.deg, distance=distance * u.pc, frame="galactic")


def test_uniform_density_gives_density_times_distance():
    region = Region(REGION.l, REGION.b, REGION.distance, foreground_cells=2)
    truth = GridTruth.sample(UniformDensity(2e-3 * RHO), region.grid((4, 5, 33)))
    distance = np.array([0.5, 60, 100, 101.3, 250, 399.99, 400])
    stars = places(np.linspace(-9, 19, 7), np.linspace(-9, 14, 7), distance)
    np.testing.assert_allclose(truth.extinction_at(stars).to_value(u.mag), 2e-3 * distance, rtol=1e-12)
    np.testing.assert_allclose(truth.extinction_at(stars.icrs).to_value(u.mag), 2e-3 * distance, rtol=1e-9)


def test_no_foreground_cells_means_no_foreground_dust():
    truth = GridTruth.sample(UniformDensity(2e-3 * RHO), REGION.grid((4, 5, 33)))
    assert truth.extinction_at(places([0.0], [0.0], [150.0])).to_value(u.mag) == pytest.approx(2e-3 * 50)


def test_clump_crossed_through_its_middle():
    grid = Region((0, 2) * u.deg, (-1, 1) * u.deg, (100, 400) * u.pc).grid((1, 1, 150))
    clump = GaussianClump(places(1, 0, 250), 15 * u.pc, 0.02 * RHO)
    extinction = GridTruth.sample(clump, grid).extinction.to_value(u.mag)
    assert extinction[0, -1] == pytest.approx(0.02 * 15 * np.sqrt(2 * np.pi), rel=1e-4)
    assert extinction[0, 74] == pytest.approx(extinction[0, -1] / 2, rel=1e-6)  # its middle is the 75th outer edge


def test_cells_are_sampled_at_their_own_centres():
    grid = REGION.grid((6, 5, 7))
    clump = GaussianClump(places(3, 4, 240), 60 * u.pc, 0.02 * RHO)
    truth = GridTruth.sample(clump, grid)
    expected = clump.at(grid.coordinates)
    np.testing.assert_allclose(truth.density.to_value(RHO), expected.to_value(RHO), rtol=1e-9)


def test_chunks_do_not_change_the_truth(monkeypatch):
    shell = Shell(places(3, 4, 240), 60 * u.pc, 9 * u.pc, 0.02 * RHO)
    whole = GridTruth.sample(shell, REGION.grid((6, 5, 7)))
    monkeypatch.setattr(truth_module, "CHUNK_POINTS", 4 * 7)  # 30 rays: seven chunks of 4 rays and one of 2
    np.testing.assert_array_equal(GridTruth.sample(shell, whole.grid).density, whole.density)


def test_healpix_truth():
    truth = GridTruth.sample(UniformDensity(1e-3 * RHO), REGION.healpix_grid(8, 10))
    centre = truth.grid.coordinates[3, 5]
    assert truth.extinction_at(centre.reshape(1)).to_value(u.mag) == pytest.approx(1e-3 * (centre.distance.pc - 100))
    with pytest.raises(GridError, match="SphericalGrid"):
        truth.write("never.fits")


def test_stars_outside_are_refused_and_counted():
    truth = GridTruth.sample(UniformDensity(1e-3 * RHO), REGION.grid((4, 5, 6)))
    with pytest.raises(GridError, match="2 of 3 stars"):
        truth.extinction_at(places([0, 0, 40], [0, 0, 0], [200, 401, 200]))


@pytest.mark.parametrize("bad", [-1e-3, np.nan, np.inf])
def test_impossible_densities_are_refused(bad):
    grid = REGION.grid((1, 1, 3))
    with pytest.raises(GridError, match="finite and not negative"):
        GridTruth(grid, [[1e-3, bad, 1e-3]] * RHO)
    with pytest.raises(GridError, match="shape"):
        GridTruth(grid, [1e-3, 1e-3, 1e-3] * RHO)


def test_written_truth_comes_back(tmp_path):
    region = Region(REGION.l, REGION.b, REGION.distance, foreground_cells=2, background=60 * u.pc)
    grid = region.grid((3, 4, 10))
    density = np.random.default_rng(1).lognormal(-6, 1, grid.shape)
    truth = GridTruth(grid, density * 1000 * u.mag / u.kpc)
    path = tmp_path / "new" / "truth.fits"
    truth.write(path)
    truth.write(path)  # replaces
    back = GridTruth.read(path)
    np.testing.assert_array_equal(back.density, truth.density)
    np.testing.assert_array_equal(back.extinction, truth.extinction)
    assert back.grid.description() == grid.description()
    assert [p.name for p in path.parent.iterdir()] == ["truth.fits"]


def test_written_truth_as_other_programs_see_it(tmp_path):
    grid = REGION.grid((3, 4, 10))
    density = np.random.default_rng(1).lognormal(-6, 1, grid.shape)
    truth = GridTruth(grid, density * RHO)
    truth.write(tmp_path / "truth.fits")
    with fits.open(tmp_path / "truth.fits") as hdus:
        assert hdus["DENSITY"].shape == hdus["EXTINCTION"].shape == (10, 4, 3)
        assert u.Unit(hdus["DENSITY"].header["BUNIT"]) == RHO
        assert u.Unit(hdus["EXTINCTION"].header["BUNIT"]) == u.mag
        ray = 2 * 4 + 1  # l index 2, b index 1
        np.testing.assert_array_equal(hdus["DENSITY"].data[:, 1, 2], density[ray])
        np.testing.assert_array_equal(hdus["EXTINCTION"].data[:, 1, 2], truth.extinction[ray].value)
        np.testing.assert_allclose(hdus["D_EDGES"].data["edge"], np.linspace(100, 400, 11))
        np.testing.assert_allclose(hdus["L_EDGES"].data["edge"], [350, 360, 370, 380])
        assert hdus["B_EDGES"].columns["edge"].unit == "deg"


def test_unreadable_truths_are_told(tmp_path):
    (tmp_path / "text.fits").write_text("no FITS")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    for name in ("missing.fits", "text.fits", "empty.fits"):
        with pytest.raises(PosteriorError, match=name):
            GridTruth.read(tmp_path / name)
