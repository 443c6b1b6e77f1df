"""Posteriors that are known by draws, and spectral ones: draws, maps, queries, and folders."""

import json

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose, assert_array_equal

import gpdust
from gpdust.errors import PosteriorError
from gpdust.posterior import DrawnSpread, FullSpread
from gpdust.prior.box import PeriodicBox

SMALL_BOX = PeriodicBox((-20.0, 100.0, -80.0), (300.0, 300.0, 240.0), (8, 8, 6))
DRAWS = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["inducing", "spectral"])
def posterior(request, small_model, mock_stars, small_grid) -> gpdust.Posterior:
    if request.param == "inducing":
        return gpdust.fit(small_model(), engine="mgvi", progress=False)
    prior = gpdust.SpectralGP("matern32", 60 * u.pc, 0.3, 1.6e-3 * u.mag / u.pc, learn=["amplitude"])
    return gpdust.fit(gpdust.DustModel(mock_stars(), small_grid, prior.with_box(SMALL_BOX)), progress=False)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_draws_are_those_that_were_kept_in_mirrored_pairs(count, seed):
    drawn = DrawnSpread(DRAWS).draw(count, seed)
    expected = torch.stack([sign * draw for draw in DRAWS for sign in (1, -1)])
    assert torch.equal(drawn, expected[:count])


def test_more_draws_are_combinations_as_wide_as_student_t():
    spread = DrawnSpread(DRAWS)
    more = spread.draw(20_000, 3)
    assert more.shape == (20_000, 9)
    combinations = torch.linalg.lstsq(DRAWS.mT, more.mT).solution
    assert_allclose(DRAWS.mT @ combinations, more.mT, atol=1e-10)  # no other direction
    covariance = DRAWS.mT @ DRAWS / 6 * 6 / (6 - 2)  # that of Student's t with as many degrees of freedom
    scale = covariance.diagonal().sqrt()
    difference = (more.mT @ more / 20_000 - covariance) / torch.outer(scale, scale)
    assert float(difference.abs().max()) < 0.15  # heavy tails
    assert torch.equal(spread.draw(20, 1), spread.draw(30, 1)[:20])
    assert not torch.equal(spread.draw(20, 1), spread.draw(20, 2))


def test_a_full_spread_draws_with_its_covariance():
    scale = DRAWS[:, :6].tril()
    spread = FullSpread(scale)
    drawn = spread.draw(40_000, 0)
    covariance = scale @ scale.mT
    deviation = covariance.diagonal().sqrt()
    difference = (drawn.mT @ drawn / 40_000 - covariance) / torch.outer(deviation, deviation)
    assert float(difference.abs().max()) < 5 * np.sqrt(2 / 40_000)
    assert torch.equal(spread.draw(3, 1), spread.draw(3, 1))


def test_a_posterior_of_draws_has_no_square_root(posterior, small_posterior):
    assert isinstance(posterior.spread, DrawnSpread) and isinstance(small_posterior.spread, FullSpread)
    with pytest.raises(PosteriorError, match=r"spread\.draws"):
        _ = posterior.scale
    assert small_posterior.scale.shape == (12, 12)
    kept = 2 * len(posterior.spread.draws)
    assert_allclose(posterior.draw_latents(kept, seed=4).mean(0), posterior.mean, atol=1e-12)


def test_fields_are_the_density_of_the_draws(posterior):
    points = torch.from_numpy(posterior.grid.cell_points()).reshape(-1, 3)
    fields = posterior.fields(5, seed=2)
    quiet = fields.density(points, torch.zeros(5, len(points), dtype=torch.float64))
    with torch.no_grad():
        linear_map = posterior.prior.at(points, posterior.theta)
        expected = 10 ** linear_map.log_density(posterior.draw_latents(5, seed=2))
    assert_allclose(quiet, expected, rtol=1e-10)
    noisy = fields.density(points, torch.ones(5, len(points), dtype=torch.float64))
    assert_allclose(noisy / quiet, (10 ** linear_map.residual_variance.sqrt()).expand(5, -1), rtol=1e-10)
    assert torch.equal(fields.density(points), quiet)
    assert fields.has_residual == bool(linear_map.residual_variance.any())


