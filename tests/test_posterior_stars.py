"""The table of stars: who is where, who fits, and who does not."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpdust
from gpdust.errors import PosteriorError
from gpdust.likelihood import NodeOptions


@pytest.fixture(scope="module")
def stars() -> gpdust.StarCatalogue:
    """Two hundred in a uniform density, the first of them 20 σ off; rows 1000 on; one lies off the sky."""
    rng = np.random.default_rng(0)
    true = rng.uniform(185, 295, 200)
    extinction = 1.6e-3 * (true - 180)
    error = np.full(200, 0.01)
    measured = extinction + error * rng.standard_normal(200)
    measured[0] += 0.2
    return gpdust.StarCatalogue(
        l=np.append(rng.uniform(51, 89, 199), 20) * u.deg,
        b=rng.uniform(-9, 9, 200) * u.deg,
        distance=true * (1 + 0.1 * rng.standard_normal(200)).clip(0.9, 1.1) * u.pc,
        distance_error=0.1 * true * u.pc,
        extinction=measured * u.mag,
        extinction_error=error * u.mag,
        row=np.arange(1000, 1200),
    )


@pytest.fixture(scope="module")
def posterior(stars, small_model) -> gpdust.Posterior:
    noise = gpdust.MixtureNoise(bad_share=0.02, bad_width=0.2)
    return gpdust.fit(small_model(stars, treatment=gpdust.StarTreatment(noise=noise)), progress=False)


def test_every_star_has_its_row(posterior, stars):
    table = posterior.star_table(stars)
    assert_array_equal(np.diff(table["row"]) > 0, True)
    assert set(table["row"]) <= set(range(1000, 1199)) and len(table) > 150
    for name in ("distance", "extinction"):
        low, middle, high = (table[f"{name}_p{p}"].value for p in (16, 50, 84))
        assert (low <= middle).all() and (middle <= high).all()
    assert table["distance_p50"].unit == u.pc and table["extinction_p50"].unit == u.mag
    again = posterior.star_table(stars)
    assert_array_equal(again["residual"], table["residual"])


def test_extinction_tells_distances_and_outliers(posterior, stars):
    table = posterior.star_table(stars)
    used = table["row"] - 1000
    true = stars.extinction.value[used] / 1.6e-3 + 180
    fair = used != 0
    before = np.std((stars.distance.value[used] - true)[fair])
    assert np.std((table["distance_p50"].value - true)[fair]) < 0.6 * before
    assert table["outlier_probability"][0] > 0.9
    assert np.median(table["outlier_probability"]) < 0.1
    assert abs(np.median(table["residual"])) < 0.3


def test_exact_distances_have_a_table_too(small_posterior, mock_stars):
    stars = mock_stars()
    table = small_posterior.star_table(stars, samples=50)
    assert_allclose(table["distance_p50"].value, stars.distance.value, rtol=1e-9)
    assert_allclose(
        table["extinction_p50"].value, small_posterior.predict(stars, 50).median.value, rtol=0.02, atol=1e-3
    )
    assert (table["outlier_probability"] == 0).all()


def test_stars_elsewhere_are_refused(small_posterior, catalogue):
    with pytest.raises(PosteriorError, match="none of the 1 stars lies on the grid"):
        small_posterior.star_table(catalogue([20.0], [0.0], [200.0], [0.1], [0.01]))


def test_a_distance_prior_that_cannot_be_stored_is_said(posterior, tmp_path):
    nodes = NodeOptions(prior=lambda l, b, distance: distance**2)
    kept = replace(posterior, treatment=replace(posterior.treatment, nodes=nodes))
    with pytest.warns(UserWarning, match="distance prior is a function and can't be stored"):
        kept.save(tmp_path / "posterior")
    again = gpdust.Posterior.load(tmp_path / "posterior")
    assert again.treatment.nodes.prior is None  # the usual one
    assert again.treatment.noise == posterior.treatment.noise
