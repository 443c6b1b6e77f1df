"""How common stars are at each distance along a line of sight, before their distance is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpdust.errors import ConfigError

SUN_RADIUS = 8178.0  # pc; GRAVITY Collaboration (2019), A&A 625, L10
SUN_HEIGHT = 20.8  # pc; Bennett & Bovy (2019), MNRAS 482, 1417

DistancePrior = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(l, b, d) in degrees and pc, which broadcast, to a density in d that need not be normalised."""


def flat(l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Every distance alike."""
    return np.ones_like(distance)


def uniform_density(l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Stars fill space evenly: p ∝ d²."""
    return distance**2


@dataclass(frozen=True)
class ExponentialDisc:
    """Stars fill an exponential disc: p ∝ d² exp(−|z|/h_z − R/h_R).

    The defaults are the thin disc of Jurić et al. (2008), ApJ 673, 864.

    Attributes
    ----------
    length, height : float
        Scale length h_R and scale height h_z, pc.
    """

    length: float = 2600.0
    height: float = 300.0

    def __call__(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Density of stars, times d²."""
        l, b = np.deg2rad(l), np.deg2rad(b)
        along = SUN_RADIUS - distance * np.cos(b) * np.cos(l)
        radius = np.hypot(along, distance * np.cos(b) * np.sin(l))
        height = np.abs(SUN_HEIGHT + distance * np.sin(b))
        # Relative to the Sun, so that nothing underflows in the outer disc.
        return distance**2 * np.exp((SUN_RADIUS - radius) / self.length - height / self.height)


NAMED: dict[str, DistancePrior] = {
    "flat": flat,
    "uniform-density": uniform_density,
    "exponential-disc": ExponentialDisc(),
}


DISTANCE_PRIORS = ("uniform-density", "exponential-disc", "flat")


def distance_prior(prior: str | DistancePrior | None) -> DistancePrior:
    """The prior of a name, or the one given; uniform density by default.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if callable(prior):
        return prior
    prior = prior or DISTANCE_PRIORS[0]
    if prior not in NAMED:
        raise ConfigError(f"there is no distance prior '{prior}'; choose from {', '.join(NAMED)}, or give a function")
    return NAMED[prior]