def test_a_stored_posterior_comes_back_the_same(posterior, tmp_path):
    loaded = gpdust.Posterior.load(posterior.save(tmp_path / "orion"))
    assert type(loaded.prior) is type(posterior.prior) and isinstance(loaded.spread, DrawnSpread)
    assert torch.equal(loaded.spread.draws, posterior.spread.draws)
    for count in (8, 50):
        for one, other in zip(loaded.sample(count=count), posterior.sample(count=count), strict=True):
            assert_array_equal(one.value, other.value)
    assert loaded.hyperparameters == posterior.hyperparameters and loaded.meta == posterior.meta
    assert loaded.report == posterior.report and loaded.trace == posterior.trace
    assert loaded.hyperparameter_table() == posterior.hyperparameter_table()
    assert repr(loaded) == repr(posterior)


def test_a_folder_of_the_first_format_can_still_be_read(small_posterior, tmp_path):
    """It knew neither kinds of priors nor draws."""
    folder = small_posterior.save(tmp_path / "old")
    record = json.loads((folder / "posterior.json").read_text(encoding="utf-8"))
    record["format"] = 1
    del record["prior"]["kind"]
    (folder / "posterior.json").write_text(json.dumps(record), encoding="utf-8")
    loaded = gpdust.Posterior.load(folder)
    assert_array_equal(loaded.sample(count=5)[0].value, small_posterior.sample(count=5)[0].value)


def test_a_stored_posterior_without_its_spread_is_damaged(posterior, tmp_path):
    from safetensors.torch import load_file, save_file

    path = posterior.save(tmp_path / "orion") / "posterior.safetensors"
    tensors = load_file(path)
    del tensors["draws"]
    save_file(tensors, path)
    with pytest.raises(PosteriorError, match="damaged"):
        gpdust.Posterior.load(path.parent)


@pytest.mark.parametrize("samples", [10, 60])
def test_percentiles_are_those_of_the_draws(posterior, samples):
    maps = posterior.percentiles([16, 50, 84], samples=samples, seed=4)
    draws = posterior.sample(count=samples, seed=4)
    for values, drawn in zip((maps.density, maps.extinction), draws, strict=True):
        assert_allclose(values.value, np.percentile(drawn.value, [16, 50, 84], axis=0, method="weibull"), rtol=1e-12)


def test_maps_on_a_finer_grid_and_in_chunks(posterior, region, monkeypatch):
    grid = region.grid((5, 3, 7))
    whole = posterior.sample(grid, 6, seed=2)
    monkeypatch.setattr("gpdust.posterior.residual.CHUNK_BYTES", 1)
    assert len(list(posterior.sample_chunks(grid, 6))) == 15
    for one, chunked in zip(whole, posterior.sample(grid, 6, seed=2), strict=True):
        assert_allclose(chunked.value, one.value, rtol=1e-12)


def test_queries_and_predictions_are_those_of_the_map(posterior, mock_stars):
    grid = posterior.grid
    density, extinction = posterior.sample(count=12, seed=3)
    middle = 0.5 * (grid.edges[:-1] + grid.edges[1:])
    places = SkyCoord(
        l=np.full(6, np.rad2deg(grid.ray_l[1])) * u.deg,
        b=np.full(6, np.rad2deg(grid.ray_b[1])) * u.deg,
        distance=middle * u.pc,
        frame="galactic",
    )
    _, seen = posterior.query(places, samples=12, seed=3)
    assert seen.samples.shape == (12, 6) or seen.samples.shape == (6, 12)
    assert np.isfinite(seen.samples.value).all() and (seen.samples.value >= 0).all()
    stars = mock_stars()
    predicted = posterior.predict(stars, samples=20)
    pull = (predicted.mean.value - stars.extinction.value) / np.hypot(predicted.std.value, stars.extinction_error.value)
    assert np.abs(pull).max() < 5 and np.sqrt(np.mean(pull**2)) < 1.6
    assert posterior.covers(stars).all()
    mass = posterior.mass(samples=12, seed=3)
    volumes = (density.value * grid.cell_volumes).sum((-1, -2))
    assert_allclose(mass.samples.value / volumes, mass.samples.value[0] / volumes[0], rtol=1e-10)
    assert_allclose(extinction.value, np.cumsum(density.value * grid.cell_lengths, axis=-1), rtol=1e-12)


def test_hyperparameters_are_shown_whatever_the_prior(posterior):
    table = posterior.hyperparameter_table()
    if isinstance(posterior.prior, gpdust.SpectralGP):
        assert table.count("(fixed)") == 4 and "amplitude" in table and "±" in table
    else:
        assert table.count("(fixed)") == 5
