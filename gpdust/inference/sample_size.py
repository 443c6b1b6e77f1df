"""How many draws a fit needs: few where stars are many, and more where the mean follows those few."""

from __future__ import annotations

from numbers import Integral

from gpdust.errors import InferenceError

AUTO = "auto"
FEW, MANY = 20, 100
MOST_NUMBERS = 40_000_000  # of all pairs, on latents and cells


def first_samples(samples: int | str) -> int:
    """How many draws to begin with, by the option `samples`.

    Raises
    ------
    InferenceError
        If that is neither "auto" nor an even number of at least two.
    """
    if samples == AUTO:
        return FEW
    if not isinstance(samples, Integral) or samples < 2 or samples % 2:
        raise InferenceError(
            f'samples must be "auto", or even and at least 2, since draws are mirrored; got {samples!r}'
        )
    return int(samples)


def most_samples(samples: int | str, latents: int, cells: int) -> int:
    """How many draws a fit may take that finds the first ones too few."""
    if samples != AUTO:
        return int(samples)
    return max(FEW, min(MANY, 2 * (MOST_NUMBERS // (latents + cells))))
