"""The encoder at work: cubes of other lengths and extinctions, errors, unknown parts, tiles and seeds of fits."""

from types import SimpleNamespace

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gpdust
from gpdust.encoder import CubeGrid, CubeMaps, Encoder, ExtinctionCube, TrustWarning, guessed, seed
from gpdust.encoder.maps import RunningMoments
from gpdust.encoder.reconstruction import image_space_reconstruction
from gpdust.encoder.tiles import cover
from gpdust.errors import EncoderError
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.objective import Objective
from gpdust.inference.response import Response
from gpdust.inference.start import Start
from gpdust.los import cube_extinction

CELLS, LENGTH = 16, 6.0  # of the cubes that it was "trained" with
RECORD = {
    "cell_length": LENGTH,
    "facts": {"observation": {"neighbours": 3}},
    "options": {"symmetry": "square"},
    "trust": {"extinction": [0.1, 2.0], "cell": [0.0, 1.0]},
    "accuracy": {"information": [0.0, 9.0], "error": [0.5, 0.05]},
}


class DifferenceNet(torch.nn.Module):
    """What a perfect net would be if there were no noise below the scale of the smoothing."""

    shape = SimpleNamespace(inputs=("smooth-difference",))

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, cubes: torch.Tensor) -> torch.Tensor:
        density = torch.expm1(cubes.double().clamp(min=0) / 10)
        return 10 * torch.log1p(self.factor * density)[:, :1]


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(DifferenceNet(), RECORD)


def smooth_density(cells: int = CELLS) -> np.ndarray:
    x, y, z = np.indices((cells,) * 3) / cells * 2 * np.pi
    return 3e-3 * np.exp(0.5 * np.sin(x) * np.cos(y) + 0.3 * np.cos(z))


def stars_in(cube: CubeGrid, count: int, error: float = 0.02, random: int = 0, **columns) -> gpdust.StarCatalogue:
    """Stars of a uniform medium of 2e-3 mag/pc, evenly in a cube."""
    rng = np.random.default_rng(random)
    l, b, distance = cube.to_galactic(rng.uniform(0, cube.cells, (count, 3)))
    extinction = 2e-3 * distance + error * rng.standard_normal(count)
    return catalogue_of(l, b, distance, extinction, error, **columns)


def catalogue_of(l, b, distance, extinction, error, **columns) -> gpdust.StarCatalogue:
    return gpdust.StarCatalogue(
        l=l * u.deg,
        b=b * u.deg,
        distance=distance * u.pc,
        extinction=extinction * u.mag,
        extinction_error=np.full(len(l), error) * u.mag,
        **columns,
    )


# -- cubes


def test_only_what_a_cell_dims_counts(encoder):
    density = smooth_density()
    exact = cube_extinction(torch.from_numpy(density), LENGTH).numpy()
    known = np.full_like(exact, 1e4)
    found = encoder.density(exact, known, LENGTH)
    assert np.corrcoef(found.ravel(), density.ravel())[0, 1] > 0.9
    assert_allclose(encoder.density(exact, known, 10 * LENGTH), found / 10, rtol=1e-6)
    assert encoder.density(exact[None, None], known, LENGTH).shape == (1, 1, CELLS, CELLS, CELLS)


@pytest.mark.parametrize("variance", [0.0, 1e-3])
def test_extinctions_beyond_the_training_are_scaled_into_it(encoder, variance):
    exact = cube_extinction(torch.from_numpy(smooth_density()), LENGTH).numpy()

    def density(factor: float) -> np.ndarray:
        information = 1 / (variance * factor**2 + 1e-4)  # exact extinctions are exact at any scale
        return encoder.density(factor * exact, np.full_like(exact, information), LENGTH)

    found = density(1.0)
    for factor in (100.0, 0.01):
        assert_allclose(density(factor), factor * found, rtol=1e-4)
    information = 1 / (variance * np.array([1, 1e4]).reshape(2, 1, 1, 1) + 1e-4)
    both = encoder.density(np.stack([exact, 100 * exact]), information, LENGTH)
    assert_allclose(both, np.stack([found, 100 * found]), rtol=1e-4)  # whatever else is in a batch


