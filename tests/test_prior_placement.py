"""Inducing points: as many as asked, over the volume that the stars sample, the same for the same seed."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

import gpdust
from gpdust.grid import Region
from gpdust.prior import InducingGP, SampledVolume

PLACEMENTS = ["kmeans", "farthest", "stars", "lattice"]
GRID = Region(l=(0, 20) * u.deg, b=(-10, 10) * u.deg, distance=(100, 200) * u.pc).grid((4, 4, 10))


def half_sampled() -> SampledVolume:
    """Stars in the fifth cell of the rays with l < 10°, and none elsewhere."""
    counts = np.zeros(GRID.shape, dtype=int)
    counts[GRID.l.value < 10, 4] = 3
    return SampledVolume(GRID, counts)


def place(placement: str, volume: SampledVolume, count: int = 60, seed: int = 0) -> np.ndarray:
    return InducingGP(inducing=count, placement=placement).placed(volume, seed).points.numpy()


def spherical(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = points.T
    distance = np.linalg.norm(points, axis=-1)
    return np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arcsin(z / distance)), distance


def test_the_sampled_volume_leaves_out_cells_behind_the_last_star():
    cells = half_sampled().cells
    behind = GRID.l.value < 10
    assert cells[behind, :5].all() and not cells[behind, 5:].any() and not cells[~behind].any()


def test_without_stars_all_of_the_grid_counts():
    assert SampledVolume(GRID, np.zeros(GRID.shape, dtype=int)).cells.all()


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_points_are_as_many_as_asked_and_in_the_sampled_volume(placement):
    points = place(placement, half_sampled())
    if placement == "lattice":
        assert 45 <= len(points) <= 75
        slack = 6.0
    else:
        assert len(points) == 60
        slack = 0.0
    l, b, distance = spherical(points)
    degrees = np.rad2deg(slack / 100) + 0.3  # candidates spread over squares, not over the outline of their ray
    assert l.min() > -degrees and l.max() < 10 + degrees
    assert b.min() > -10 - degrees and b.max() < 10 + degrees
    assert distance.min() > 96 - slack and distance.max() < 150 + slack


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_same_seed_places_the_same_points_and_another_seed_others(placement):
    volume = half_sampled()
    assert_array_equal(place(placement, volume, seed=3), place(placement, volume, seed=3))
    if placement != "lattice":
        assert not np.array_equal(place(placement, volume, seed=3), place(placement, volume, seed=4))


def test_candidates_are_uniform_in_space():
    volume = SampledVolume(GRID, np.ones(GRID.shape, dtype=int))
    _, b, distance = spherical(volume.draw(20_000, np.random.default_rng(0)))
    share = np.histogram(distance, np.linspace(100, 200, 11))[0] / 20_000
    assert_allclose(share, np.diff(np.linspace(100, 200, 11) ** 3) / (200**3 - 100**3), atol=0.01)
    assert_allclose(np.mean(np.sin(np.deg2rad(b))), 0, atol=0.005)


def test_candidates_fill_wide_flat_cells_without_gaps():
    grid = Region(l=(0, 360) * u.deg, b=(-12, 12) * u.deg, distance=(100, 3000) * u.pc).grid((36, 10, 5))
    volume = SampledVolume(grid, np.ones(grid.shape, dtype=int))
    l, b, _ = spherical(volume.draw(40_000, np.random.default_rng(0)))
    within_cell = np.histogram(l % 10, 10, (0, 10))[0] / 40_000
    assert_allclose(within_cell, 0.1, atol=0.02)
    assert np.abs(b).max() < 12.5


def test_stars_placement_follows_the_stars():
    counts = np.zeros(GRID.shape, dtype=int)
    counts[:, 2], counts[:, 7] = 1, 9
    _, _, distance = spherical(place("stars", SampledVolume(GRID, counts), 500))
    near, far = (distance > 120) & (distance < 130), (distance > 170) & (distance < 180)
    assert (near | far).all()
    assert 0.85 < far.mean() < 0.95


@pytest.mark.parametrize("placement", ["kmeans", "farthest"])
def test_even_placements_leave_no_hole_where_random_ones_do(placement):
    volume = half_sampled()
    candidates = volume.draw(5000, np.random.default_rng(9))

    def hole(points: np.ndarray) -> float:
        return cKDTree(points).query(candidates)[0].max()

    assert hole(place(placement, volume)) < 0.8 * hole(place("stars", SampledVolume(GRID, volume.cells.astype(int))))


def test_farthest_points_are_farther_apart_than_any_others():
    volume = half_sampled()
    closest = {placement: pdist(place(placement, volume)).min() for placement in PLACEMENTS}
    assert max(closest, key=closest.get) in ("farthest", "lattice")
    assert closest["farthest"] > 1.2 * closest["kmeans"] > 1.2 * closest["stars"]


@pytest.mark.parametrize("count", [30, 60, 400])
def test_a_lattice_is_a_lattice_with_about_as_many_points_as_asked(count):
    points = place("lattice", SampledVolume(GRID, np.ones(GRID.shape, dtype=int)), count)
    assert abs(len(points) - count) <= max(5, 0.2 * count)
    nearest = np.sort(cKDTree(points).query(points, k=2)[0][:, 1])
    assert_allclose(nearest[: len(points) // 2], nearest[0], rtol=1e-6)  # half of the cube's diagonal, for all


def test_given_points_stay_where_they_are(mock_stars, small_grid):
    points = np.random.default_rng(0).uniform(0, 100, (5, 3))
    model = gpdust.DustModel(mock_stars(), small_grid, InducingGP(inducing=points / 1000 * u.kpc))
    assert_allclose(model.prior.points, points, rtol=1e-14)
    assert model.prior.latent_size == 5


def test_the_model_places_its_points_by_its_seed_and_leaves_the_users_prior_alone(mock_stars, small_grid, small_prior):
    prior = small_prior()
    first, again, other = (gpdust.DustModel(mock_stars(), small_grid, prior, seed) for seed in (1, 1, 2))
    assert prior.points is None
    assert_array_equal(first.prior.points, again.prior.points)
    assert not np.array_equal(first.prior.points, other.prior.points)
