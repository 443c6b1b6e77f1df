"""The distribution function of the noise against SciPy's, and against the density that fits use."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr, stdtr

from gpdust.checks.noise_tails import log_tails, noise_tails
from gpdust.likelihood import GaussianNoise, MixtureNoise, StudentNoise
from gpdust.likelihood.noise_density import noise_density

RESIDUALS = np.concatenate([-np.geomspace(1e-6, 30, 60)[::-1], [0], np.geomspace(1e-6, 30, 60)])
NOISES = {
    "gaussian": GaussianNoise(),
    "student": StudentNoise(degrees_of_freedom=3.0),
    "nearly gaussian": StudentNoise(degrees_of_freedom=200.0),
    "cauchy": StudentNoise(degrees_of_freedom=1.0),
    "mixture": MixtureNoise(bad_share=0.1, bad_width=5.0),
}


def tails(noise, residuals, low, up) -> np.ndarray:
    share, width = (noise.bad_share, noise.bad_width**2) if isinstance(noise, MixtureNoise) else (0.0, 0.0)
    return np.array([noise_tails(noise.code, share, width, log_tails(noise), r, low, up) for r in residuals]).T


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gaussian", ndtr),
        ("student", lambda z: stdtr(3.0, z)),
        ("nearly gaussian", lambda z: stdtr(200.0, z)),
        ("cauchy", lambda z: stdtr(1.0, z)),
        ("mixture", lambda z: 0.9 * ndtr(z) + 0.1 * ndtr(z * 0.7 / np.hypot(0.7, 5.0))),
    ],
)
def test_both_tails_are_right_relative_to_themselves(name, expected):
    below, above = tails(NOISES[name], RESIDUALS * 0.7, 0.49, 0.49)
    seen = np.minimum(expected(RESIDUALS), expected(-RESIDUALS)) > 1e-100
    assert_allclose(below[seen], expected(RESIDUALS)[seen], rtol=1e-3 if name == "nearly gaussian" else 2e-5)
    assert_allclose(above[seen], expected(-RESIDUALS)[seen], rtol=1e-3 if name == "nearly gaussian" else 2e-5)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize(("low", "up"), [(0.49, 0.49), (0.09, 1.0)], ids=["symmetric", "split"])
def test_the_slope_is_the_density(name, low, up):
    noise, z = NOISES[name], np.linspace(-2.95, 3.05, 31)
    step = 1e-3
    slope = np.subtract(*(tails(noise, z + sign * step, low, up)[0] for sign in (1, -1))) / (2 * step)
    parts = [noise_density(noise.numbers(), each, low, up)[:2] for each in z]
    assert_allclose(slope, [height * np.exp(exponent) for height, exponent in parts], rtol=2e-3, atol=1e-6)
    below, above = tails(noise, z, low, up)
    assert_allclose(below + above, 1)
    assert (np.diff(below) >= 0).all()


def test_halves_of_a_split_density_join():
    below, above = tails(GaussianNoise(), [-1e-12, 1e-12], 0.09, 1.0)
    assert_allclose(below, 1 / 1.3, rtol=1e-6)  # the upper error is the wider: most residuals are negative
    assert_allclose(above, 0.3 / 1.3, rtol=1e-6)
