"""Regions and quality cuts as masks over stars."""

import numpy as np

from gpdust.errors import CatalogueError
from gpdust.units import DEGREE, as_array


def bounds(given: object, unit: object, name: str) -> tuple[float, float]:
    """Turn a user's (low, high) Quantity range into two plain numbers; raise CatalogueError where it isn't one."""
    pair = as_array(given, unit, name)
    if pair.shape != (2,) or np.isnan(pair).any():
        raise CatalogueError(f"{name} must be a range of two numbers, (low, high), not {given!r}")
    return float(pair[0]), float(pair[1])


def in_range(values: np.ndarray, given: object, unit: object, name: str) -> np.ndarray:
    """Mask of the values in a closed range (low, high).

    Parameters
    ----------
    values : ndarray, shape (stars,)
        Plain numbers in `unit`.
    given : Quantity, shape (2,), or pair of Quantities
        The range.
    unit : Unit
        Unit of the values.
    name : str
        What to call the range in an error.

    Raises
    ------
    CatalogueError
        If the range is upside down.
    """
    low, high = bounds(given, unit, name)
    if low > high:
        raise CatalogueError(f"{name} is upside down: {low:g} is above {high:g} {unit}")
    return (values >= low) & (values <= high)


def in_longitude(l: np.ndarray, given: object) -> np.ndarray:
    """Mask of the longitudes (deg) going east from the first end of a range to the second.

    The range may cross 0/360, written either (350, 10) deg or (-10, 10) deg.
    """
    low, high = bounds(given, DEGREE, "l")
    if high - low >= 360:
        return np.ones(l.shape, dtype=bool)
    return (l - low) % 360 <= (high - low) % 360
