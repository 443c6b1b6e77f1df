"""Joint draws: correlated along the line of sight, coherent across chunks, the prior where no star is."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gpdust
from gpdust.errors import PosteriorError
from gpdust.grid import RayGrid, Region
from gpdust.posterior import residual

LN10 = np.log(10)


def test_extinction_is_the_integral_of_the_density_of_the_same_draw(small_posterior):
    density, extinction = small_posterior.sample(count=7)
    assert density.unit == u.mag / u.pc and extinction.unit == u.mag
    assert density.shape == extinction.shape == (7, 4, 6)
    lengths = small_posterior.grid.cell_lengths
    assert_allclose(extinction.value, np.cumsum(density.value * lengths, axis=-1), rtol=1e-13)
    assert (density > 0).all()


def test_the_variance_of_an_extinction_is_the_sum_over_the_density_covariance(small_posterior):
    density, extinction = small_posterior.sample(count=2000)
    lengths = small_posterior.grid.cell_lengths
    off = []
    for ray in range(4):
        covariance = np.cov((density.value[:, ray] * lengths).T)
        assert_allclose(np.var(extinction.value[:, ray, -1], ddof=1), covariance.sum(), rtol=1e-10)
        off.append(abs(np.log(covariance.sum() / np.trace(covariance))))
    assert max(off) > 0.3  # the sum of the variances is another number: cells share what the stars fix


def test_without_stars_neighbouring_cells_add_up_their_errors(small_model):
    posterior = gpdust.fit(small_model([], length_scale=200 * u.pc), progress=False)
    density, extinction = posterior.sample(count=2000)
    variances = ((density.value * posterior.grid.cell_lengths).var(axis=0)).sum(-1)
    assert (extinction.value[..., -1].var(axis=0) > 3 * variances).all()


def test_draws_of_the_log_density_have_the_moments_of_the_posterior(small_posterior):
    density, _ = small_posterior.sample(count=5000)
    points = torch.from_numpy(small_posterior.grid.cell_points()).reshape(-1, 3)
    linear_map = small_posterior.prior.at(points, small_posterior.theta)
    root = linear_map.matrix @ small_posterior.scale
    covariance = (root @ root.mT + torch.diag(linear_map.residual_variance)).numpy()
    deviation = np.sqrt(np.diag(covariance))
    draws = np.log10(density.value).reshape(5000, -1)
    assert_allclose((draws.mean(0) - linear_map.log_density(small_posterior.mean).numpy()) / deviation, 0, atol=0.07)
    difference = (np.cov(draws.T) - covariance) / np.outer(deviation, deviation)
    assert_allclose(difference, 0, atol=0.08)


@pytest.mark.parametrize("chunk_bytes", [1, 2500])
def test_draws_do_not_depend_on_how_rays_are_cut_into_chunks(small_posterior, region, monkeypatch, chunk_bytes):
    grid = region.grid((5, 3, 7))
    whole = small_posterior.sample(grid, 9, seed=2)
    maps = small_posterior.percentiles([16, 50, 84], grid, samples=9)
    monkeypatch.setattr(residual, "CHUNK_BYTES", chunk_bytes)
    assert len(list(small_posterior.sample_chunks(grid, 9))) > 4
    for one, chunked in zip(whole, small_posterior.sample(grid, 9, seed=2), strict=True):
        assert_allclose(chunked.value, one.value, rtol=1e-12)
    assert_allclose(small_posterior.percentiles([16, 50, 84], grid, samples=9).density_values, maps.density_values)


def test_the_noise_of_a_ray_is_its_own_bit_for_bit():
    whole = residual.residual_noise(range(10), 5, 4, seed=3)
    assert torch.equal(residual.residual_noise(range(6, 8), 5, 4, seed=3), whole[:, 6:8])
    assert torch.equal(residual.residual_noise(range(10), 3, 4, seed=3), whole[:3])
    assert not torch.equal(residual.residual_noise(range(10), 5, 4, seed=4), whole)
    flat = residual.residual_noise(range(200), 50, 20, seed=0)
    assert abs(float(flat.mean())) < 0.01 and abs(float(flat.var()) - 1) < 0.015
    assert abs(float(np.corrcoef(flat[:, 0].flatten(), flat[:, 1].flatten())[0, 1])) < 0.1


def test_first_draws_do_not_depend_on_how_many_follow(small_posterior):
    few, many = small_posterior.sample(count=3, seed=1), small_posterior.sample(count=11, seed=1)
    assert_allclose(small_posterior.draw_latents(3, 1), small_posterior.draw_latents(11, 1)[:3], rtol=1e-12, atol=1e-13)
    for one, other in zip(few, many, strict=True):
        assert_allclose(other.value[:3], one.value, rtol=1e-12)


def test_seeds_decide_the_draws(small_posterior):
    first, again, other = (small_posterior.sample(count=3, seed=seed)[0] for seed in (1, 1, 2))
    assert_array_equal(first.value, again.value)
    assert not np.isclose(first.value, other.value).any()


def test_percentiles_are_those_of_the_draws(small_posterior):
    wanted = [0, 2.5, 16, 50, 84, 100]
    maps = small_posterior.percentiles(wanted[::-1], samples=37, seed=4)
    assert maps.percentiles == tuple(wanted)
    for values, draws in zip((maps.density, maps.extinction), small_posterior.sample(count=37, seed=4), strict=True):
        assert_allclose(values.value, np.percentile(draws.value, wanted, axis=0, method="weibull"), rtol=1e-12)
    assert maps.meta["samples"] == 37 and maps.meta["maps_seed"] == 4
    assert maps.index(16.0) == 2
    with pytest.raises(gpdust.GpdustError, match="not 17"):
        maps.index(17)


@pytest.mark.parametrize("wanted", [[], [-1], [50, 101]])
def test_impossible_percentiles_are_refused(small_posterior, wanted):
    with pytest.raises(gpdust.GpdustError, match="between 0 and 100"):
        small_posterior.percentiles(wanted)
    with pytest.raises(gpdust.GpdustError, match="at least one sample"):
        small_posterior.percentiles([50], samples=0)


def test_maps_are_cut_to_the_interior_but_count_the_foreground(small_posterior):
    region = Region((50, 90) * u.deg, (-10, 10) * u.deg, (200, 280) * u.pc, foreground_cells=2, background=40 * u.pc)
    grid = region.grid((2, 2, 4))
    assert grid.n_cells == 8
    maps = small_posterior.percentiles([16, 50, 84], grid, samples=25)
    density, extinction = small_posterior.sample(grid, 25)
    assert_array_equal(maps.grid.edges, [200, 220, 240, 260, 280])
    assert_allclose(
        maps.density_values, np.percentile(density.value, [16, 50, 84], axis=0, method="weibull")[..., 2:6], rtol=1e-12
    )
    assert_allclose(
        maps.extinction_values,
        np.percentile(extinction.value, [16, 50, 84], axis=0, method="weibull")[..., 2:6],
        rtol=1e-12,
    )
    own = np.cumsum(density.value[..., 2:6] * 20, axis=-1)
    in_front = 20 * density.value[..., 1:2]  # from 180 pc on, where the fit begins: it knows no dust before
    assert_allclose(extinction.value[..., 2:6], own + in_front, rtol=1e-10)


@pytest.mark.parametrize("prior", ["inducing", "spectral"])
def test_extinction_counts_from_the_near_end_of_the_fit_wherever_a_grid_begins(small_posterior, spectral_model, prior):
    posterior = small_posterior if prior == "inducing" else gpdust.fit(spectral_model(), progress=False)
    edges = posterior.grid.edges
    _, whole = posterior.sample(count=20)
    density, part = posterior.sample(posterior.grid.with_edges(edges[3:]), 20)
    assert part.shape == density.shape == (20, posterior.grid.n_rays, len(edges) - 4)
    assert_allclose(part.value, whole.value[..., 3:], rtol=1e-10)
    nearer = edges[0] * np.array([0.8, 0.9])
    density, longer = posterior.sample(posterior.grid.with_edges(np.concatenate([nearer, edges])), 20)
    assert_allclose(longer.value, np.cumsum(density.value * np.r_[0, 0, np.diff(edges)], axis=-1), rtol=1e-10)


def test_far_from_all_stars_the_prior_returns(catalogue, small_model):
    rng = np.random.default_rng(0)
    d = rng.uniform(180, 200, 100)
    stars = catalogue(rng.uniform(58, 62, 100), rng.uniform(-7, -3, 100), d, 0.01 * (d - 180), 1e-3)
    posterior = gpdust.fit(small_model(stars, length_scale=10 * u.pc, amplitude=0.4), progress=False)
    far = RayGrid([200, 300] * u.deg, [20, 50] * u.deg, [100, 200, 300, 400] * u.pc)
    density, _ = posterior.sample(far, 4000)
    log_density = np.log10(density.value)
    assert_allclose(np.std(log_density, axis=0), 0.4, rtol=0.05)
    assert_allclose(np.mean(log_density, axis=0), np.log10(1.6e-3), atol=0.03)
    assert_allclose(np.median(density.value, axis=0), 1.6e-3, rtol=0.06)
    near, _ = posterior.sample(count=500)
    assert_allclose(np.median(near.value[:, 0, 0]), 0.01, rtol=0.1)  # where the stars are
    assert_allclose(np.median(near.value[:, 3, 5]), 1.6e-3, rtol=0.2)  # and on an empty sightline of the grid


def test_the_mass_is_that_of_the_density(small_posterior):
    density, _ = small_posterior.sample(count=20)
    mass = small_posterior.mass(samples=20)
    ratio = mass.samples.value / (density.value * small_posterior.grid.cell_volumes).sum((-1, -2))
    assert mass.samples.unit == u.Msun
    assert_allclose(ratio, ratio[0], rtol=1e-10)
    # By hand, Draine (2003): ln 10 / 2.5 / (26000 cm²/g) per mag/pc and pc³ of dust, and 124 times that of gas
    of_dust = (LN10 / 2.5 / (26000 * u.cm**2 / u.g)).to_value(u.Msun / u.pc**2)
    assert_allclose(ratio[0], 125 * of_dust, rtol=1e-10)
    dust = small_posterior.mass(samples=20, gas_to_dust=0)
    assert_allclose(mass.samples.value / dust.samples.value, 125, rtol=1e-10)


@pytest.mark.parametrize(
    ("quantity", "known"), [("A0", True), ("A_V", True), ("A(V)", True), ("A", True), ("A_G", False), ("E(B-V)", False)]
)
def test_the_mass_asks_for_an_opacity_where_the_extinction_is_not_visual(small_posterior, quantity, known):
    posterior = replace(small_posterior, meta={**small_posterior.meta, "quantity": quantity, "band": "some band"})
    mine = posterior.mass(samples=3, opacity=13000 * u.cm**2 / u.g)
    if known:
        assert_allclose(posterior.mass(samples=3).samples.value, mine.samples.value / 2, rtol=1e-12)
    else:
        with pytest.raises(PosteriorError, match=r"some band.*give mass\(opacity="):
            posterior.mass(samples=3)


def test_an_estimate_says_what_its_draws_say(small_posterior):
    estimate = small_posterior.mass(samples=50)
    values = estimate.samples.value
    assert_allclose(estimate.median.value, np.median(values))
    assert_allclose(estimate.error.value, np.diff(np.percentile(values, [16, 84], method="weibull"))[0] / 2)
    assert_allclose([estimate.mean.value, estimate.std.value], [values.mean(), values.std(ddof=1)])
    assert "solMass" in str(estimate)


def test_hyperparameters_are_shown_in_physical_units(learned_posterior, small_posterior):
    table = learned_posterior.hyperparameter_table()
    assert "length_scale_x" in table and " pc" in table and "±" in table and "median 60 pc" in table
    assert small_posterior.hyperparameter_table().count("(fixed)") == 5


def test_a_learned_hyperparameter_without_an_error_is_not_called_fixed(learned_posterior):
    """Posteriors of older versions have none where a fit ran out of steps."""
    table = replace(learned_posterior, theta_covariance=torch.zeros(0, 0)).hyperparameter_table()
    assert table.count("± unknown") == 5 and "(fixed)" not in table
