"""How much dust lies in front of a region, from the stars nearest to it."""

from __future__ import annotations

import numpy as np

NEAREST = 500  # stars that are looked at
LEAST = 0.1  # of the mean density inside: a foreground without any dust has no logarithm


class NearestStars:
    """The stars of a catalogue that are nearest to the near end of a region, gathered chunk by chunk.

    Parameters
    ----------
    near : float
        Where the region begins, pc.
    """

    def __init__(self, near: float) -> None:
        self.near = near
        self._distance, self._extinction = np.empty(0), np.empty(0)

    def add(self, distance: np.ndarray, extinction: np.ndarray) -> None:
        """Take a look at more stars of the region's sky, pc and mag."""
        inside = distance > self.near
        distance = np.concatenate([self._distance, distance[inside]])
        extinction = np.concatenate([self._extinction, extinction[inside]])
        nearest = np.argsort(distance, kind="stable")[:NEAREST]
        self._distance, self._extinction = distance[nearest], extinction[nearest]

    def foreground_density(self, mean_density: float) -> float:
        """Mean density in front of the region, mag/pc, if that inside is as given.

        The median of what stars see less the dust between the near end and them, which a few clouds do not move.
        """
        if not len(self._distance) or self.near == 0:
            return mean_density
        in_front = float(np.median(self._extinction - mean_density * (self._distance - self.near)))
        return max(in_front / self.near, LEAST * mean_density)
