"""Queries at places and predictions for stars, against the draws that they must come from."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose

from gpdust.errors import PosteriorError
from gpdust.grid import SphericalGrid
from gpdust.los import extinction_at, locate_stars


def galactic(l, b, distance) -> SkyCoord:
    return SkyCoord(l * u.deg, b * u.deg, distance * u.pc, frame="galactic")


@pytest.mark.parametrize("cell", [0, 3, 5])
def test_a_query_at_cell_centres_is_the_draw_of_the_map(small_posterior, cell):
    grid = small_posterior.grid
    density, extinction = small_posterior.query(grid.coordinates[:, cell], samples=12, seed=6)
    of_map, to_edge = small_posterior.sample(count=12, seed=6)
    assert_allclose(density.samples.value, of_map.value[..., cell], rtol=1e-9)
    half = to_edge.value[..., cell] - 0.5 * of_map.value[..., cell] * grid.cell_lengths[cell]
    assert_allclose(extinction.samples.value, half, rtol=1e-9)


def test_a_query_anywhere_has_the_distribution_of_the_map(small_posterior):
    l, b = float(small_posterior.grid.l[2].value), float(small_posterior.grid.b[2].value)
    density, extinction = small_posterior.query(galactic(l, b, 250.0), samples=4000, seed=1)
    of_map, to_edge = small_posterior.sample(count=4000, seed=2)
    assert_allclose(density.median.value, np.median(of_map.value[:, 2, 3]), rtol=0.05)
    assert_allclose(density.error.value, np.diff(np.percentile(of_map.value[:, 2, 3], [16, 84]))[0] / 2, rtol=0.1)
    mean = 0.5 * (to_edge.value[:, 2, 2] + to_edge.value[:, 2, 3])
    assert_allclose(extinction.mean.value, mean.mean(), rtol=0.02)
    assert_allclose(extinction.std.value, mean.std(), rtol=0.1)


def test_extinction_rises_along_a_sightline_in_every_draw(small_posterior):
    distance = np.linspace(180.1, 299, 40)
    _, extinction = small_posterior.query(galactic(np.full(40, 61.0), np.full(40, 4.0), distance), samples=50)
    assert (np.diff(extinction.samples.value, axis=-1) > 0).all()


def test_a_place_has_the_same_answer_whatever_is_asked_with_it(small_posterior):
    l, b, distance = np.array([61.0, 75.0, 88.0]), np.array([4.0, -3.0, 9.0]), np.array([200.0, 250.0, 290.0])
    together = small_posterior.query(galactic(l, b, distance), samples=5)
    alone = small_posterior.query(galactic(l[1], b[1], distance[1]), samples=5)
    for many, one in zip(together, alone, strict=True):
        assert_allclose(many.samples.value[:, 1], one.samples.value, rtol=1e-9)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_query_has_the_shape_of_its_coordinates_and_units(small_posterior, shape):
    places = galactic(np.full(shape, 60.0), np.full(shape, 1.0), np.full(shape, 200.0))
    density, extinction = small_posterior.query(places, samples=5)
    assert density.samples.shape == extinction.samples.shape == (5, *shape)
    assert density.samples.unit == u.mag / u.pc and extinction.samples.unit == u.mag
    assert density.median.shape == shape


def test_any_frame_will_do(small_posterior):
    place = galactic(60.0, 1.0, 205.0)
    for one, other in zip(small_posterior.query(place), small_posterior.query(place.icrs), strict=True):
        assert_allclose(other.samples.value, one.samples.value, rtol=1e-6)


def test_extinction_at_the_near_end_is_zero_and_the_far_end_belongs_to_the_map(small_posterior):
    _, extinction = small_posterior.query(galactic(np.full(2, 60.0), np.full(2, 1.0), np.array([180.0, 300.0])))
    assert_allclose(extinction.samples.value[:, 0], 0)
    assert (extinction.samples.value[:, 1] > 0).all()


@pytest.mark.parametrize(
    ("l", "b", "distance"), [(95.0, 0.0, 200.0), (60.0, 11.0, 200.0), (60.0, 0.0, 179.0), (60.0, 0.0, 301.0)]
)
def test_a_place_outside_is_an_error_that_names_the_first(small_posterior, l, b, distance):
    places = galactic(np.array([60, l, l]), np.array([0, b, b]), np.array([200, distance, distance]))
    where = rf"2 of 3 places.*number 1: l = {l:.4f}°, b = {b:.4f}°, d = {distance:.2f} pc"
    with pytest.raises(PosteriorError, match=where):
        small_posterior.query(places)


def test_margins_are_no_part_of_the_map(small_posterior):
    grid = small_posterior.grid
    edges = grid.edges * u.pc
    margins = SphericalGrid(grid.l_edges, grid.b_edges, edges, foreground=1, background=1)
    posterior = replace(small_posterior, grid=margins)
    l, b = float(grid.l[0].value), float(grid.b[0].value)
    for distance in (grid.edges[0] + 1, grid.edges[-1] - 1):
        small_posterior.query(galactic(l, b, distance), samples=2)
        with pytest.raises(PosteriorError, match="1 of 1 places lie outside"):
            posterior.query(galactic(l, b, distance), samples=2)
    posterior.query(galactic(l, b, grid.edges[[1, -2]]), samples=2)


def test_cartesian_coordinates(small_posterior):
    place = galactic(70.0, 1.0, 250.0)
    x, y, z = place.cartesian.xyz
    cartesian = SkyCoord(u=x, v=y, w=z, frame="galactic", representation_type="cartesian")
    (one, _), (other, _) = (small_posterior.query(each, samples=5) for each in (place, cartesian))
    assert_allclose(other.samples.value, one.samples.value, rtol=1e-9)
    assert cartesian.representation_type.name == "cartesian"


def test_a_query_without_distance_is_an_error(small_posterior):
    with pytest.raises(PosteriorError, match="needs distances"):
        small_posterior.query(SkyCoord(60 * u.deg, 0 * u.deg, frame="galactic"))


def test_a_query_of_no_place_is_empty(small_posterior):
    density, extinction = small_posterior.query(galactic(np.zeros(0), np.zeros(0), np.zeros(0)), samples=5)
    assert density.samples.shape == extinction.samples.shape == (5, 0)


def test_predictions_of_stars_are_read_off_the_draws(small_posterior, mock_stars):
    stars = mock_stars(25, seed=8)
    predicted = small_posterior.predict(stars, samples=6, seed=3)
    _, extinction = small_posterior.sample(count=6, seed=3)
    positions = locate_stars(small_posterior.grid, stars.l.value, stars.b.value, stars.distance.value)
    expected = extinction_at(torch.from_numpy(extinction.value), positions)
    assert_allclose(predicted.samples.value, expected, rtol=1e-12)
    assert predicted.samples.unit == u.mag


def test_stars_off_the_grid_are_told_apart(small_posterior, catalogue):
    stars = catalogue([60, 95, 60], 0.0, [200, 200, 400], 0.1, 0.1)
    assert small_posterior.covers(stars).tolist() == [True, False, False]
    with pytest.raises(PosteriorError, match=r"2 of 3 stars.*number 1"):
        small_posterior.predict(stars)
    assert small_posterior.predict(stars[small_posterior.covers(stars)]).samples.shape == (100, 1)
