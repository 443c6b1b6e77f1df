"""Truths that are hard to map: thin sheets and filaments, and densities over four decades."""

from __future__ import annotations

import numpy as np

from gpdust.grid import Region
from gpdust.grid.coordinates import cartesian
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION
from gpdust.simulate.components import Filament, GaussianClump, Sheet, UniformDensity
from gpdust.simulate.density import SumDensity
from gpdust.simulate.positions import uniform_positions
from gpdust.simulate.streams import stream
from gpdust.units import DENSITY, PARSEC

SHEETS, FILAMENTS = 2, 4
THICKNESS = 5  # pc, of sheets and filaments; a Gaussian half width
SHEET_PEAK, FILAMENT_PEAK = (5, 10), (10, 30)  # times the background
FILAMENT_LENGTH = (80, 150)  # pc

CAVITY = 5e-6  # mag/pc
CLOUDS = 8
CLOUD_PEAK, CLOUD_SIGMA = (1e-3, 2e-2), (15, 30)  # mag/pc; pc
CORE_PEAK, CORE_SIGMA = 0.1, 10  # mag/pc; pc


def sheet_density(seed: int, region: Region = CLUMP_REGION) -> SumDensity:
    """Two thin sheets and four thin filaments at random, on a uniform background of 1.6e-3 mag/pc.

    Sheets pass through random places with random normals; filaments are 80–150 pc long and lie in any direction. Both
    have a Gaussian half width of 5 pc, and peaks of 5–10 and of 10–30 times the background.

    Parameters
    ----------
    seed : int
        The same seed gives the same density.
    region : Region
        Where they lie; that of the simulated clumps by default.

    Returns
    -------
    SumDensity
        The background, then sheets, then filaments.
    """
    generator = stream(seed, "density")
    places = _places(region, SHEETS + FILAMENTS, generator)
    directions = generator.standard_normal((SHEETS + FILAMENTS, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    half_lengths = generator.uniform(*FILAMENT_LENGTH, FILAMENTS) / 2
    peaks = BACKGROUND * np.append(generator.uniform(*SHEET_PEAK, SHEETS), generator.uniform(*FILAMENT_PEAK, FILAMENTS))
    width = THICKNESS * PARSEC
    sheets = [
        Sheet(place * PARSEC, tuple(direction), width, peak * DENSITY)
        for place, direction, peak in zip(places[:SHEETS], directions[:SHEETS], peaks[:SHEETS], strict=True)
    ]
    reach = directions[SHEETS:] * half_lengths[:, None]
    filaments = [
        Filament((place - half) * PARSEC, (place + half) * PARSEC, width, peak * DENSITY)
        for place, half, peak in zip(places[SHEETS:], reach, peaks[SHEETS:], strict=True)
    ]
    return SumDensity(UniformDensity(BACKGROUND * DENSITY), *sheets, *filaments)


def wide_range_density(seed: int, region: Region = CLUMP_REGION) -> SumDensity:
    """Clouds in a cavity: densities over more than four decades, from 5e-6 to more than 0.1 mag/pc.

    Eight Gaussian clouds at random, with standard deviations of 15–30 pc and peaks of 1e-3…2e-2 mag/pc, uniform in
    their logarithm. In two of them sits a core of 10 pc and 0.1 mag/pc.

    Parameters
    ----------
    seed : int
        The same seed gives the same density.
    region : Region
        Where the clouds lie; that of the simulated clumps by default.

    Returns
    -------
    SumDensity
        The cavity, then clouds, then cores.
    """
    generator = stream(seed, "density")
    centres = _places(region, CLOUDS, generator) * PARSEC
    sigmas = generator.uniform(*CLOUD_SIGMA, CLOUDS) * PARSEC
    peaks = np.exp(generator.uniform(*np.log(CLOUD_PEAK), CLOUDS)) * DENSITY
    clouds = [GaussianClump(*cloud) for cloud in zip(centres, sigmas, peaks, strict=True)]
    cores = [GaussianClump(centre, CORE_SIGMA * PARSEC, CORE_PEAK * DENSITY) for centre in centres[:2]]
    return SumDensity(UniformDensity(CAVITY * DENSITY), *clouds, *cores)


def _places(region: Region, n: int, generator: np.random.Generator) -> np.ndarray:
    """Places uniform in the region, x, y, z in pc, shape (n, 3)."""
    l, b, distance = uniform_positions(region, n, generator)
    return cartesian(np.deg2rad(l), np.deg2rad(b), distance)
