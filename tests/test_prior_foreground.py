"""The dust in front of a region has a mean of its own."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.likelihood.foreground import NearestStars
from gpdust.prior.foreground import ForegroundStep, foreground_from, step_at

STEP = ForegroundStep(180.0, 0.7)
POINTS = torch.tensor([[100.0, 0, 0], [0, 179.0, 0], [0, 0, -181.0], [200.0, 50, 0]], dtype=torch.float64)


def test_the_step_ends_where_the_region_begins():
    assert_allclose(STEP(POINTS), [0.7, 0.7, 0, 0])
    assert_allclose(step_at(None, POINTS), np.zeros(4))
    assert foreground_from({}) is None and foreground_from({"foreground": {"distance": 180.0, "step": 0.7}}) == STEP


def test_a_prior_with_a_step_differs_by_it_alone(any_model):
    model = any_model(learn=True)
    prior, points = model.prior, torch.from_numpy(model.grid.cell_points()).reshape(-1, 3)
    stepped = prior.with_foreground(ForegroundStep(230.0, 0.7))
    v = torch.randn(3, prior.latent_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    near = points.norm(dim=-1) < 230
    assert near.any() and not near.all()
    difference = stepped.at(points).log_density(v) - prior.at(points).log_density(v)
    assert_allclose(difference, 0.7 * near.expand(3, -1), atol=1e-12)
    nothing = torch.zeros(3, len(points), dtype=torch.float64)
    field, again = stepped.fields(v).density(points, nothing), prior.fields(v).density(points, nothing)
    assert_allclose((field / again).log10(), 0.7 * near.expand(3, -1), atol=1e-12)
    described = stepped.description()
    assert foreground_from(described) == stepped.foreground


def test_the_nearest_stars_tell_how_much_there_is():
    rng = np.random.default_rng(0)
    nearest = NearestStars(180.0)
    for _ in range(3):  # in chunks
        d = rng.uniform(100, 500, 2000)
        nearest.add(d, np.where(d < 180, 9.0, 0.5 + 1.6e-3 * (d - 180)) + 0.05 * rng.standard_normal(2000))
    assert nearest.foreground_density(1.6e-3) * 180 == pytest.approx(0.5, abs=0.02)
    assert NearestStars(180.0).foreground_density(1e-3) == 1e-3  # no star, no news


def test_stars_elsewhere_on_the_sky_tell_nothing_of_it(catalogue):
    region = gpdust.Region((50, 90) * u.deg, (-10, 10) * u.deg, (180, 300) * u.pc, foreground_cells=2)
    prior = gpdust.SpectralGP("matern32", 60 * u.pc, 0.3, 1.6e-3 * u.mag / u.pc, learn=False)
    rng = np.random.default_rng(0)
    l, b, d = rng.uniform(50, 90, 800), rng.uniform(-10, 10, 800), rng.uniform(180, 300, 800)
    elsewhere = np.arange(800) % 2 == 1
    stars = catalogue(l + 90 * elsewhere, b, d, np.where(elsewhere, 5.0, 0.5), np.full(800, 0.03))
    steps = [
        gpdust.DustModel(some, region.grid((4, 3, 10)), prior).prior.foreground.step
        for some in (stars, stars[~elsewhere])
    ]
    assert steps[0] == steps[1]


def test_a_fit_puts_foreground_dust_in_front(catalogue):
    """0.5 mag before the region: without cells for it, the first cells of the region would have to hold it."""
    rng = np.random.default_rng(0)
    l, b, d = rng.uniform(50, 90, 800), rng.uniform(-10, 10, 800), rng.uniform(180, 300, 800)
    error = np.full(800, 0.03)
    stars = catalogue(l, b, d, 0.5 + 1.6e-3 * (d - 180) + error * rng.standard_normal(800), error)
    nearest = {}
    for cells in (0, 3):
        region = gpdust.Region((50, 90) * u.deg, (-10, 10) * u.deg, (180, 300) * u.pc, foreground_cells=cells)
        prior = gpdust.SpectralGP("matern32", 60 * u.pc, 0.3, 1.6e-3 * u.mag / u.pc, learn=False)
        model = gpdust.DustModel(stars, region.grid((4, 3, 10)), prior)
        assert any("foreground" in note for note in model.notes) == bool(cells)
        density, _ = gpdust.fit(model, progress=False).sample(count=100)
        nearest[cells] = float(np.median(density.value[:, :, cells]))
    assert nearest[3] == pytest.approx(1.6e-3, rel=0.1)
    assert nearest[0] > 5 * 1.6e-3


def test_the_density_in_front_can_be_given(catalogue, small_prior):
    region = gpdust.Region((50, 90) * u.deg, (-10, 10) * u.deg, (180, 300) * u.pc, foreground_cells=2)
    stars = catalogue([60.0], [0.0], [250.0], [0.1], [0.01])
    given = gpdust.DustModel(stars, region.grid((2, 2, 6)), small_prior(), foreground_density=1 * u.mag / u.kpc)
    assert given.prior.foreground.step == pytest.approx(np.log10(1e-3 / 1.6e-3))
    with pytest.raises(gpdust.GpdustError, match="foreground_density must be positive"):
        gpdust.DustModel(stars, region.grid((2, 2, 6)), small_prior(), foreground_density=0 * u.mag / u.kpc)


def test_a_model_with_another_prior_is_that_of_the_same_stars(mock_stars, small_prior):
    region = gpdust.Region((50, 90) * u.deg, (-10, 10) * u.deg, (180, 300) * u.pc, foreground_cells=2)
    spectral = gpdust.SpectralGP("rbf", 60 * u.pc, 0.3, 3e-3 * u.mag / u.pc)
    model = gpdust.DustModel(iter([mock_stars(20), mock_stars(10, seed=1)]), region.grid((2, 2, 6)), small_prior())
    notes = list(model.notes)
    other = model.with_prior(spectral)
    afresh = gpdust.DustModel([mock_stars(20), mock_stars(10, seed=1)], region.grid((2, 2, 6)), spectral)
    assert other.notes == afresh.notes and other.prior.description() == afresh.prior.description()
    assert other.likelihood is model.likelihood and model.notes == notes and model.prior.kind == "inducing"
    v = torch.ones(other.prior.latent_size, dtype=torch.float64)
    assert_allclose(other.log_likelihood(v), afresh.log_likelihood(v), rtol=1e-12)
