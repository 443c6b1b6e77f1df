"""Where a cube lies: directions of its axes, the way to Galactic coordinates and back, and the smallest one."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose

from gpdust import Region
from gpdust.encoder.cube import HALF_OPENING, CubeGrid
from gpdust.errors import EncoderError
from gpdust.los.cartesian import cell_centres
from gpdust.units import DEGREE, PARSEC, as_array

PAPER = CubeGrid(32, 6.0, 180.0, 0.0)


def points_of(grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    where = grid.coordinates
    return where.l.deg.ravel(), where.b.deg.ravel(), where.distance.pc.ravel()


def test_the_cube_of_the_paper_looks_away_from_the_galactic_centre():
    l, b, distance = PAPER.points_galactic()
    assert l.shape == b.shape == distance.shape == (32, 32, 32)
    where = SkyCoord(l=l * u.deg, b=b * u.deg, distance=distance * u.pc, frame="galactic").cartesian
    depth, y, z = np.moveaxis((cell_centres(32) - [0, 16, 16]).reshape(32, 32, 32, 3) * 6, -1, 0)
    assert_allclose(where.x.value, -depth, atol=1e-10)
    assert_allclose(where.y.value, -y, atol=1e-10)
    assert_allclose(where.z.value, z, atol=1e-10)


@pytest.mark.parametrize("l, b", [(0, 0), (359, 40), (160, -20), (75, 89), (30, -90)])
def test_axes_run_from_the_sun_to_larger_longitude_and_to_the_pole(l, b):
    cube = CubeGrid(10, 20.0, l, b)
    assert_allclose(cube.to_cube(l, b, 100.0), [5, 5, 5], atol=1e-12)
    assert_allclose(cube.to_cube(l, b, 0.0), [0, 5, 5], atol=1e-12)
    east, north = cube.to_cube(l + 0.01, b, 100.0), cube.to_cube(l, b + 0.01 if b < 89.9 else b - 0.01, 100.0)
    if abs(b) < 90:
        assert east[1] > 5
        assert_allclose(east[2], 5, atol=1e-3)
    assert north[2] > 5
    assert_allclose(north[1], 5, atol=1e-12)


@pytest.mark.parametrize("cells", [1, 4, 5])
def test_there_and_back(cells):
    cube = CubeGrid(cells, 12.5, 350.0, 30.0)
    assert_allclose(cube.to_cube(*cube.points_galactic()).reshape(-1, 3), cell_centres(cells), atol=1e-12)
    l, _, _ = cube.points_galactic()
    assert ((l >= 0) & (l < 360)).all()


def test_it_agrees_with_the_frame_of_the_grids():
    grid = Region(l=(140, 200) * u.deg, b=(-10, 10) * u.deg, distance=(10, 150) * u.pc).grid((4, 3, 5))
    expected = (grid.cell_points() / 6) * (-1, -1, 1) + (0, 16, 16)
    assert_allclose(PAPER.to_cube(*points_of(grid)), expected.reshape(-1, 3), atol=1e-10)


def test_it_holds_what_lies_between_its_faces():
    assert PAPER.holds(180.0, 0.0, 191.9) and not PAPER.holds(180.0, 0.0, 192.1)
    corner = 191.9 / np.cos(np.deg2rad(HALF_OPENING))
    assert PAPER.holds(180 + HALF_OPENING, 0.0, corner) and not PAPER.holds(180 + HALF_OPENING + 0.1, 0.0, corner)
    assert not PAPER.holds(0.0, 0.0, 10.0)
    assert_allclose(PAPER.holds([180, 90, 90], 0.0, [10, 90, 100]), [True, True, False])


def test_the_smallest_cube_holds_a_region_and_looks_at_it():
    grid = Region(l=(350, 10) * u.deg, b=(10, 30) * u.deg, distance=(300, 500) * u.pc).grid((6, 6, 8))
    points = points_of(grid)
    cube = CubeGrid.covering(*points, cells=16)
    assert cube.holds(*points).all() and cube.shape == (16, 16, 16)
    assert min(cube.l, 360 - cube.l) < 0.5 and 15 < cube.b < 25
    reach = cube.to_cube(*points) - (0, 8, 8)
    assert_allclose(reach[:, 1:].min(axis=0), -reach[:, 1:].max(axis=0), rtol=0.01)  # as far to either side
    deepest = cube.to_cube(*points)[:, 0].max() * cube.cell_length
    assert_allclose(deepest, cube.side, rtol=1e-4)  # no cell is wasted behind the region


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_cube_is_no_larger_than_one_the_points_were_drawn_in(seed):
    rng = np.random.default_rng(seed)
    drawn = CubeGrid(8, 10.0, rng.uniform(0, 360), rng.uniform(-60, 60))
    points = drawn.to_galactic(rng.uniform(0, 8, (500, 3)))
    cube = CubeGrid.covering(*points, cells=8)
    assert cube.holds(*points).all()
    assert cube.cell_length < 10.2


def test_points_wider_than_the_far_face_make_the_cube_deeper():
    l, b, distance = np.linspace(60, 120, 25), np.zeros(25), np.full(25, 100.0)
    cube = CubeGrid.covering(l, b, distance, stretch=1.1)
    assert cube.holds(l, b, distance).all()
    assert_allclose(cube.side, 100, rtol=1e-3)  # 2 × 100 pc × sin 30°
    with pytest.raises(EncoderError, match=r"up to 60° from the axis .* ±26\.6° only: they reach 36\.6 pc outside"):
        CubeGrid.covering(np.linspace(30, 150, 25), b, distance)
    wide = CubeGrid.covering(np.linspace(30, 150, 25), b, distance, stretch=2)
    assert_allclose(wide.side, 2 * 100 * np.sin(np.pi / 3), rtol=1e-3)


def test_what_no_cube_can_hold_is_refused():
    with pytest.raises(EncoderError, match="cover fewer degrees"):
        CubeGrid.covering(np.arange(0, 360, 10), np.zeros(36), np.full(36, 100.0))
    with pytest.raises(EncoderError, match="at least one"):
        CubeGrid.covering([], [], [])
    with pytest.raises(EncoderError, match="finite"):
        CubeGrid.covering([10.0], [0.0], [np.nan])
    for bad in ((0, 6.0, 0, 0), (8, 0.0, 0, 0), (8, 6.0, 0, 91), (8, 6.0, np.nan, 0)):
        with pytest.raises(EncoderError):
            CubeGrid(*bad)


def test_one_star_makes_a_cube():
    cube = CubeGrid.covering([200.0], [-45.0], [130.0])
    assert cube.holds(200.0, -45.0, 130.0)
    assert_allclose([cube.l, cube.b, cube.side], [200, -45, 130], rtol=1e-4)


def test_units_of_the_catalogue_are_those_of_the_cube(mock_stars):
    stars = mock_stars()
    points = as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b"), as_array(stars.distance, PARSEC, "d")
    assert CubeGrid.covering(*points).holds(*points).all()
