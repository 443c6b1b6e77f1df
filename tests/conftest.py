"""Small problems that the tests of the core share."""

from collections.abc import Callable

import astropy.units as u
import numpy as np
import pytest
import torch

import gpdust
from gpdust.grid import RayGrid, Region
from gpdust.prior.box import PeriodicBox

MEAN_DENSITY = 1.6e-3 * u.mag / u.pc
SMALL_BOX = PeriodicBox((-20.0, 100.0, -80.0), (300.0, 300.0, 240.0), (8, 8, 6))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny matrices lose more to waiting for threads than they gain."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Each test draws the same numbers, whichever ran before it in the same process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def catalogue() -> Callable[..., gpdust.StarCatalogue]:
    """A catalogue of plain numbers: degrees, pc, mag."""

    def make(l, b, distance, extinction, error, **words) -> gpdust.StarCatalogue:
        l, b, distance, extinction, error = np.broadcast_arrays(l, b, distance, extinction, error)
        return gpdust.StarCatalogue(
            l=l * u.deg,
            b=b * u.deg,
            distance=distance * u.pc,
            extinction=extinction * u.mag,
            extinction_error=error * u.mag,
            **words,
        )

    return make


@pytest.fixture(scope="session")
def region() -> Region:
    return Region(l=(50, 90) * u.deg, b=(-10, 10) * u.deg, distance=(180, 300) * u.pc)


@pytest.fixture(scope="session")
def mock_stars(catalogue) -> Callable[..., gpdust.StarCatalogue]:
    """Stars over l 50–90°, b ±10°, d 180–300 pc, with 10 % errors and a floor."""

    def make(n: int = 30, seed: int = 0, l=(50, 90), b=(-10, 10), distance=(180, 300)) -> gpdust.StarCatalogue:
        rng = np.random.default_rng(seed)
        d = rng.uniform(*distance, n)
        true = 1.6e-3 * (d - 180) * np.exp(0.3 * np.sin(d / 20))
        error = 0.1 * true + 2e-3
        return catalogue(rng.uniform(*l, n), rng.uniform(*b, n), d, true + error * rng.standard_normal(n), error)

    return make


@pytest.fixture(scope="session")
def small_prior() -> Callable[..., gpdust.InducingGP]:
    """Few inducing points, fixed hyperparameters unless asked otherwise."""

    def make(inducing: int | u.Quantity = 12, **options) -> gpdust.InducingGP:
        options = {"length_scale": 60 * u.pc, "mean_density": MEAN_DENSITY, "learn": False} | options
        return gpdust.InducingGP(inducing=inducing, **options)

    return make


@pytest.fixture(scope="session")
def small_grid(region) -> RayGrid:
    return region.grid((2, 2, 6))


@pytest.fixture(scope="session")
def small_model(mock_stars, small_grid, small_prior) -> Callable[..., gpdust.DustModel]:
    """2 × 2 × 6 cells, 30 stars, 12 inducing points."""

    def make(
        stars=None, grid: RayGrid | None = None, inducing: int = 12, treatment=None, **options
    ) -> gpdust.DustModel:
        stars = mock_stars() if stars is None else stars
        return gpdust.DustModel(stars, grid or small_grid, small_prior(inducing, **options), treatment=treatment)

    return make


@pytest.fixture(scope="session")
def small_posterior(small_model) -> gpdust.Posterior:
    return gpdust.fit(small_model(), engine="svi", progress=False)


@pytest.fixture(scope="session")
def learned_posterior(small_model) -> gpdust.Posterior:
    return gpdust.fit(small_model(learn=True), engine="svi", progress=False)


@pytest.fixture(scope="session")
def spectral_model(mock_stars, small_grid) -> Callable[..., gpdust.DustModel]:
    """2 × 2 × 6 cells, 30 stars, a box of 8 × 8 × 6 nodes."""

    def make(stars=None, **options) -> gpdust.DustModel:
        stars = mock_stars() if stars is None else stars
        options = {"length_scale": 60 * u.pc, "mean_density": MEAN_DENSITY, "learn": False} | options
        return gpdust.DustModel(stars, small_grid, gpdust.SpectralGP(**options).with_box(SMALL_BOX))

    return make


@pytest.fixture(params=["inducing", "spectral"])
def any_model(request, small_model, spectral_model) -> Callable[..., gpdust.DustModel]:
    """A small model of either prior."""
    return small_model if request.param == "inducing" else spectral_model
