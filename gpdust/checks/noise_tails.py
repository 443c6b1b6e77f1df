"""The distribution function of the noise, compiled: one residual at a time, both tails to full precision."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.special import stdtr

from gpdust.likelihood import Noise
from gpdust.likelihood.noise_density import MIXTURE, STUDENT

STEPS_PER_UNIT, LARGEST = 256, 24.0  # of asinh z, in which the logarithm of a Student-t's tail is smooth
ROOT_HALF = math.sqrt(0.5)
ERFC = (
    *(0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807),
    *(-0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223),
)


def log_tails(noise: Noise) -> np.ndarray:
    """Logarithm of P(noise > s sinh(x)) of a Student-t, at x = 0, 1/256, 2/256, ...; empty for other noise."""
    numbers = noise.numbers()
    if numbers.code != STUDENT:
        return np.empty(0)
    z = np.sinh(np.arange(0, LARGEST, 1 / STEPS_PER_UNIT))
    return np.log(np.maximum(stdtr(numbers.shape[0], -z), np.finfo(float).tiny))


@njit(cache=True, error_model="numpy")
def gaussian_tail(z: float) -> float:
    """P(noise > z), z ≥ 0, in units of σ: right to 1.2e-7 of itself, at a fraction of the cost of the library's erfc.

    Press et al. (1992), Numerical Recipes, section 6.2: erfc x = t exp(−x² + a polynomial in t) with t = 1 / (1 + x/2).
    """
    x = z * ROOT_HALF
    t = 1.0 / (1.0 + 0.5 * x)
    power = 0.0
    for coefficient in ERFC:
        power = power * t + coefficient
    return 0.5 * t * math.exp(power - x * x)


@njit(cache=True, error_model="numpy")
def student_tail(table: np.ndarray, z: float) -> float:
    """The same for a Student-t, from the table of `log_tails`: right to 1e-5 of itself, far off for large ν to 1e-3."""
    place = STEPS_PER_UNIT * math.asinh(z)
    before = int(min(place, len(table) - 2.0))
    return math.exp(table[before] + (place - before) * (table[before + 1] - table[before]))


@njit(cache=True, error_model="numpy", inline="always")
def noise_tails(
    code: int, share: float, width: float, table: np.ndarray, residual: float, low: float, up: float
) -> tuple[float, float]:
    """Probabilities that the noise lies below and above a residual, measured − predicted.

    As in `noise_density`, a residual below zero is judged by the upper error, and the halves of a split density join.

    Parameters
    ----------
    code : int
        Which noise.
    share, width : float
        Of the bad stars of a mixture: their share and their variance, mag². One by one, since handing a `NoiseNumbers`
        on costs more than the tails do.
    table : ndarray
        From `log_tails`.
    residual : float
        mag.
    low, up : float
        Variances s² of the two sides, mag².
    """
    size = abs(residual)
    side = math.sqrt(up if residual < 0 else low)
    tail = student_tail(table, size / side) if code == STUDENT else gaussian_tail(size / side)
    if low != up:
        tail *= 2 * side / (math.sqrt(low) + math.sqrt(up))
    if code == MIXTURE:
        tail = (1 - share) * tail + share * gaussian_tail(size / math.sqrt(0.5 * (low + up) + width))
    return (tail, 1 - tail) if residual < 0 else (1 - tail, tail)
