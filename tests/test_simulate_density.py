"""The shapes of simulated dust: their values, their integrals along straight paths, and their complaints."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from gpdust.errors import ConfigError, MissingUnitError
from gpdust.simulate import ExponentialDisc, Filament, GaussianClump, Sheet, Shell, SumDensity, UniformDensity

RHO = u.mag / u.pc
STEP = 0.25


def column(density, start, direction, length=800.0):
    """Integrate numerically along a straight path, mag."""
    along = np.arange(STEP / 2, length, STEP)
    points = np.asarray(start) + along[:, None] * (np.asarray(direction) / np.linalg.norm(direction))
    return density(points).sum() * STEP


def test_clump_crossed_through_its_middle():
    clump = GaussianClump([300, 40, -20] * u.pc, 15 * u.pc, 0.02 * RHO)
    assert column(clump, (0, 0, 0), (300, 40, -20)) == pytest.approx(0.02 * 15 * np.sqrt(2 * np.pi), rel=1e-6)


def test_clump_with_three_widths():
    clump = GaussianClump([300, 0, 0] * u.pc, [30, 10, 5] * u.pc, 0.02 * RHO)
    assert column(clump, (0, 0, 0), (1, 0, 0)) == pytest.approx(0.02 * 30 * np.sqrt(2 * np.pi), rel=1e-6)
    one_sigma_off = clump(np.array([[300, 10, 0], [300, 0, 5], [330, 0, 0]]))
    np.testing.assert_allclose(one_sigma_off, 0.02 * np.exp(-0.5))


def test_shell_has_two_walls_and_a_hole():
    shell = Shell([0.3, 0, 0] * u.kpc, 50 * u.pc, 4 * u.pc, 0.03 * RHO)
    assert column(shell, (0, 0, 0), (1, 0, 0)) == pytest.approx(2 * 0.03 * 4 * np.sqrt(2 * np.pi), rel=1e-6)
    assert shell(np.array([300.0, 0, 0])) < 1e-30
    np.testing.assert_allclose(shell(np.array([300.0, 30, 40])), 0.03)


def test_filament_across_along_and_beyond_its_ends():
    filament = Filament([300, -50, 0] * u.pc, [300, 50, 0] * u.pc, 6 * u.pc, 0.04 * RHO)
    assert column(filament, (0, 0, 0), (1, 0, 0)) == pytest.approx(0.04 * 6 * np.sqrt(2 * np.pi), rel=1e-6)
    # along the spine: its length, and half a Gaussian at each end
    along = 0.04 * (100 + 6 * np.sqrt(2 * np.pi))
    assert column(filament, (300, -400, 0), (0, 1, 0)) == pytest.approx(along, rel=1e-4)
    np.testing.assert_allclose(filament(np.array([[300, 56, 0], [306, 20, 0]])), 0.04 * np.exp(-0.5))


def test_sheet_crossed_at_an_angle():
    sheet = Sheet([200, 0, 0] * u.pc, (2, 0, 0), 5 * u.pc, 0.01 * RHO)
    expected = 0.01 * 5 * np.sqrt(2 * np.pi)
    assert column(sheet, (0, 0, 0), (1, 0, 0)) == pytest.approx(expected, rel=1e-6)
    assert column(sheet, (0, 0, 0), (1, 1, 0)) == pytest.approx(expected * np.sqrt(2), rel=1e-6)


def test_disc_towards_the_pole():
    disc = ExponentialDisc(2e-3 * RHO, 100 * u.pc)
    assert column(disc, (0, 0, 0), (0, 0, -1), 3000) == pytest.approx(0.2, rel=1e-5)
    np.testing.assert_allclose(disc(np.array([[500, 0, 0], [0, 0, 100]])), [2e-3, 2e-3 / np.e])


def test_sums_add_and_open_up():
    uniform, disc = UniformDensity(1e-3 * RHO), ExponentialDisc(2e-3 * RHO, 100 * u.pc)
    total = uniform + (disc + uniform)
    assert isinstance(total, SumDensity)
    assert total.parts == (uniform, disc, uniform)
    points = np.random.default_rng(0).normal(0, 100, (4, 5, 3))
    np.testing.assert_allclose(total(points), 2e-3 + disc(points))
    assert total(points).shape == (4, 5)
    with pytest.raises(TypeError):
        uniform + 3


def test_sky_coordinates_and_xyz_are_the_same_place():
    place = SkyCoord(l=30 * u.deg, b=-60 * u.deg, distance=200 * u.pc, frame="galactic")
    clump = GaussianClump(place.icrs, 10 * u.pc, 0.02 * RHO)
    x, y, z = 200 * np.array([np.cos(np.pi / 6) / 2, np.sin(np.pi / 6) / 2, -np.sqrt(0.75)])
    np.testing.assert_allclose(clump(np.array([x, y, z])), 0.02, rtol=1e-9)
    assert clump.at(place).to_value(RHO) == pytest.approx(0.02, rel=1e-9)
    grid_of_places = SkyCoord([[30, 40, 50]] * u.deg, [[-60, 0, 0]] * u.deg, 200 * u.pc, frame="galactic")
    assert clump.at(grid_of_places).shape == (1, 3)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: GaussianClump([1, 2, 3] * u.pc, 0 * u.pc, 1 * RHO), ConfigError, "clump sigma must be positive"),
        (lambda: GaussianClump([1, 2, 3] * u.pc, [1, 2] * u.pc, 1 * RHO), ConfigError, "one length or three"),
        (lambda: GaussianClump([1, 2, 3] * u.pc, 5 * u.pc, -1 * RHO), ConfigError, "clump peak can't be negative"),
        (lambda: GaussianClump([1, 2, 3], 5 * u.pc, 1 * RHO), MissingUnitError, "clump centre has no unit"),
        (lambda: GaussianClump([1, 2] * u.pc, 5 * u.pc, 1 * RHO), ValueError, "x, y, z"),
        (lambda: UniformDensity(1 * u.mag), MissingUnitError, "uniform density"),
        (lambda: ExponentialDisc(1 * RHO, -1 * u.pc), ConfigError, "scale_height must be positive"),
        (lambda: Filament([1, 2, 3] * u.pc, [1, 2, 3] * u.pc, 1 * u.pc, 1 * RHO), ConfigError, "same place"),
        (lambda: Sheet([1, 2, 3] * u.pc, (0, 0, 0), 1 * u.pc, 1 * RHO), ConfigError, "normal"),
        (lambda: Shell(SkyCoord(1 * u.deg, 2 * u.deg), 1 * u.pc, 1 * u.pc, 1 * RHO), MissingUnitError, "centre"),
    ],
)
def test_unusable_numbers_are_refused_at_once(make, error, words):
    with pytest.raises(error, match=words):
        make()
