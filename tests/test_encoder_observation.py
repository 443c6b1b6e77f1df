"""Extinction cubes of stars, Monte Carlo of their errors, how training sees a sky, and finite differences."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import cKDTree
from torch.autograd import gradcheck

import gpdust
from gpdust.encoder.cube import CubeGrid
from gpdust.encoder.finite_difference import finite_difference, smooth_difference
from gpdust.encoder.monte_carlo import monte_carlo
from gpdust.encoder.nearest import nearest_stars
from gpdust.encoder.neighbours import ExtinctionCube
from gpdust.encoder.observation import Observation
from gpdust.errors import EncoderError
from gpdust.los import cube_extinction
from gpdust.los.cartesian import cell_centres, extinction_at

CUBE = CubeGrid(6, 20.0, 120.0, 15.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_stars(count: int, cells: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = rng(seed)
    return random.uniform(0, cells, (count, 3)), random.uniform(0, 2, count), random.uniform(0.01, 0.2, count)


def catalogue_of(positions: np.ndarray, cube: CubeGrid = CUBE, **columns) -> gpdust.StarCatalogue:
    l, b, distance = cube.to_galactic(positions)
    columns = {"extinction": np.linspace(0.1, 1, len(l)), "extinction_error": np.full(len(l), 0.05)} | columns
    columns |= {"l": l, "b": b, "distance": distance}
    units = {"l": u.deg, "b": u.deg, "d": u.pc, "e": u.mag}
    return gpdust.StarCatalogue(**{name: value * units.get(name, units[name[0]]) for name, value in columns.items()})


# -- neighbours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stars", [1, 7, 3000])
@pytest.mark.parametrize("place", ["even", "outside", "clump"])
def test_the_nearest_stars_are_those_of_a_tree(stars, place):
    positions = {"even": rng().uniform(0, 9, (stars, 3)), "outside": rng().uniform(-5, 14, (stars, 3))}.get(
        place, 2 + 0.1 * rng().standard_normal((stars, 3))
    )
    for neighbours in {1, min(3, stars), min(30, stars)}:
        distance, nearest = nearest_stars(positions, 9, neighbours)
        expected, numbers = cKDTree(positions).query(cell_centres(9), k=np.arange(1, neighbours + 1))
        assert_allclose(distance, expected, rtol=1e-12)
        assert_array_equal(nearest, numbers)


def test_a_cell_is_the_mean_of_its_neighbours_by_the_formula_of_the_paper():
    positions, extinction, sigma = random_stars(50)
    found = ExtinctionCube.of(positions, extinction, sigma, 6, neighbours=4)
    for cell in ((0, 0, 0), (3, 2, 5), (5, 5, 1)):
        distance = np.linalg.norm(positions - (np.array(cell) + 0.5), axis=1)
        near = np.argsort(distance)[:4]
        d, farthest = distance[near], distance[near].max()
        weight = (1 - 0.75 * (d / farthest) ** 2) / (sigma[near] ** 2 + 1e-4)
        assert_allclose(found.extinction[cell], (weight * extinction[near]).sum() / weight.sum(), rtol=1e-5)
        volume = max(1, 4 / 3 * np.pi * farthest**3)
        assert_allclose(found.information[cell], weight.sum() / volume, rtol=1e-5)
    assert found.extinction.dtype == found.information.dtype == np.float32
    assert found.dropped == 0


def test_stars_farther_away_tell_less():
    few, many = (ExtinctionCube.of(*random_stars(count), 6) for count in (10, 3000))
    assert np.median(many.information) > 30 * np.median(few.information)


def test_one_neighbour_and_stars_in_one_place_are_no_trouble():
    positions, extinction, sigma = random_stars(40)
    one = ExtinctionCube.of(positions, extinction, sigma, 6, neighbours=1)
    nearest = cKDTree(positions).query(cell_centres(6))[1].reshape(6, 6, 6)
    assert_allclose(one.extinction, extinction[nearest], rtol=1e-6)
    same = ExtinctionCube.of(np.full((3, 3), 2.5), [1.0, 2.0, 3.0], [0.1, 0.1, 0.1], 6)
    assert_allclose(same.extinction, 2, rtol=1e-6)
    assert_allclose(same.information[2, 2, 2], 3 / (0.01 + 1e-4), rtol=1e-6)  # all weigh fully in the very centre
    exact = ExtinctionCube.of(cell_centres(2), np.arange(8.0), np.zeros(8), 2, neighbours=1)
    assert_allclose(exact.extinction.ravel(), np.arange(8))
    assert_allclose(exact.information, 1e4, rtol=1e-6)


def test_where_there_are_fewer_stars_than_neighbours_all_count():
    found = ExtinctionCube.of(*random_stars(2), 6, neighbours=30)
    assert found.averages.shape == (216, 2)
    assert np.isfinite(found.extinction).all() and (found.information > 0).all()


def test_extinctions_drawn_anew_keep_their_neighbours_and_weights():
    positions, extinction, sigma = random_stars(60)
    found = ExtinctionCube.of(positions, extinction, sigma, 6)
    draws = extinction + sigma * rng(1).standard_normal((5, 60))
    cubes = found.redrawn(draws)
    assert cubes.shape == (5, 6, 6, 6) and cubes.dtype == np.float32
    for draw, cube in zip(draws, cubes, strict=True):
        assert_allclose(cube, ExtinctionCube.of(positions, draw, sigma, 6).extinction, atol=1e-6)
    with pytest.raises(EncoderError, match=r"\(draws, 60\), not \(5, 59\)"):
        found.redrawn(draws[:, 1:])


def test_stars_of_a_catalogue_outside_the_cube_are_dropped_and_counted():
    positions, extinction, sigma = random_stars(30)
    positions[:4] += 7
    stars = catalogue_of(positions, extinction=extinction, extinction_error=sigma)
    found = ExtinctionCube.of_catalogue(stars, CUBE)
    assert found.dropped == 4
    expected = ExtinctionCube.of(positions[4:], extinction[4:], sigma[4:], 6)
    assert_allclose(found.extinction, expected.extinction, rtol=1e-5)
    with pytest.raises(EncoderError, match="none of 30 stars lies in the cube of 120 pc a side towards l = 300°"):
        ExtinctionCube.of_catalogue(stars, CubeGrid(6, 20.0, 300.0, -15.0))


def test_stars_that_can_not_be_used_are_refused():
    positions, extinction, sigma = random_stars(5)
    for stars, words in [
        ((positions[:0], extinction[:0], sigma[:0]), "no stars"),
        ((positions, extinction[1:], sigma), r"positions \(m, 3\)"),
        ((positions, extinction * np.nan, sigma), "finite"),
        ((positions, extinction, -sigma), "no error negative"),
    ]:
        with pytest.raises(EncoderError, match=words):
            ExtinctionCube.of(*stars, 6)
    with pytest.raises(EncoderError, match="at least one star"):
        ExtinctionCube.of(positions, extinction, sigma, 6, neighbours=0)


# -- Monte Carlo -----------------------------------------------------------------------------------------------------


def test_monte_carlo_scatters_by_the_errors_of_the_means():
    positions, extinction, sigma = random_stars(80)
    stars = catalogue_of(positions, extinction=extinction, extinction_error=sigma)
    found = ExtinctionCube.of_catalogue(stars, CUBE)
    chunks = list(monte_carlo(stars, CUBE, 1000, rng=rng(), chunk=400))
    assert [len(cubes) for cubes, _ in chunks] == [400, 400, 200]
    cubes = np.concatenate([cubes for cubes, _ in chunks])
    error = np.sqrt(found.averages.power(2) @ sigma**2).reshape(6, 6, 6)
    assert_allclose(cubes.std(axis=0), error, rtol=0.12)
    assert (np.abs(cubes.mean(axis=0) - found.extinction) < 5 * error / np.sqrt(1000)).all()
    assert_array_equal(chunks[0][1][3], found.information)


def test_monte_carlo_keeps_the_percentiles_of_asymmetric_errors():
    stars = catalogue_of(
        CUBE.cells * rng().random((1, 3)),
        extinction=np.ones(1),
        extinction_error=np.full(1, 0.2),
        extinction_lower_error=np.full(1, 0.1),
        extinction_upper_error=np.full(1, 0.3),
    )
    ((cubes, _),) = monte_carlo(stars, CUBE, 20_000, rng=rng(), chunk=20_000)
    assert_allclose(np.percentile(cubes[:, 0, 0, 0], [15.866, 50, 84.134]), [0.9, 1.0, 1.3], atol=0.01)


def test_monte_carlo_moves_stars_whose_distances_have_errors():
    positions, extinction, sigma = random_stars(80)
    distance = CUBE.to_galactic(positions)[2]
    measured = {"extinction": extinction, "extinction_error": 1e-6 * sigma}
    stars = catalogue_of(positions, **measured, distance_error=0.2 * distance)
    still = ExtinctionCube.of_catalogue(stars, CUBE)
    ((cubes, information),) = monte_carlo(stars, CUBE, 20, rng=rng())
    assert cubes.shape == information.shape == (20, 6, 6, 6)
    assert np.median(cubes.std(axis=0)) > 0.05  # extinctions are as they were: neighbours are others
    assert information.std(axis=0).min() > 0
    barely = catalogue_of(positions, **measured, distance_error=1e-9 * distance)
    ((cubes, _),) = monte_carlo(barely, CUBE, 2, rng=rng())
    assert_allclose(cubes[0], still.extinction, rtol=1e-4)


def test_monte_carlo_without_draws_is_refused():
    with pytest.raises(EncoderError, match="at least one draw"):
        next(monte_carlo(catalogue_of(random_stars(5)[0]), CUBE, 0, rng=rng()))


# -- observation -----------------------------------------------------------------------------------------------------


def density(cells: int = 16) -> np.ndarray:
    smooth = np.sin(cell_centres(cells) / cells * (3, 4, 5)).sum(axis=1)
    return (1e-2 * np.exp(smooth)).reshape((cells,) * 3).astype(np.float32)


def test_the_exact_cube_comes_as_often_as_asked():
    extinction, information = Observation(exact_share=1).observe(density(), 6.0, rng())
    assert_allclose(extinction, cube_extinction(torch.from_numpy(density()), 6.0), rtol=1e-6)
    assert_allclose(information, 1e4)
    sometimes = Observation(exact_share=0.3, stars=(20, 50))
    random = rng()
    exact = [sometimes.observe(density(4), 6.0, random)[1].min() == np.float32(1e4) for _ in range(300)]
    assert 0.2 < np.mean(exact) < 0.4


def test_a_catalogue_measures_the_extinction_at_its_stars():
    observation = Observation(floor=0.01)
    positions, extinction, sigma = observation.catalogue(density(), 6.0, rng(), 5000, 0.1)
    assert positions.shape == (5000, 3) and (positions >= 0).all() and (positions <= 16).all()
    true = extinction_at(torch.from_numpy(density()), positions, 6.0).numpy()
    assert_allclose(sigma, np.maximum(0.1 * true, 0.01), rtol=1e-5)
    pull = (extinction - true) / sigma
    assert abs(pull.mean()) < 0.06 and abs(pull.std() - 1) < 0.04
    assert (np.histogramdd(positions, 2)[0] > 500).all()  # even over the volume


def test_many_good_stars_come_close_to_the_exact_cube():
    observation = Observation(
        exact_share=0, stars=(50_000, 50_000), fractional_error=(0, 0), floor=0, limited_share=0, gaps=0
    )
    extinction, information = observation.observe(density(), 6.0, rng())
    exact = cube_extinction(torch.from_numpy(density()), 6.0).numpy()
    assert extinction.dtype == information.dtype == np.float32
    assert np.abs(extinction - exact).mean() < 0.02 * exact.mean()
    assert (information > 1e4 * 0.25).all()


def test_every_call_sees_another_catalogue_and_a_seed_the_same():
    observation, random = Observation(exact_share=0), rng()
    first, second = (observation.observe(density(8), 6.0, random)[0] for _ in range(2))
    assert (first != second).any()
    assert_array_equal(first, observation.observe(density(8), 6.0, rng())[0])


def test_densities_that_are_read_only_can_be_seen():
    locked = density(8)
    locked.flags.writeable = False
    for share in (0, 1):
        extinction, _ = Observation(exact_share=share, stars=(50, 50)).observe(locked, 6.0, rng())
        extinction.flags.writeable = False
        assert np.isfinite(finite_difference(extinction, 6.0)).all()


def test_faint_and_dimmed_stars_are_hidden():
    observation = Observation(limited_share=1, limit=(1.0, 1.0), gaps=0)
    positions = rng().uniform(0, 16, (20_000, 3))
    distance = np.linalg.norm(positions - (0, 8, 8), axis=1)
    extinction = rng(1).uniform(0, 3, 20_000)
    seen = observation.seen(positions, extinction, 16, rng(2))
    near, dim = distance < 6, extinction > 1.5
    assert seen[near].mean() > seen[~near].mean() + 0.1
    assert seen[~dim].mean() > seen[dim].mean() + 0.1
    at_face = np.abs(distance - 16) < 0.5
    assert abs(seen[at_face & (extinction < 0.2)].mean() - 0.68) < 0.08  # Φ(1 / 2) = 0.69


def test_gaps_are_cones_without_stars():
    observation = Observation(limited_share=0, gaps=1, gap_radius=10)
    positions = rng().uniform(0, 16, (20_000, 3))
    directions = positions - (0, 8, 8)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cut = 0
    for seed in range(20):
        hidden = ~observation.seen(positions, np.zeros(20_000), 16, rng(seed))
        if hidden.sum() < 10:
            continue  # no gap, or a narrow one
        cut += 1
        assert (directions[hidden] @ directions[hidden].T).min() > np.cos(np.deg2rad(20))
        middle = directions[hidden].mean(axis=0)
        middle /= np.linalg.norm(middle)
        widest = np.arccos((directions[hidden] @ middle).min())
        assert hidden[directions @ middle > np.cos(0.2 * widest)].all()  # nothing is seen inside
    assert 4 <= cut <= 16


def test_where_hardly_a_star_would_be_left_all_are_seen():
    observation = Observation(limited_share=1, limit=(-1.0, -1.0))
    assert observation.seen(rng().uniform(0, 8, (50, 3)), np.full(50, 100.0), 8, rng()).all()


def test_observations_that_make_no_sense_are_refused():
    for bad in (
        {"exact_share": 1.5},
        {"stars": (0, 10)},
        {"stars": (100, 10)},
        {"fractional_error": (-0.1, 0.2)},
        {"neighbours": 0},
        {"floor": -1.0},
        {"spread": 0.0},
        {"gap_radius": np.nan},
    ):
        with pytest.raises(EncoderError, match=next(iter(bad))):
            Observation(**bad)


# -- finite differences ----------------------------------------------------------------------------------------------


def from_sun(cells: int) -> np.ndarray:
    return (cell_centres(cells) - (0, cells / 2, cells / 2)).reshape(cells, cells, cells, 3)


@pytest.mark.parametrize("cells", [3, 4, 8])
def test_finite_differences_are_exact_for_linear_densities(cells):
    points, slope = from_sun(cells) * 6.0, np.array([2e-5, -1e-5, 3e-5])
    extinction = np.linalg.norm(points, axis=-1) * (1e-3 + points @ slope / 2)
    assert_allclose(finite_difference(extinction, 6.0), 1e-3 + points @ slope, rtol=1e-10)


@pytest.mark.parametrize("cells", [1, 2])
def test_the_smallest_cubes_have_their_mean_density(cells):
    extinction = np.linalg.norm(from_sun(cells) * 6.0, axis=-1) * 1e-3
    assert_allclose(finite_difference(extinction, 6.0), 1e-3, rtol=1e-12)


def test_finite_differences_of_a_smooth_density_converge_with_the_square_of_the_cell():
    errors = []
    for cells in (16, 32):
        points = from_sun(cells) / cells
        distance, depth = np.linalg.norm(points, axis=-1), points[..., 0]
        extinction = distance * (1 - np.exp(-2 * depth)) / (2 * depth)
        errors.append(np.std(finite_difference(extinction, 1 / cells) - np.exp(-2 * depth)))
    assert errors[0] < 1e-3 and errors[1] < errors[0] / 3.5


def test_smoothed_differences_are_exact_for_a_uniform_density_and_steadier_in_noise():
    cells, length = 16, 6.0
    exact_cube = cube_extinction(torch.full((cells,) * 3, 2e-3, dtype=torch.float64), length)
    known = torch.rand(cells, cells, cells, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = smooth_difference(exact_cube, known, length)
    torch.testing.assert_close(found, torch.full_like(found, 2e-3), rtol=1e-9, atol=0)
    noise = 0.02 * torch.randn(cells, cells, cells, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    steady = smooth_difference(exact_cube + noise, torch.ones_like(known), length) - 2e-3
    assert float(steady.std()) < 0.2 * float((finite_difference(exact_cube + noise, length) - 2e-3).std())


def test_cells_where_nothing_is_known_do_not_count_in_smoothed_differences():
    cells, length = 8, 6.0
    cube = cube_extinction(torch.full((cells,) * 3, 2e-3, dtype=torch.float64), length)
    known = torch.ones_like(cube)
    cube[4, 4, 4], known[4, 4, 4] = 1e3, 0.0
    assert float((smooth_difference(cube, known, length) - 2e-3).abs().max()) < 1e-9


def test_neighbours_are_as_many_as_suit_how_close_stars_stand():
    for stars, expected in ((100, 3), (1024, 8), (20_000, 30)):
        cube = ExtinctionCube.of(*random_stars(stars, 8), 8)
        assert np.diff(cube.averages.indptr).tolist() == [expected] * 512


def test_finite_differences_keep_kind_dtype_and_batches():
    extinction = rng().random((2, 3, 4, 4, 4)).astype(np.float32)
    found = finite_difference(extinction, 6.0)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32 and found.shape == extinction.shape
    tensor = finite_difference(torch.from_numpy(extinction), 6.0)
    assert_allclose(tensor, found)
    assert_allclose(finite_difference(extinction[1, 2], 6.0), found[1, 2], rtol=1e-5, atol=1e-7)
    assert gradcheck(lambda x: finite_difference(x, 6.0), torch.from_numpy(extinction[0, :1]).double().requires_grad_())
    with pytest.raises(EncoderError, match="cube of extinction"):
        finite_difference(extinction[..., :3], 6.0)
