"""Skies in cubes, which the benchmarks of the V-net share: stars in a simulated cube, and gpdust's own fit of them."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import astropy.units as u
import healpy as hp
import numpy as np
import torch

import gpdust
from gpdust.encoder import CubeGrid, Observation
from gpdust.encoder.observation import exact
from gpdust.fitting import ConvergenceWarning
from gpdust.grid import HealpixGrid
from gpdust.grid.coordinates import cartesian
from gpdust.los.cartesian import cell_centres
from gpdust.simulate.cubes import RECIPES, Recipe

TOWARDS = (180.0, 0.0)  # degrees: where the cubes lie, as in the paper
NSIDE = 16  # rays 3.7° apart, and twice as many cells in distance
SPACING = 2  # cells of the cube: of the nodes of a spectral prior; 3000 stars tell no more


LEAST_ERROR = 1e-3  # mag


def clumps(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Three Gaussian clumps on a uniform background, mag/pc; shape (n, n, n)."""
    place = cell_centres(cells) / cells
    density = np.full(len(place), 1e-3)
    for _ in range(3):
        centre, width = rng.uniform((0.4, 0.2, 0.2), (0.9, 0.8, 0.8)), rng.uniform(0.04, 0.12)
        density += rng.uniform(5e-3, 2e-2) * np.exp(-0.5 * ((place - centre) ** 2).sum(axis=1) / width**2)
    return density.reshape((cells,) * 3)


def shell(rng: np.random.Generator, cells: int) -> np.ndarray:
    """A spherical shell about a cavity, mag/pc; shape (n, n, n)."""
    radius, centre = rng.uniform(0.15, 0.3), rng.uniform((0.4, 0.35, 0.35), (0.7, 0.65, 0.65))
    away = np.linalg.norm(cell_centres(cells) / cells - centre, axis=1)
    density = np.where(away < radius, 1e-4, 1e-3) + 1e-2 * np.exp(-0.5 * ((away - radius) / 0.03) ** 2)
    return density.reshape((cells,) * 3)


def uniform(rng: np.random.Generator, cells: int) -> np.ndarray:
    """The same density everywhere, mag/pc; shape (n, n, n)."""
    return np.full((cells,) * 3, rng.uniform(1e-3, 4e-3))


#: Skies that are like none of the training, in cubes as those of small regions.
UNLIKE = {"clumps": clumps, "shell": shell, "uniform": uniform}


def _like(recipe: str) -> Recipe:
    return RECIPES["small-region" if recipe in UNLIKE else recipe]


@dataclass(frozen=True)
class Settings:
    """Priors of gpdust's own fits, in units of the side of a cube and of its mean density."""

    length_scale: float
    amplitude: float  # dex
    typical: float  # density, of the mean


SETTINGS = {
    "small-region": Settings(0.1, 0.6, 0.3),
    "large-region": Settings(0.1, 0.5, 0.3),
    "large-region-levy": Settings(0.1, 0.6, 0.3),
    **dict.fromkeys(UNLIKE, Settings(0.1, 0.4, 0.5)),
}


