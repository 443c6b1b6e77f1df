"""How the sky is seen in training: simulated densities to the extinction cubes that catalogues of stars would give."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr

from gpdust.encoder.neighbours import HIGHEST_INFORMATION, ExtinctionCube
from gpdust.errors import EncoderError
from gpdust.los.cartesian import cube_extinction, extinction_at

Stars = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Observation:
    """Random catalogues of stars in a cube, or, now and then, the exact extinction of every cell.

    Each catalogue has its own number of stars, spread evenly over the volume, and its own fractional error. Some are
    limited in magnitude: a star at distance r behind extinction E is seen with probability
    Φ((limit − 5 log10(r / depth) − E) / spread), the limit being at random too. Cones without stars are cut out last.

    Attributes
    ----------
    exact_share : float
        Probability of the exact extinction cube. Its information is that of a star without error in the centre of
        every cell, 1 / 10⁻⁴ mag⁻².
    neighbours : int, optional
        Stars that make a cell: 3 with cells of 6 pc and 30 with cells of 60 pc in "3D dust maps by V-net" (MNRAS). By
        default as many as suit how close stars stand; see `ExtinctionCube.of`.
    stars : tuple of int
        Fewest and most stars that there are, log-uniform; those that are not seen are among them.
    fractional_error : tuple of float
        Least and largest σ / E of a catalogue, uniform.
    floor : float
        Least σ, mag.
    limited_share : float
        Probability that a catalogue is limited in magnitude.
    limit : tuple of float
        Least and largest limit, uniform: how much fainter than an average star without dust at the far face, mag.
    spread : float
        Of the stars' absolute magnitudes, mag.
    gaps : int
        Most cones without stars; their number is uniform from 0.
    gap_radius : float
        Largest angular radius of a cone, degrees, uniform from 0.

    Raises
    ------
    EncoderError
        If a share is no probability, or a range is upside down or out of bounds.

    Notes
    -----
    The paper trains on exact cubes only and applies the network to averages of stars (its sections 2 and 4.2).
    """

    exact_share: float = 0.1
    neighbours: int | None = None
    stars: tuple[int, int] = (500, 100_000)
    fractional_error: tuple[float, float] = (0.0, 0.2)
    floor: float = 0.02
    limited_share: float = 0.5
    limit: tuple[float, float] = (-1.0, 4.0)
    spread: float = 2.0
    gaps: int = 3
    gap_radius: float = 10.0

    def __post_init__(self) -> None:
        for name in ("exact_share", "limited_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise EncoderError(f"{name} of an Observation lies between 0 and 1, not {getattr(self, name)}")
        for name, least in (("stars", 1), ("fractional_error", 0), ("limit", -math.inf)):
            low, high = getattr(self, name)
            if not least <= low <= high < math.inf:
                raise EncoderError(f"{name} of an Observation is (least, largest) from {least}, not ({low}, {high})")
        for name, least in (("neighbours", 1), ("floor", 0), ("gaps", 0), ("gap_radius", 0)):
            if getattr(self, name) is not None and not least <= getattr(self, name) < math.inf:
                raise EncoderError(f"{name} of an Observation is at least {least}, not {getattr(self, name)}")
        if not self.spread > 0:
            raise EncoderError(f"spread of an Observation is positive, not {self.spread}")

    def observe(
        self, density: np.ndarray, cell_length: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """See a sky once.

        Parameters
        ----------
        density : ndarray, shape (n, n, n)
            mag/pc.
        cell_length : float
            pc.
        rng : Generator
            Each call sees another catalogue.

        Returns
        -------
        extinction, information : ndarray, shape (n, n, n)
            mag and mag⁻², as in `ExtinctionCube`; float32.
        """
        if rng.random() < self.exact_share:
            return exact(density, cell_length)
        count = round(math.exp(rng.uniform(*np.log(self.stars))))
        stars = self.catalogue(density, cell_length, rng, count, rng.uniform(*self.fractional_error))
        seen = self.seen(stars[0], stars[1], len(density), rng)
        cube = ExtinctionCube.of(*(column[seen] for column in stars), len(density), self.neighbours)
        return cube.extinction, cube.information

    def catalogue(
        self,
        density: np.ndarray,
        cell_length: float,
        rng: np.random.Generator,
        stars: int = 3000,
        fractional_error: float = 0.1,
    ) -> Stars:
        """Stars spread evenly over a cube, all of them seen.

        Parameters
        ----------
        density : ndarray, shape (n, n, n)
            mag/pc.
        cell_length : float
            pc.
        rng : Generator
        stars : int
            How many.
        fractional_error : float
            σ / E of the true extinction; σ is at least `floor`.

        Returns
        -------
        positions : ndarray, shape (stars, 3)
            In units of cells.
        extinction, sigma : ndarray, shape (stars,)
            Measured extinction, which noise may make negative, and its standard error, mag.
        """
        positions = rng.uniform(0, len(density), (stars, 3))
        true = extinction_at(_as_cube(density), positions, cell_length).numpy().astype(np.float64)
        sigma = np.maximum(fractional_error * true, self.floor)
        return positions, true + sigma * rng.standard_normal(stars), sigma

    def seen(self, positions: np.ndarray, extinction: np.ndarray, cells: int, rng: np.random.Generator) -> np.ndarray:
        """Which stars a random limit of magnitude and random gaps leave; all where too few neighbours would be left."""
        from_sun = positions - (0, cells / 2, cells / 2)
        distance = np.linalg.norm(from_sun, axis=1)
        seen = np.ones(len(positions), dtype=bool)
        if rng.random() < self.limited_share:
            fainter = 5 * np.log10(np.maximum(distance, 1e-6 * cells) / cells) + extinction
            seen = rng.random(len(positions)) < ndtr((rng.uniform(*self.limit) - fainter) / self.spread)
        for _ in range(rng.integers(self.gaps + 1)):
            # Towards a point at random in the volume, so that gaps lie where most stars are.
            axis = rng.uniform(0, cells, 3) - (0, cells / 2, cells / 2)
            cosine = math.cos(math.radians(rng.uniform(0, self.gap_radius)))
            seen &= from_sun @ axis < cosine * np.linalg.norm(axis) * distance
        return seen if np.count_nonzero(seen) >= (self.neighbours or 1) else np.ones_like(seen)


def exact(density: np.ndarray, cell_length: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact extinction (mag) at cell centres and the highest information (mag⁻²), both (n, n, n).

    They are float64 where the density is. What they tell of a cell with little dust behind much is limited by rounding.
    """
    extinction = cube_extinction(_as_cube(density), cell_length).numpy()
    return extinction, np.full_like(extinction, HIGHEST_INFORMATION)


def _as_cube(density: np.ndarray) -> torch.Tensor:
    density = np.asarray(density)
    # A copy: arrays on disk are read-only.
    return torch.from_numpy(density.astype(np.float64 if density.dtype == np.float64 else np.float32))
