"""Places drawn uniformly in the volume of a region."""

import numpy as np

from gpdust.grid import Region
from gpdust.units import DEGREE, PARSEC, as_array, as_float


def uniform_positions(
    region: Region, n: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw places uniform in space: uniform in l, sin b and d³.

    Parameters
    ----------
    region : Region
        The volume, with its padding behind the far end but without its foreground.
    n : int
        How many.
    generator : numpy.random.Generator
        Gives three numbers for every place in turn, so that drawing twice goes on where the first drawing ended.

    Returns
    -------
    l, b, distance : ndarray, shape (n,)
        deg, l in [0, 360); pc.
    """
    random = generator.random((n, 3))
    l0, l1 = as_array(region.l, DEGREE, "l")
    near, far = distance_limits(region)
    b0, b1 = as_array(region.b, DEGREE, "b")
    low, high = np.sin(np.deg2rad([b0, b1]))
    l = np.mod(l0 + (l1 - l0) * random[:, 0], 360)
    b = np.rad2deg(np.arcsin(low + (high - low) * random[:, 1]))
    distance = np.cbrt(near**3 + (far**3 - near**3) * (1 - random[:, 2]))  # 1 − [0, 1) leaves out the near end
    # Roots and sines round; a place must not leave its region by that.
    return l, np.clip(b, b0, b1), np.clip(distance, near, far)


def distance_limits(region: Region) -> tuple[float, float]:
    """Near end of a region and far end of its padding, pc."""
    near, far = as_array(region.distance, PARSEC, "distance")
    return float(near), float(far) + as_float(region.background, PARSEC, "background")
