"""Regions and grids: sizes, orders, margins, and what is refused."""

import json

import astropy.units as u
import healpy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpdust.errors import GridError, MissingUnitError
from gpdust.grid import HealpixGrid, RayGrid, Region, SphericalGrid, grid_from_description

EDGES = [0, 5, 20, 21, 50] * u.pc


def make_region(l=(50, 90), b=(-10, 10), distance=(180, 500), **options) -> Region:
    return Region(l=l * u.deg, b=b * u.deg, distance=distance * u.pc, **options)


GRIDS = {
    "rays": RayGrid([10, 350] * u.deg, [0, 40] * u.deg, EDGES, [0.1, 0.2] * u.sr, 1, 1),
    "spherical": make_region((350, 20), foreground_cells=2, background=100 * u.pc).grid((3, 4, 5)),
    "healpix": HealpixGrid(4, EDGES, [3, 1, 77], "nested", 1, 0),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l": (0, 361)}, "region l"),
        ({"l": (500, 10)}, "region l"),
        ({"l": (0, np.nan)}, "region l must be two finite"),
        ({"l": (0, 1, 2)}, "region l must be two finite"),
        ({"b": (10, 10)}, "region b must increase"),
        ({"b": (10, -10)}, "region b must increase"),
        ({"b": (-91, 0)}, "region b must increase"),
        ({"distance": (500, 180)}, "region distance must increase"),
        ({"distance": (-1, 180)}, "region distance must increase"),
        ({"foreground_cells": -1}, "foreground_cells is a whole number, not negative"),
        ({"foreground_cells": 2.5}, "foreground_cells is a whole number"),
        ({"background": np.nan * u.pc}, "background must be finite"),
        ({"foreground_cells": 1, "distance": (0, 100)}, "no foreground"),
        ({"background": -1 * u.pc}, "background must be finite and not negative"),
    ],
)
def test_an_impossible_region_is_refused_and_says_why(options, message):
    with pytest.raises(GridError, match=message):
        make_region(**options)


def test_a_region_without_units_is_refused():
    with pytest.raises(MissingUnitError, match="region l"):
        Region(l=(0, 10), b=(0, 10) * u.deg, distance=(0, 10) * u.pc)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make_region().grid((0, 1, 1)), "shape"),
        (lambda: make_region().grid((1, 1)), "shape"),
        (lambda: make_region().grid((1.5, 1, 1)), "shape"),
        (lambda: make_region().grid((1, 1, 1), b_spacing="cos"), "b_spacing"),
        (lambda: make_region().grid((1, 1, 1), distance_spacing="cubic"), "distance_spacing"),
        (lambda: make_region(distance=(0, 9)).grid((1, 1, 1), distance_spacing="log"), "log"),
        (lambda: RayGrid([0] * u.deg, [0] * u.deg, [1, 1] * u.pc), "must increase, but number 0"),
        (lambda: RayGrid([0] * u.deg, [0] * u.deg, [-1, 1] * u.pc), "negative"),
        (lambda: RayGrid([0] * u.deg, [0] * u.deg, [1] * u.pc), "at least two"),
        (lambda: RayGrid([0] * u.deg, [0] * u.deg, [0, 1, 2] * u.pc, foreground=1, background=1), "no interior"),
        (lambda: RayGrid([np.nan] * u.deg, [0] * u.deg, EDGES), "1 rays have no direction"),
        (lambda: RayGrid([0] * u.deg, [100] * u.deg, EDGES), "1 rays have no direction"),
        (lambda: make_region().healpix_grid(8, 0), "one or more, not 0"),
        (lambda: make_region().healpix_grid(3, 4), "power of two"),
        (lambda: SphericalGrid([0, 361] * u.deg, [0, 1] * u.deg, EDGES), "whole circle"),
        (lambda: SphericalGrid([0, 1] * u.deg, [0, 91] * u.deg, EDGES), "leave the range"),
        (lambda: SphericalGrid([0, 1, 1] * u.deg, [0, 9] * u.deg, EDGES), "l edges must increase"),
        (lambda: HealpixGrid(3, EDGES), "power of two"),
        (lambda: HealpixGrid(2, EDGES, [48]), "0…47"),
        (lambda: HealpixGrid(2, EDGES, [1, 1]), "twice"),
        (lambda: HealpixGrid(2, EDGES, []), "there must be one"),
        (lambda: HealpixGrid(2, EDGES, order="nest"), "ring"),
        (lambda: HealpixGrid(2, EDGES, [1.7]), "whole numbers"),
        (lambda: HealpixGrid(2, EDGES, np.ma.array([1, 2], mask=[True, False])), "1 HEALPix pixels are masked"),
        (lambda: HealpixGrid(2, EDGES, np.ones(3, dtype=bool)), "all 48"),
        (lambda: GRIDS["rays"].locate_rays(np.zeros(1), np.zeros(1)), "SphericalGrid or HealpixGrid"),
    ],
)
def test_an_impossible_grid_is_refused_and_says_why(build, message):
    with pytest.raises(GridError, match=message):
        build()


def test_numbers_that_are_whole_and_masks_of_the_sky():
    assert HealpixGrid(2.0, EDGES, np.arange(48) < 3).n_rays == 3
    assert make_region(foreground_cells=2.0).grid((1, 1, 3)).n_cells == 5
    assert make_region(l=(152.18, 152.18 + 360)).grid((4, 1, 1)).n_rays == 4  # 360° and a rounding