def test_what_it_was_not_trained_for_is_said(encoder):
    wrong = Encoder(DifferenceNet(1e4), RECORD)
    exact = cube_extinction(torch.from_numpy(smooth_density()), LENGTH).numpy()
    with pytest.warns(TrustWarning, match="the extinction of a mean cell is above 1 mag"):
        wrong.density(exact, exact, LENGTH)


def test_stars_of_a_uniform_medium_give_it_back(encoder):
    cube = CubeGrid(CELLS, 12.0, 200.0, -10.0)
    found = encoder.from_stars(stars_in(cube, 20_000), cube)
    assert np.median(found.density) == pytest.approx(2e-3, rel=0.05)
    assert found.error is None
    with pytest.raises(EncoderError, match="none of 100 stars lies in the cube"):
        encoder.from_stars(stars_in(cube, 100), CubeGrid(CELLS, 12.0, 20.0, 10.0))


def test_errors_of_the_stars_become_errors_of_the_map(encoder):
    cube = CubeGrid(CELLS, 12.0, 200.0, -10.0)
    good, bad = (
        encoder.with_errors(stars_in(cube, 3000, error), cube, draws=30, seed=1, progress=False)
        for error in (0.005, 0.02)
    )
    assert 2 < np.median(bad.error) / np.median(good.error) < 6
    again = encoder.with_errors(stars_in(cube, 3000, 0.02), cube, draws=30, seed=1, progress=False)
    assert_array_equal(again.density, bad.density)
    moved = stars_in(cube, 3000, 0.005, distance_error=np.full(3000, 30.0) * u.pc)
    wide = encoder.with_errors(moved, cube, draws=10, progress=False)
    assert np.median(wide.error) > 1.5 * np.median(good.error)


def test_moments_of_draws_that_come_in_pieces():
    draws = np.random.default_rng(0).normal(5, 2, (17, 3))
    moments = RunningMoments((3,))
    for piece in np.split(draws, [1, 9, 10]):
        moments.add(piece)
    assert_allclose(moments.mean, draws.mean(axis=0))
    assert_allclose(moments.deviation, draws.std(axis=0, ddof=1))
    alone = RunningMoments(())
    alone.add(np.ones(1))
    assert np.isnan(alone.deviation)


def test_a_part_of_a_cube_that_is_known(encoder):
    density = smooth_density()
    exact = cube_extinction(torch.from_numpy(density), LENGTH).numpy()
    information = np.full_like(exact, 1e4)
    known = np.zeros(exact.shape, dtype=bool)
    known[8:, 4:12, 4:12] = True
    found = encoder.within(exact, information, LENGTH, known, fills=3)
    whole = encoder.density(exact, information, LENGTH)
    assert np.isnan(found[~known]).all()
    inside = np.s_[10:15, 6:10, 6:10]  # away from the edges of what is known
    assert_allclose(found[inside], whole[inside], rtol=0.05)
    with pytest.raises(EncoderError, match="no cell of the cube is known"):
        encoder.within(exact, information, LENGTH, np.zeros_like(known))