@dataclass(frozen=True)
class CubeSky:
    """A simulated cube and its stars.

    Attributes
    ----------
    recipe : str
    cube : CubeGrid
    density : ndarray, shape (n, n, n)
        The truth, mag/pc.
    positions, extinction, sigma : ndarray
        Of the stars; cells and mag.
    nside : int
        Resolution of gpdust's own fits.
    """

    recipe: str
    cube: CubeGrid
    density: np.ndarray
    positions: np.ndarray
    extinction: np.ndarray
    sigma: np.ndarray
    nside: int = NSIDE

    @classmethod
    def make(
        cls, recipe: str, seed: int, stars: int, fractional_error: float, nside: int = NSIDE, cells: int = 32
    ) -> CubeSky:
        """A cube that no training has seen: its numbers come from a stream of their own."""
        rng = np.random.default_rng([seed, 2**31])
        made = UNLIKE.get(recipe) or RECIPES[recipe].simulate
        density = made(rng, cells)
        cube = CubeGrid(cells, _like(recipe).side / cells, *TOWARDS)
        seen = Observation().catalogue(density, cube.cell_length, rng, stars, fractional_error)
        return cls(recipe, cube, density, *seen, nside)

    @classmethod
    def at_centres(cls, recipe: str, density: np.ndarray, fractional_error: float, nside: int = NSIDE) -> CubeSky:
        """A cube with a star in the centre of every cell, whose extinction is exact."""
        cells = len(density)
        cube = CubeGrid(cells, _like(recipe).side / cells, *TOWARDS)
        extinction = exact(density, cube.cell_length)[0].ravel().astype(float)
        sigma = np.maximum(fractional_error * extinction, LEAST_ERROR)
        return cls(recipe, cube, density, cell_centres(cells), extinction, sigma, nside)

    @property
    def catalogue(self) -> gpdust.StarCatalogue:
        """The stars."""
        l, b, distance = self.cube.to_galactic(self.positions)
        return gpdust.StarCatalogue(
            l=l * u.deg,
            b=b * u.deg,
            distance=distance * u.pc,
            extinction=self.extinction * u.mag,
            extinction_error=self.sigma * u.mag,
        )

    @property
    def grid(self) -> HealpixGrid:
        """Rays over the half of the sky in which the cube lies, as far as its farthest corner."""
        l, b = hp.pix2ang(self.nside, np.arange(hp.nside2npix(self.nside)), lonlat=True)
        towards = np.cos(np.deg2rad(l - TOWARDS[0])) * np.cos(np.deg2rad(b)) > 0
        side = self.cube.side
        edges = np.linspace(0, 1.01 * side * np.sqrt(1.5), 2 * self.nside + 1)
        return HealpixGrid(self.nside, edges * u.pc, np.flatnonzero(towards))

    def model(
        self, kind: str = "spectral", learn: bool = False, inducing: int = 500, scatter: bool = False
    ) -> gpdust.DustModel:
        """Gpdust's own model of the sky; with a scatter to be learned where stars know more than its cells can show."""
        settings, side = SETTINGS[self.recipe], self.cube.side
        farthest = np.argsort(np.linalg.norm(self.positions - self.cube.sun, axis=1))[-300:]
        distance = np.linalg.norm(self.positions[farthest] - self.cube.sun, axis=1) * self.cube.cell_length
        mean = max(float(np.mean(self.extinction[farthest] / distance)), 1e-6)  # mag/pc, as anyone could tell
        given = {
            "length_scale": settings.length_scale * side * u.pc,
            "amplitude": settings.amplitude,
            "mean_density": settings.typical * mean * u.mag / u.pc,
            "learn": learn,
        }
        prior = (
            gpdust.SpectralGP("matern32", box_spacing=SPACING * self.cube.cell_length * u.pc, **given)
            if kind == "spectral"
            else gpdust.InducingGP("matern32", inducing=inducing, **given)
        )
        noise = gpdust.GaussianNoise(extra=0.02)
        treatment = gpdust.StarTreatment(noise=noise, learn=("extra",)) if scatter else None
        return gpdust.DustModel(self.catalogue, self.grid, prior, treatment=treatment)


def fit(model: gpdust.DustModel, **options: object) -> tuple[gpdust.Posterior, float]:
    """Posterior and seconds."""
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        posterior = gpdust.fit(model, progress=False, **options)
    return posterior, time.perf_counter() - started


def at_cells(posterior: gpdust.Posterior, cube: CubeGrid, samples: int = 50) -> np.ndarray:
    """Mean and the 16th and 84th percentile of the density at the cells of a cube, mag/pc, shape (3, n, n, n)."""
    l, b, distance = cube.points_galactic()
    points = torch.from_numpy(cartesian(np.deg2rad(l), np.deg2rad(b), distance).reshape(-1, 3))
    noise = torch.randn(samples, len(points), dtype=points.dtype, generator=torch.Generator().manual_seed(0))
    draws = posterior.fields(samples, 0).density(points, noise).numpy()
    return np.stack([draws.mean(axis=0), *np.percentile(draws, [16, 84], axis=0)]).reshape(3, *cube.shape)
