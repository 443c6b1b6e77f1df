"""The densities of the noise and their derivatives, compiled: one residual at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

GAUSSIAN, STUDENT, MIXTURE = 0, 1, 2
INVERSE_ROOT_2PI = 1 / math.sqrt(2 * math.pi)
OCTAVES, STEPS = 16, 8  # of the ratio of a bad star's width to s, and of the table of it per octave
RATIOS = 2.0 ** (np.arange(-STEPS * OCTAVES // 2, STEPS * OCTAVES + 1) / STEPS)


class NoiseNumbers(NamedTuple):
    """A `Noise` for compiled code.

    Attributes
    ----------
    code : int
        Which density.
    shape : ndarray
        Its own numbers: (ν, ln normalisation, its derivative by ln ν), or (p, width²).
    extra, proportional : float
        Added variance, mag², and added squared share of the local extinction.
    deviations, shares : ndarray, shape (deviations, ratios)
        Deviations in units of s to simulate, and how much each counts, for every ratio in `RATIOS`: the mean squared
        score over them is the Fisher information of the noise.
    """

    code: int
    shape: np.ndarray
    extra: float
    proportional: float
    deviations: np.ndarray
    shares: np.ndarray


@njit(cache=True, error_model="numpy")
def noise_density(
    noise: NoiseNumbers, residual: float, low: float, up: float
) -> tuple[float, float, float, float, float, float]:
    """Density of a residual, measured − predicted, and the derivatives of its logarithm.

    A residual below zero says that the truth lies above the measurement: it is judged by the upper error.

    Parameters
    ----------
    noise : NoiseNumbers
    residual : float
        mag.
    low, up : float
        Variances s² of the two sides, mag².

    Returns
    -------
    height, exponent, by_residual, by_variance, by_shape, bad : float
        The density is height · exp(exponent), apart, since the exponential may underflow; derivatives of its logarithm
        by the residual, by a variance that is added to both sides, and by the parameter of the shape (ln ν or logit p);
        and the probability that the star is an outlier.
    """
    inverse = 1.0 / (up if residual < 0 else low)
    if low == up:
        inverse_scale, by_scale = math.sqrt(inverse), -0.5 * inverse
    else:
        inverse_scale, by_scale = 2.0 / (math.sqrt(low) + math.sqrt(up)), -0.5 / math.sqrt(low * up)
    pull = residual * inverse
    chi2 = residual * pull
    if noise.code == STUDENT:
        nu = noise.shape[0]
        weight = (nu + 1) / (nu + chi2)
        tail = math.log1p(chi2 / nu)
        exponent = noise.shape[1] - 0.5 * (nu + 1) * tail
        by_shape = noise.shape[2] - 0.5 * nu * tail + 0.5 * weight * chi2
        by_variance = by_scale + 0.5 * weight * pull**2
        return inverse_scale, exponent, -weight * pull, by_variance, by_shape, max(0.0, 1.0 - weight)
    by_variance = by_scale + 0.5 * pull * pull
    if noise.code == GAUSSIAN:
        return INVERSE_ROOT_2PI * inverse_scale, -0.5 * chi2, -pull, by_variance, 0.0, 0.0
    wide = 1.0 / (0.5 * (low + up) + noise.shape[1])
    share, wide_chi2 = noise.shape[0], residual**2 * wide
    least = min(chi2, wide_chi2) if share > 0 else chi2
    good = (1 - share) * inverse_scale * math.exp(0.5 * (least - chi2))
    broad = share * math.sqrt(wide) * math.exp(0.5 * (least - wide_chi2))
    bad = broad / (good + broad)
    by_residual = -(1 - bad) * pull - bad * residual * wide
    by_variance = (1 - bad) * by_variance + bad * 0.5 * wide * (wide_chi2 - 1)
    return INVERSE_ROOT_2PI * (good + broad), -0.5 * least, by_residual, by_variance, bad - share, bad


@njit(cache=True, error_model="numpy")
def at_ratio(noise: NoiseNumbers, table: np.ndarray, variance: float) -> float:
    """An entry of a table by `RATIOS`, for a star with variance s², linear in the logarithm of the ratio."""
    if noise.code != MIXTURE:
        return table[0]
    place = STEPS * (0.5 * math.log2(noise.shape[1] / variance) + OCTAVES // 2)
    place = min(max(place, 0.0), len(table) - 1.000001)
    before = int(place)
    return table[before] + (place - before) * (table[before + 1] - table[before])
