"""Jitter: as little as possible, said where it matters, recorded always."""

import warnings

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from gpdust.errors import InferenceError
from gpdust.prior import InducingGP
from gpdust.prior.cholesky import JitterWarning, cholesky_with_jitter


def covariance_with(smallest: float, n: int = 6) -> torch.Tensor:
    """Mean variance about one, one eigenvalue as given."""
    rotation, _ = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    values = torch.ones(n, dtype=torch.float64)
    values[0] = smallest
    return (rotation * values) @ rotation.mT


@pytest.mark.parametrize(("smallest", "jitter"), [(1.0, 1e-9), (1e-12, 1e-9), (-3e-9, 1e-8), (-3e-7, 1e-6)])
def test_little_jitter_is_recorded_but_not_warned_of(smallest, jitter):
    covariance = covariance_with(smallest)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        factor, added = cholesky_with_jitter(covariance)
    assert_allclose(added, jitter, rtol=1e-9)
    assert_allclose(factor @ factor.mT, covariance, atol=2 * jitter)


@pytest.mark.parametrize(("smallest", "jitter"), [(-3e-6, 1e-5), (-3e-5, 1e-4), (-3e-4, 1e-3)])
def test_much_jitter_is_warned_of(smallest, jitter):
    with pytest.warns(JitterWarning, match=f"jitter of {jitter:.0e}"):
        _, added = cholesky_with_jitter(covariance_with(smallest))
    assert_allclose(added, jitter, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e8])
def test_jitter_is_relative_to_the_variance(scale):
    factor, added = cholesky_with_jitter(scale * covariance_with(-3e-8))
    assert_allclose(added, 1e-7, rtol=1e-9)
    assert_allclose(factor @ factor.mT, scale * covariance_with(-3e-8), atol=2e-7 * scale)


@pytest.mark.parametrize("covariance", [covariance_with(-0.1), torch.full((3, 3), torch.nan, dtype=torch.float64)])
def test_what_jitter_can_not_mend_is_an_error_that_says_what_to_do(covariance):
    with pytest.raises(InferenceError, match=r"singular.*Use fewer inducing points"):
        cholesky_with_jitter(covariance)


def pairs(length_scale: float) -> InducingGP:
    """Close pairs 6000 pc from each other: squared distances in length scales lose their last digits."""
    rng = np.random.default_rng(0)
    ends = np.where(np.arange(20) < 10, -3000.0, 3000.0)[:, None] + rng.uniform(0, length_scale / 10, (20, 3))
    return InducingGP(inducing=ends * u.pc, length_scale=length_scale * u.pc)


def test_a_prior_warns_of_near_coincident_points_and_records_the_jitter():
    prior = pairs(0.01)
    with pytest.warns(JitterWarning, match="too close for the length scale"):
        prior.at(torch.zeros(1, 3, dtype=torch.float64))
    assert 1e-6 < prior.jitter <= 1e-3


def test_a_prior_that_jitter_can_not_mend_is_an_error():
    prior = InducingGP(inducing=np.zeros((3, 3)) * u.pc)
    far_off = torch.full((prior.theta_size,), 1e4, dtype=torch.float64)
    with pytest.raises(InferenceError, match="length scale has run far"):
        prior.at(torch.zeros(1, 3, dtype=torch.float64), far_off)


def test_exactly_coincident_points_do_no_harm():
    points = np.array([[0, 0, 0], [0, 0, 0], [30, 0, 0]]) * u.pc
    twice, once = InducingGP(inducing=points), InducingGP(inducing=points[1:])
    places = torch.rand(5, 3, dtype=torch.float64) * 40
    one, other = once.at(places), twice.at(places)
    assert_allclose(one.residual_variance, other.residual_variance, atol=1e-7)
    assert_allclose(one.matrix @ one.matrix.mT, other.matrix @ other.matrix.mT, atol=1e-7)
    assert twice.jitter >= 1e-9
