"""The densities of the noise: normalised, and with the derivatives that they claim."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import norm, t

from gpdust.errors import ConfigError
from gpdust.likelihood import GaussianNoise, MixtureNoise, StudentNoise
from gpdust.likelihood.noise_density import RATIOS, at_ratio, noise_density

KINDS = [GaussianNoise(), StudentNoise(degrees_of_freedom=2.5), MixtureNoise(bad_share=0.2, bad_width=0.5)]
SIDES = [(0.01, 0.01), (0.01, 0.04)]
kinds = pytest.mark.parametrize("noise", KINDS, ids=lambda noise: type(noise).__name__)
sides = pytest.mark.parametrize(("low", "up"), SIDES, ids=["symmetric", "asymmetric"])


def log_density(noise, residual, low, up) -> float:
    height, exponent = noise_density(noise.numbers(), residual, low, up)[:2]
    return np.log(height) + exponent


@kinds
def test_symmetric_densities_are_those_of_the_books(noise):
    r = 0.17
    book = {
        "GaussianNoise": norm.logpdf(r, 0, 0.1),
        "StudentNoise": t.logpdf(r / 0.1, 2.5) - np.log(0.1),
        "MixtureNoise": np.log(0.8 * norm.pdf(r, 0, 0.1) + 0.2 * norm.pdf(r, 0, np.sqrt(0.26))),
    }[type(noise).__name__]
    assert_allclose(log_density(noise, r, 0.01, 0.01), book, rtol=1e-12)


@kinds
@sides
def test_densities_are_normalised(noise, low, up):
    halves = [quad(lambda r, s=s: np.exp(log_density(noise, s * r, low, up)), 0, np.inf)[0] for s in (1, -1)]
    assert_allclose(sum(halves), 1, rtol=1e-6)


@kinds
@sides
@pytest.mark.parametrize("residual", [-0.7, -0.05, 0.08, 1.3])
def test_derivatives_are_those_of_differences(noise, low, up, residual):
    _, _, by_residual, by_variance, by_shape, _ = noise_density(noise.numbers(), residual, low, up)
    h = 1e-6

    def difference(function) -> float:
        return (function(h) - function(-h)) / (2 * h)

    assert_allclose(by_residual, difference(lambda h: log_density(noise, residual + h, low, up)), rtol=1e-7)
    h = 1e-7
    assert_allclose(by_variance, difference(lambda h: log_density(noise, residual, low + h, up + h)), rtol=1e-6)
    if "Gaussian" not in type(noise).__name__:
        h, x = 1e-5, noise.parameters()
        moved = difference(lambda h: log_density(noise.with_parameters(x + h), residual, low, up))
        assert_allclose(by_shape, moved, rtol=1e-7, atol=1e-9)


@sides
def test_gaussian_limits(low, up):
    for residual in (-0.4, 0.0, 0.3):
        gaussian = noise_density(GaussianNoise().numbers(), residual, low, up)
        student = noise_density(StudentNoise(degrees_of_freedom=1e8).numbers(), residual, low, up)
        mixture = noise_density(MixtureNoise(bad_share=0.0).numbers(), residual, low, up)
        assert_allclose(np.log(student[0]) + student[1], np.log(gaussian[0]) + gaussian[1], atol=1e-6)
        assert_allclose(student[2:4], gaussian[2:4], rtol=1e-6)
        assert_allclose(mixture[:4], gaussian[:4], rtol=1e-14)


def test_outliers_are_told_from_good_stars():
    for noise in KINDS[1:]:
        bad = [noise_density(noise.numbers(), r, 0.01, 0.01)[-1] for r in (0.0, 0.1, 0.3, 1.0, 100.0)]
        assert (np.diff(bad) >= 0).all()
        assert bad[0] < 0.1 and bad[-1] > 0.99
    assert noise_density(GaussianNoise().numbers(), 5.0, 0.01, 0.01)[-1] == 0


@kinds
@sides
def test_simulated_deviations_have_the_information_of_the_noise(noise, low, up):
    """Exact where both sides have the same shape; within a per cent for a mixture of two."""
    numbers = noise.numbers()

    def squared_score(r: float) -> float:
        return np.exp(log_density(noise, r, low, up)) * noise_density(numbers, r, low, up)[2] ** 2

    fisher = sum(quad(lambda r, s=s: squared_score(s * r), 0, np.inf, limit=200)[0] for s in (1, -1))
    scales, found = np.sqrt([low, up]), 0.0
    for side, sign in enumerate((1, -1)):
        for z, share in zip(numbers.deviations, numbers.shares, strict=True):
            r = sign * scales[side] * at_ratio(numbers, z, scales[side] ** 2)
            weight = at_ratio(numbers, share, scales[side] ** 2) * scales[side] / scales.sum()
            found += weight * noise_density(numbers, r, low, up)[2] ** 2
    crude = isinstance(noise, MixtureNoise)
    assert_allclose(found, fisher, rtol=(0.2 if low != up else 1e-3) if crude else 1e-6)
    assert len(numbers.deviations[0]) == len(RATIOS)


def test_parameters_are_unconstrained_and_come_back():
    noise = MixtureNoise(bad_share=0.1, bad_width=2.0, extra=0.03, proportional=0.2)
    assert noise.names == ("extra", "proportional", "bad_share")
    assert noise.with_parameters(noise.parameters()).bad_share == pytest.approx(0.1)
    moved = noise.with_parameters([*(noise.parameters()[:1] + 1), *noise.parameters()[1:]])
    assert moved.extra == pytest.approx(0.03 * np.e)
    assert moved.bad_width == 2.0
    assert StudentNoise().names == ("degrees_of_freedom",)
    assert_array_equal(GaussianNoise().parameters(), [])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (GaussianNoise, {"extra": -0.1}),
        (GaussianNoise, {"proportional": np.nan}),
        (StudentNoise, {"degrees_of_freedom": 0.0}),
        (MixtureNoise, {"bad_share": 1.0}),
        (MixtureNoise, {"bad_width": 0.0}),
    ],
)
def test_impossible_noise_is_refused(kind, words):
    with pytest.raises(ConfigError, match="noise: "):
        kind(**words)
