"""Fits at the limits: no star, one star, stars elsewhere, seeds, errors over four decades, learned parameters."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.inference.metric import expected_hessian, gauss_newton
from gpdust.inference.svi import SVI
from gpdust.los import extinction_at, integrate, locate_stars


def assert_is_the_prior(posterior: gpdust.Posterior) -> None:
    size = len(posterior.mean)
    assert_allclose(posterior.mean, np.zeros(size), atol=1e-12)
    assert_allclose(posterior.scale @ posterior.scale.mT, np.eye(size), atol=1e-12)
    assert posterior.report.converged


@pytest.mark.parametrize("how", ["no chunk", "an empty chunk", "outside"])
def test_without_stars_on_the_grid_the_posterior_is_the_prior(small_model, mock_stars, how):
    stars = {
        "no chunk": [],
        "an empty chunk": mock_stars()[np.zeros(30, dtype=bool)],
        "outside": mock_stars(l=(100, 130)),
    }[how]
    model = small_model(stars)
    assert model.likelihood.n_stars == model.stars_used.used == 0
    posterior = gpdust.fit(model, engine="svi", progress=False)
    assert_is_the_prior(posterior)
    assert abs(posterior.report.elbo) < 1e-10


def test_without_stars_hyperparameters_stay_at_the_median_of_their_prior(small_model):
    model = small_model([], learn=True)
    posterior = gpdust.fit(model, engine="svi", progress=False)
    assert_is_the_prior(posterior)
    assert_allclose(posterior.theta, 0, atol=1e-12)
    assert_allclose(posterior.theta_covariance, np.eye(5), atol=1e-9)
    assert abs(posterior.report.elbo) < 1e-9  # θ costs nothing either: it is where its prior is


def test_stars_off_the_grid_are_counted_by_reason(catalogue, small_model):
    stars = catalogue([60, 60, 60, 95, 60, 420], [0, 0, 0, 0, 11, 0], [200, 100, 400, 200, 200, 300], 0.1, 0.01)
    used = small_model(stars).stars_used
    assert (used.used, used.outside, used.too_near, used.too_far) == (2, 2, 1, 1)
    assert str(used) == (
        "2 stars on the grid; left out: 2 outside its sky, 1 nearer than its near end, 1 beyond its far end"
    )
    assert small_model([stars, stars]).stars_used == used + used


def test_one_star_is_fitted(catalogue, small_model):
    stars = catalogue(60, 3, 250, 0.3, 0.005)
    posterior = gpdust.fit(small_model(stars), engine="svi", progress=False)
    assert posterior.report.converged
    predicted = posterior.predict(stars, samples=2000)
    assert abs(predicted.mean.value[0] - 0.3) < 0.05
    assert predicted.std.value[0] < 0.2


def test_one_star_is_fitted_with_inducing_points_crowded_in_front_of_it(catalogue, small_model):
    """Points are placed where stars say something: here, in a fraction of one ray."""
    posterior = gpdust.fit(small_model(catalogue(60, 3, 190, 0.3, 0.005), inducing=100), engine="svi", progress=False)
    assert posterior.report.converged


def test_chunks_of_stars_give_the_model_of_all_stars(mock_stars, small_model):
    stars = mock_stars(50)
    whole, pieces = small_model(stars), small_model(stars[start : start + 20] for start in (0, 20, 40))
    assert_allclose(pieces.likelihood.diagonal, whole.likelihood.diagonal, rtol=1e-12)
    assert_allclose(pieces.likelihood.weighted, whole.likelihood.weighted, rtol=1e-12)
    assert torch.equal(pieces.prior.points, whole.prior.points)
    assert pieces.stars_used == whole.stars_used


def test_extra_scatter_adds_to_every_error_in_quadrature(catalogue, mock_stars, small_grid, small_prior):
    stars = mock_stars()
    error = np.hypot(stars.extinction_error.value, 0.05)
    wider = catalogue(stars.l.value, stars.b.value, stars.distance.value, stars.extinction.value, error)
    scattered = gpdust.DustModel(
        stars, small_grid, small_prior(), treatment=gpdust.StarTreatment(noise=gpdust.GaussianNoise(extra=0.05))
    )
    expected = gpdust.DustModel(wider, small_grid, small_prior())
    assert_allclose(scattered.likelihood.diagonal, expected.likelihood.diagonal, rtol=1e-12)
    assert_allclose(scattered.likelihood.constant, expected.likelihood.constant, rtol=1e-12)


def test_a_longitude_a_turn_on_gives_the_same_fit(catalogue, mock_stars, small_model):
    stars = mock_stars()
    turned = catalogue(
        stars.l.value - 360, stars.b.value, stars.distance.value, stars.extinction.value, stars.extinction_error.value
    )
    one, other = (gpdust.fit(small_model(which), engine="svi", progress=False) for which in (stars, turned))
    assert_allclose(other.mean, one.mean, atol=1e-9)


@pytest.mark.parametrize("learn", [False, True])
def test_the_same_seed_gives_the_same_posterior(small_model, small_posterior, learned_posterior, learn):
    first = learned_posterior if learn else small_posterior
    again = gpdust.fit(small_model(learn=learn), engine="svi", progress=False)
    for name in ("mean", "scale", "theta", "theta_covariance"):
        assert torch.equal(getattr(again, name), getattr(first, name)), name
    assert again.trace.elbo == first.trace.elbo


def test_another_seed_gives_nearly_the_same_posterior(small_model, small_posterior):
    other = gpdust.fit(small_model(), engine="svi", progress=False, seed=5)
    assert not torch.equal(other.mean, small_posterior.mean)
    assert other.meta["seed"] == 5
    deviation = (small_posterior.scale @ small_posterior.scale.mT).diagonal().sqrt()
    assert float(((other.mean - small_posterior.mean) / deviation).abs().max()) < 0.2


def test_a_fit_ignores_and_spares_the_global_random_state(small_model, small_posterior):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = gpdust.fit(small_model(), engine="svi", progress=False)
    assert torch.equal(again.mean, small_posterior.mean)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def stiff(catalogue, region, small_prior):
    """400 stars with errors from 1e-4 to 1 mag, of a density that the prior can make."""
    rng = np.random.default_rng(0)
    grid = region.grid((3, 3, 8))
    l, b, d = rng.uniform(50, 90, 400), rng.uniform(-10, 10, 400), rng.uniform(180, 300, 400)
    error = 10 ** rng.uniform(-4, 0, 400)

    def model(seen: np.ndarray, **options) -> gpdust.DustModel:
        return gpdust.DustModel(
            catalogue(l, b, d, seen, error), grid, small_prior(40, length_scale=30 * u.pc, **options)
        )

    empty = model(np.zeros(400))
    true = empty.density(torch.from_numpy(rng.standard_normal(40)), empty.prior.at(empty.points(slice(None))))
    positions = locate_stars(grid, l, b, d)
    exact = extinction_at(integrate(true, torch.from_numpy(grid.cell_lengths)), positions).numpy()
    seen = exact + error * rng.standard_normal(400)
    return lambda **options: (model(seen, **options), positions, seen, error)


@pytest.mark.parametrize("learn", [False, True])
def test_errors_over_four_decades_are_fitted_to_their_noise(stiff, learn):
    model, positions, seen, error = stiff(learn=learn)
    posterior = gpdust.fit(model, engine="svi", progress=False)
    assert posterior.report.converged
    with torch.no_grad():
        linear_map = posterior.prior.at(model.points(slice(None)), posterior.theta)
        density = model.density(posterior.mean, linear_map)
        predicted = extinction_at(integrate(density, torch.from_numpy(model.grid.cell_lengths)), positions).numpy()
    residual = (seen - predicted) / error
    assert 0.75 < np.mean(residual**2) < 1.1  # 400 stars, 40 latents
    sharp = error < 1e-3
    assert 0.4 < np.mean(residual[sharp] ** 2) < 1.3
    assert float(torch.linalg.svdvals(posterior.scale)[-1]) < 1e-2


@pytest.fixture(scope="module")
def wide(small_model) -> gpdust.DustModel:
    """Few stars and wide draws, so that density is far from linear."""
    return small_model(inducing=40, amplitude=0.6)


@pytest.fixture(scope="module")
def natural(wide) -> gpdust.Posterior:
    return gpdust.fit(wide, engine="svi", progress=False)


def test_natural_gradients_end_where_no_gaussian_does_better(wide, natural):
    """There its inverse covariance is the prior's and the mean Hessian over its own draws, here over fresh ones."""
    normal = torch.randn(4000, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    draws = natural.mean + torch.cat([normal, -normal]) @ natural.scale.mT
    best = torch.eye(40) + expected_hessian(wide, natural.prior, natural.theta, None, draws)
    values = torch.linalg.eigvalsh(natural.scale.mT @ best @ natural.scale)
    assert_allclose(values, 1, atol=0.1)
    metric = torch.eye(40) + gauss_newton(wide, natural.prior, natural.mean, natural.theta, None, False)
    off = torch.linalg.eigvalsh(natural.scale.mT @ metric @ natural.scale)
    assert (off - 1).abs().max() > 0.2  # the metric at the mean would not pass


def test_natural_gradients_come_as_high_as_adamw_in_fewer_steps(wide, natural):
    adamw = gpdust.fit(wide, engine="svi", progress=False, natural_gradients=False)
    assert natural.report.elbo > adamw.report.elbo - 0.5
    assert natural.report.steps < 0.5 * adamw.report.steps


def test_learning_hyperparameters_gains_evidence(small_posterior, learned_posterior):
    assert learned_posterior.report.elbo > small_posterior.report.elbo
    assert (learned_posterior.theta != 0).all()
    assert learned_posterior.theta_covariance.diagonal().min() > 0
    assert learned_posterior.theta_covariance.diagonal().max() <= 1 + 1e-9


def test_inducing_points_move_when_they_are_learned_and_only_then(small_model, small_posterior):
    assert torch.equal(small_posterior.prior.points, small_model().prior.points)
    model = small_model(learn_inducing=True)
    moved = gpdust.fit(model, engine="svi", progress=False)
    distance = (moved.prior.points - model.prior.points).norm(dim=-1)
    assert 0 < distance.max() < 60
    assert moved.report.elbo > small_posterior.report.elbo - 1


def test_a_model_without_memory_for_its_matrix_fits_the_same(small_model, small_posterior, monkeypatch):
    monkeypatch.setattr("gpdust.model.CHUNK_BYTES", 1)
    monkeypatch.setattr("gpdust.model.MIN_WIDTH", 1)
    posterior = gpdust.fit(small_model(matrix_memory=0), engine="svi", progress=False)
    assert_allclose(posterior.mean, small_posterior.mean, atol=0.02)  # another rounding: other axes, other draws
    for learn in (False, True):
        kept, anew = (
            gpdust.fit(small_model(learn=learn, matrix_memory=memory), engine="natural", progress=False)
            for memory in (4, 0)
        )
        assert_allclose(anew.mean, kept.mean, atol=1e-4)
        assert_allclose(anew.scale, kept.scale, atol=1e-4)


def test_the_cost_of_a_step_is_that_of_the_statistics(small_model, mock_stars):
    """A model keeps no star: its tensors have the size of the grid."""
    few, many = (SVI(small_model(mock_stars(n))).model.likelihood for n in (10, 10_000))
    for name in ("diagonal", "coupling", "weighted", "counts"):
        assert getattr(few, name).shape == getattr(many, name).shape == (4, 6)
