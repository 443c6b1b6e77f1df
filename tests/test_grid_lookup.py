"""Which ray and cell a star lies in: against a loop, at edges, across 0/360, and in bulk."""

import time

import astropy.units as u
import healpy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpdust.grid import HealpixGrid, Region, SphericalGrid
from gpdust.los import locate_stars

EDGES = np.array([100.0, 109.0, 130.0, 200.0, 204.0])
CROSSING = SphericalGrid([340, 351.3, 363, 377.7] * u.deg, [-20, -3.3, 1, 30] * u.deg, EDGES * u.pc)
NESTED = HealpixGrid(4, EDGES * u.pc, np.random.default_rng(5).permutation(192)[:90], "nested")
RING = HealpixGrid(4, EDGES * u.pc)


def brute_force_ray(grid, l, b) -> int:
    if isinstance(grid, HealpixGrid):
        pixel = healpy.ang2pix(grid.nside, np.deg2rad(90 - b), np.deg2rad(l), nest=grid.order == "nested")
        return list(grid.pixels).index(pixel) if pixel in grid.pixels else -1
    n_l, n_b = grid.sky_shape
    for turn in (-360, 0, 360, 720):
        for i in range(n_l):
            for j in range(n_b):
                in_l = grid.l_edges[i].value <= l + turn < grid.l_edges[i + 1].value
                if in_l and grid.b_edges[j].value <= b < grid.b_edges[j + 1].value:
                    return i * n_b + j
    return -1


def brute_force_cell(edges, distance) -> int:
    for k in range(len(edges) - 1):
        if edges[k] <= distance < edges[k + 1]:
            return k
    return -1


@pytest.mark.parametrize("grid", [CROSSING, NESTED, RING], ids=["spherical", "nested", "ring"])
def test_lookup_equals_a_loop_over_stars(grid):
    rng = np.random.default_rng(1)
    l, b, d = rng.uniform(330, 390, 200), rng.uniform(-30, 40, 200), rng.uniform(90, 220, 200)
    l[::2] %= 360
    ray = np.array([brute_force_ray(grid, *place) for place in zip(l, b, strict=True)])
    cell = np.array([brute_force_cell(EDGES, distance) for distance in d])
    inside = (ray >= 0) & (cell >= 0)
    assert 20 < inside.sum() < 200
    stars = locate_stars(grid, l, b, d)
    assert_array_equal(stars.inside, inside)
    assert_array_equal(stars.ray, np.where(inside, ray, -1))
    assert_array_equal(stars.cell, np.where(inside, cell, -1))
    fraction = [(d[i] - EDGES[cell[i]]) / (EDGES[cell[i] + 1] - EDGES[cell[i]]) for i in np.flatnonzero(inside)]
    assert_allclose(stars.fraction[inside], fraction, rtol=1e-12)
    assert_array_equal(stars.fraction[~inside], 0)


@pytest.mark.parametrize("turn", [-360, 360])
@pytest.mark.parametrize("grid", [CROSSING, NESTED, RING], ids=["spherical", "nested", "ring"])
def test_a_whole_turn_of_longitude_changes_nothing(grid, turn):
    rng = np.random.default_rng(2)
    l, b = rng.uniform(0, 360, 5000), rng.uniform(-40, 40, 5000)
    assert_array_equal(grid.locate_rays(l + turn, b), grid.locate_rays(l, b))


@pytest.mark.parametrize(
    ("low", "high", "n"), [(50, 90, 20), (340, 377.7, 13), (-10, 20, 7), (0, 360, 36), (0.1, 9, 9)]
)
@pytest.mark.parametrize("turn", [-360, 360])
def test_a_whole_turn_changes_nothing_for_stars_on_edges(low, high, n, turn):
    grid = SphericalGrid(np.linspace(low, high, n + 1) * u.deg, [-1, 1] * u.deg, EDGES * u.pc)
    l = grid.l_edges.value
    here = grid.locate_rays(l, np.zeros(n + 1))
    assert (here >= 0).all()
    assert_array_equal(here[:-1], np.arange(n))
    assert_array_equal(grid.locate_rays(l + turn, np.zeros(n + 1)), here)


def test_the_grid_itself_may_be_shifted_by_a_whole_turn():
    shifted = SphericalGrid(CROSSING.l_edges - 360 * u.deg, CROSSING.b_edges, EDGES * u.pc)
    rng = np.random.default_rng(3)
    l, b = rng.uniform(0, 360, 5000), rng.uniform(-40, 40, 5000)
    assert_array_equal(shifted.locate_rays(l, b), CROSSING.locate_rays(l, b))


def test_edges_belong_to_the_cell_behind_them_and_the_far_edge_to_the_last_cell():
    assert_array_equal(CROSSING.locate_cells(EDGES), [0, 1, 2, 3, 3])
    stars = locate_stars(CROSSING, np.full(5, 355.0), np.zeros(5), EDGES)
    assert_array_equal(stars.fraction, [0, 0, 0, 0, 1])
    corner = locate_stars(CROSSING, np.array([17.7]), np.array([30.0]), np.array([204.0]))
    assert_array_equal(corner.ray, [8])


@pytest.mark.parametrize("pole", [-90, 90])
def test_a_pole_lies_on_a_grid_that_reaches_it(pole):
    region = Region(l=(0, 360) * u.deg, b=(-90, 90) * u.deg, distance=(0, 10) * u.pc)
    assert region.grid((4, 3, 2)).locate_rays(np.array([77.0]), np.array([float(pole)]))[0] % 3 == (pole > 0) * 2


@pytest.mark.parametrize(
    ("l", "b", "d"),
    [(20, 0, 150), (339, 0, 150), (355, 31, 150), (355, -21, 150), (355, 0, 99.9), (355, 0, 204.1), (355, 0, np.nan)],
)
def test_stars_outside_are_flagged(l, b, d):
    stars = locate_stars(CROSSING, *np.array([[l], [b], [d]], dtype=float))
    assert (stars.ray[0], stars.cell[0], stars.fraction[0]) == (-1, -1, 0)
    assert not stars.inside[0]


@pytest.mark.parametrize("kind", ["spherical", "healpix"])
def test_a_million_stars_are_looked_up_in_two_seconds(kind):
    region = Region(l=(0, 360) * u.deg, b=(-90, 90) * u.deg, distance=(0, 1000) * u.pc)
    grid = region.grid((60, 50, 80)) if kind == "spherical" else region.healpix_grid(32, 80)
    rng = np.random.default_rng(0)
    l, b, d = rng.uniform(0, 360, 10**6), rng.uniform(-90, 90, 10**6), rng.uniform(0, 1000, 10**6)
    started = time.process_time()
    stars = locate_stars(grid, l, b, d)
    assert time.process_time() - started < 2
    assert stars.inside.all()


def test_a_healpix_region_holds_the_pixels_whose_centre_lies_in_it():
    region = Region(l=(350, 20) * u.deg, b=(-10, 30) * u.deg, distance=(0, 10) * u.pc)
    for order in ("ring", "nested"):
        grid = region.healpix_grid(8, 3, order)
        l, b = healpy.pix2ang(8, np.arange(768), nest=order == "nested", lonlat=True)
        assert_array_equal(grid.pixels, np.flatnonzero(((l >= 350) | (l <= 20)) & (b >= -10) & (b <= 30)))