def test_maps_there_and_back(tmp_path):
    cube = CubeGrid(4, 10.0, 123.0, -20.0)
    density = np.arange(64.0).reshape(4, 4, 4) / 1e4
    for error in (None, density / 10):
        CubeMaps(cube, density, error).write(tmp_path / "maps.fits")
        read = CubeMaps.read(tmp_path / "maps.fits")
        assert read.cube == cube
        assert_allclose(read.density, density, rtol=1e-6)
        assert (read.error is None) == (error is None)
    with pytest.raises(EncoderError, match="there is no file"):
        CubeMaps.read(tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("no maps")
    with pytest.raises(EncoderError, match="does not hold the maps of a cube"):
        CubeMaps.read(tmp_path / "text.fits")


def test_a_training_that_has_not_ended_has_no_accuracy():
    with pytest.raises(EncoderError, match="has not ended"):
        _ = Encoder(DifferenceNet(), {key: RECORD[key] for key in RECORD if key != "accuracy"}).accuracy


# -- tiles


def test_a_narrow_region_is_one_cube():
    l, b = np.array([350.0, 10.0, 0.0]), np.array([0.0, 5.0, -5.0])
    [(cube, mine)] = cover(l, b, np.array([100.0, 300.0, 200.0]), 32, in_plane=False)
    assert_array_equal(mine, [0, 1, 2])
    assert cube.holds(l, b, np.array([100.0, 300.0, 200.0])).all()


@pytest.mark.parametrize("in_plane", [False, True])
def test_the_whole_sky_is_many_cubes(in_plane):
    l, b = hp.pix2ang(16, np.arange(hp.nside2npix(16)), lonlat=True)
    distance = np.full(len(l), 400.0)
    tiles = cover(l, b, distance, 32, in_plane)
    covered = np.concatenate([mine for _, mine in tiles])
    assert len(np.unique(covered)) == len(covered)
    if in_plane:
        assert all(cube.b == 0 for cube, _ in tiles)
        assert abs(b[covered]).max() <= 25
        assert len(covered) > 0.95 * np.sum(abs(b) < 20)
    else:
        assert len(covered) == len(l)
    for cube, mine in tiles:
        assert cube.holds(l[mine], b[mine], distance[mine]).all()


# -- seeds


@pytest.fixture(scope="module")
def sky():
    """Stars of a cloud at 240 pc, and a model of them."""
    rng = np.random.default_rng(3)
    count = 4000
    l, b = rng.uniform(50, 80, count), rng.uniform(-12, 12, count)
    distance = 300 * rng.uniform(0.6**3, 1, count) ** (1 / 3)
    cloud = 0.6 / (1 + np.exp(-(distance - 240) / 8)) * np.exp(-((l - 65) ** 2 + b**2) / 2 / 5**2)
    true = 1.6e-3 * (distance - 180) + cloud
    stars = catalogue_of(l, b, distance, true + 0.01 * rng.standard_normal(count), 0.01)
    region = gpdust.Region(l=(50, 80) * u.deg, b=(-12, 12) * u.deg, distance=(180, 300) * u.pc)
    prior = gpdust.SpectralGP("matern32", 30 * u.pc, 0.3, 1.6e-3 * u.mag / u.pc, learn=False)
    return stars, gpdust.DustModel(stars, region.grid((8, 8, 12)), prior)


def test_a_guess_finds_the_cloud_and_knows_where_it_knows_nothing(encoder, sky):
    stars, model = sky
    guess, error = guessed(stars, model.grid, encoder)
    off = np.hypot(model.grid.l.value - 65, model.grid.b.value)
    cells = abs(model.grid.distances.value - 240) < 10
    assert (guess[off < 4][:, cells] > np.log10(6e-3)).all()
    assert np.median(guess[off > 13][:, cells]) < np.log10(4e-3)
    assert np.isfinite(error).all()
    assert (error >= 0.05).all()
    here = stars[stars.l.value < 60]
    _, far = guessed(
        here, gpdust.Region((200, 210) * u.deg, (0, 5) * u.deg, (100, 300) * u.pc).grid((2, 2, 3)), encoder
    )
    assert np.isinf(far).all()


def test_without_foreground_cells_it_is_known_to_be_empty_there(sky):
    from gpdust.encoder.seeding import _seen

    stars, _ = sky
    cube = CubeGrid(CELLS, 20.0, 65.0, 0.0)
    near = np.linalg.norm(np.indices((CELLS,) * 3).transpose(1, 2, 3, 0) + 0.5 - cube.sun, axis=-1) * 20 < 140
    clear, unclear = (_seen(stars, cube, distance, 3) for distance in (180.0, 0.0))
    assert abs(clear.extinction[near]).max() < 1e-3
    assert abs(unclear.extinction[near]).max() > 1e-3
    assert isinstance(clear, ExtinctionCube)


@pytest.mark.parametrize("engine", ["mgvi", "natural"])
def test_a_seed_saves_steps_and_changes_nothing(encoder, sky, small_prior, engine):
    stars, model = sky
    if engine == "natural":
        model = gpdust.DustModel(stars, model.grid, small_prior(inducing=60, length_scale=30 * u.pc))
    start = seed(stars, model, encoder)
    cold = gpdust.fit(model, engine=engine, progress=False, coarse_start=False)
    warm = gpdust.fit(model, engine=engine, progress=False, start=start)
    assert warm.report.steps < cold.report.steps
    assert warm.report.converged
    assert warm.report.elbo == pytest.approx(cold.report.elbo, abs=1 + 3 * cold.report.elbo_error)


def test_a_seed_goes_as_far_towards_the_guess_as_pays(sky):
    stars, model = sky
    near, far = (seed(stars, model, Encoder(DifferenceNet(factor), RECORD)).mean for factor in (1.0, 6.0))
    start = Start.at_prior(model.prior)
    objective = Objective(PriorOnCells(model, start.theta), Response(model))

    def value(mean: torch.Tensor) -> float:
        return float(objective.gradient(objective.place(mean, torch.empty(0, len(mean), dtype=torch.float64)))[0])

    assert value(near) < value(far) < value(start.mean)
    assert value(start.mean + 2 * (far - start.mean)) > value(far)


def test_a_seed_has_no_holes_from_which_a_fit_would_have_to_climb(sky, monkeypatch):
    stars, model = sky
    start = Start.at_prior(model.prior)
    cells = PriorOnCells(model, start.theta)
    holes = torch.arange(0, 8 * 8 * 12, 40)

    def with_holes(log_density: torch.Tensor, response: Response) -> tuple[torch.Tensor, torch.Tensor]:
        found, seen = image_space_reconstruction(torch.zeros_like(log_density) + cells.offset, response)
        found[holes] = -9.0
        return found, seen

    monkeypatch.setattr("gpdust.encoder.seeding.image_space_reconstruction", with_holes)
    absurd = Encoder(DifferenceNet(1000.0), RECORD | {"trust": {"extinction": [0.1, 2], "cell": [0, 99]}})
    found = seed(stars, model, absurd)
    below = cells.log_density(found.mean) - cells.log_density(start.mean)
    assert -0.5 < below[holes].min() < -0.05


def test_a_seed_worse_than_the_prior_is_dropped(sky, monkeypatch):
    stars, model = sky
    sure = {"accuracy": {"information": [0.0], "error": [0.01]}, "trust": {"extinction": [0.1, 2], "cell": [0, 99]}}
    absurd = Encoder(DifferenceNet(1000.0), RECORD | sure)
    assert seed(stars, model, absurd) is not None  # it can be mended
    monkeypatch.setattr("gpdust.encoder.reconstruction.UPDATES", 0)
    assert seed(stars, model, absurd) is None


def test_a_seed_needs_stars_where_cubes_reach():
    """The cubes of a disc lie along the Galactic plane."""
    some = np.full(30, 1.0)
    stars = gpdust.StarCatalogue(
        l=5 * some * u.deg,
        b=65 * some * u.deg,
        distance=np.linspace(110, 290, 30) * u.pc,
        extinction=some * u.mag,
        extinction_error=0.1 * some * u.mag,
    )
    in_plane = Encoder(DifferenceNet(), RECORD | {"options": {"symmetry": "mirror"}})
    grid = gpdust.Region((0, 10) * u.deg, (60, 70) * u.deg, (100, 300) * u.pc).grid((2, 2, 3))
    with pytest.raises(EncoderError, match="no star of the model lies where"):
        seed(stars, gpdust.DustModel(stars, grid, gpdust.SpectralGP()), in_plane)


def test_without_weights_a_seed_says_what_to_do(sky, monkeypatch):
    def missing(name):
        raise EncoderError(f"there is no net {name!r}")

    monkeypatch.setattr("gpdust.encoder.encoder.packaged", missing)
    with pytest.raises(EncoderError, match="no net 'small-region'"):
        seed(*sky)
