"""Independent random streams from one seed, so that no draw disturbs another."""

import numpy as np

# Only ever append: the place of a name decides its numbers.
_NAMES = ("density", "positions", "selection", "extinctions", "distances")


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random generator that belongs to one purpose of a seed.

    Parameters
    ----------
    seed : int
        Not negative.
    name : {"density", "positions", "selection", "extinctions", "distances"}
        What the numbers are for. Streams of different names are independent: the true density of a seed is the same
        however many stars are drawn.

    Returns
    -------
    numpy.random.Generator
    """
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(len(_NAMES))[_NAMES.index(name)])