@pytest.mark.parametrize("l", [(350, 20), (-10, 20), (350, 380)])
def test_a_region_may_cross_the_galactic_centre(l):
    grid = make_region(l).grid((3, 1, 2))
    assert_allclose(grid.l.value, [355, 5, 15])


@pytest.mark.parametrize("spacing", ["sin", "uniform"])
@pytest.mark.parametrize("l", [(50, 90), (350, 20), (0, 360)])
def test_solid_angles_and_volumes_sum_to_the_regions(l, spacing):
    region = make_region(l, b=(-20, 70), background=100 * u.pc)
    grid = region.grid((5, 7, 6), b_spacing=spacing, distance_spacing="log")
    width = np.deg2rad((l[1] - l[0]) % 360 or 360)
    angle = width * (np.sin(np.deg2rad(70)) - np.sin(np.deg2rad(-20)))
    far = grid.edges[-1]
    assert far >= 600
    assert_allclose(grid.solid_angle.to_value(u.sr).sum(), angle, rtol=1e-12)
    assert_allclose(grid.cell_volumes.sum(), angle * (far**3 - 180**3) / 3, rtol=1e-12)
    assert_allclose(grid.interior.cell_volumes.sum(), angle * (500**3 - 180**3) / 3, rtol=1e-12)


def test_rays_have_equal_solid_angle_by_default():
    solid_angle = make_region(b=(-20, 70)).grid((3, 9, 2)).solid_angle
    assert_allclose(solid_angle / solid_angle[0], 1, rtol=1e-12)


def test_a_healpix_sky_has_four_pi():
    assert_allclose(HealpixGrid(4, EDGES).solid_angle.to_value(u.sr).sum(), 4 * np.pi, rtol=1e-12)
    assert_allclose(GRIDS["healpix"].solid_angle.to_value(u.sr), healpy.nside2pixarea(4), rtol=1e-12)


def test_log_spacing_has_a_constant_ratio():
    edges = make_region().grid((1, 1, 8), distance_spacing="log").edges
    assert_allclose(edges[1:] / edges[:-1], (500 / 180) ** (1 / 8), rtol=1e-12)
    assert edges[0] == 180 and edges[-1] == 500


def test_foreground_reaches_to_the_sun_and_background_as_far_as_asked():
    grid = make_region(foreground_cells=3, background=70 * u.pc).grid((1, 1, 10))
    assert_allclose(grid.edges[:4], [0, 60, 120, 180])
    assert_allclose(grid.edges[3:14], np.linspace(180, 500, 11))
    assert_allclose(grid.edges[14:], 500 + 32 * np.arange(1, 4))  # whole cells: 96 ≥ 70 pc
    assert grid.interior_cells == slice(3, 13)


@pytest.mark.parametrize("name", GRIDS)
def test_the_interior_is_the_same_rays_without_margins(name):
    grid = GRIDS[name]
    inner = grid.interior
    assert type(inner) is type(grid)
    assert grid.has_margins and not inner.has_margins
    assert inner.n_rays == grid.n_rays
    assert_allclose(inner.coordinates.cartesian.xyz, grid.coordinates[:, grid.interior_cells].cartesian.xyz)
    assert_allclose(inner.cell_volumes, grid.cell_volumes[:, grid.interior_cells])


def test_a_cube_runs_over_distance_then_b_then_l():
    grid = make_region().grid((3, 4, 5))
    values = np.random.default_rng(0).random((2, *grid.shape))
    cube = grid.cube(values)
    assert cube.shape == (2, 5, 4, 3)
    l, b = grid.cube(grid.coordinates.l.deg), grid.cube(grid.coordinates.b.deg)
    distance = grid.cube(grid.coordinates.distance.pc)
    assert_allclose(l - l[:1, :1], 0, atol=1e-10)
    assert_allclose(b - b[:1, :, :1], 0, atol=1e-10)
    assert_allclose(distance - distance[:, :1, :1], 0, atol=1e-10)
    assert (np.diff(l, axis=2) > 0).all() and (np.diff(b, axis=1) > 0).all() and (np.diff(distance, axis=0) > 0).all()
    for ray in range(grid.n_rays):
        assert_array_equal(cube[:, :, ray % 4, ray // 4], values[:, ray])


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_rebuilt_from_its_description_in_json(name):
    grid = GRIDS[name]
    again = grid_from_description(json.loads(json.dumps(grid.description())))
    assert type(again) is type(grid)
    assert again.description() == grid.description()
    assert_array_equal(again.edges, grid.edges)
    assert_array_equal(again.cell_volumes, grid.cell_volumes)
    assert_allclose(again.cell_points(), grid.cell_points(), rtol=1e-14)
    assert again.interior_cells == grid.interior_cells


@pytest.mark.parametrize("name", GRIDS)
def test_cell_points_are_the_galactic_cartesian_cell_centres(name):
    grid = GRIDS[name]
    expected = np.moveaxis(grid.coordinates.cartesian.xyz.to_value(u.pc), 0, -1)
    assert_allclose(grid.cell_points(), expected, atol=1e-10)
    assert_allclose(grid.cell_points(slice(1, 3)), expected[1:3], atol=1e-10)
