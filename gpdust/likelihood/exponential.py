"""exp(x) for x ≤ 0 without a branch or a call, so that a compiler may take several x at a time."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SMALLEST = -60.0  # what lies below counts as that
LOG2_E = 1 / math.log(2.0)
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")  # ln 2 in two parts: n times the first is exact
LN2_LOW = 1.9082149292705877e-10
HALVES = 0.5 ** np.arange(128)


@njit(cache=True, error_model="numpy", inline="always")
def exponential(x: float) -> float:
    """exp(x), to 4e-16: 2⁻ⁿ times a Taylor series of the rest, which is at most ½ ln 2."""
    x = max(x, SMALLEST)
    n = math.floor(0.5 - x * LOG2_E)
    r = (x + n * LN2_HIGH) + n * LN2_LOW
    series = 1.0 / 479001600
    series = series * r + 1.0 / 39916800
    series = series * r + 1.0 / 3628800
    series = series * r + 1.0 / 362880
    series = series * r + 1.0 / 40320
    series = series * r + 1.0 / 5040
    series = series * r + 1.0 / 720
    series = series * r + 1.0 / 120
    series = series * r + 1.0 / 24
    series = series * r + 1.0 / 6
    series = series * r + 0.5
    series = series * r + 1.0
    series = series * r + 1.0
    return series * HALVES[np.uint64(n)]
