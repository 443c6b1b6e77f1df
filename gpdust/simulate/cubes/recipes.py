"""The named recipes: which dust a cube of each region is filled with, and how much of it.

Sizes, numbers of flights and ranges of density are those of the V-net paper ("Dust V-net"), section 2.1 and appendix.
It names neither kernel nor length scales nor amplitudes; see `large_region`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpdust.errors import EncoderError
from gpdust.simulate.cubes.disc import multiplied
from gpdust.simulate.cubes.levy import LevyFlights
from gpdust.simulate.cubes.log_normal import log_normal_density

PAPER_CELLS = 32
FEWEST_CELLS = 4
MOST = 0.9999  # of the cells lie under the bound
Disc = Callable[[np.ndarray, float], np.ndarray]

SMALL_SIDE, LARGE_SIDE = 192.0, 1920.0  # pc
SMALL_REGION_FLIGHTS = LevyFlights(starts=10, flights=10, jumps=20_000)
LARGE_REGION_FLIGHTS = LevyFlights(starts=20, flights=10, jumps=2000, smallest=4e-3, half_height=200 / LARGE_SIDE)
LENGTH_SCALES = (90.0, 300.0)  # pc
AMPLITUDES = (1.0, 2.0)  # of ln ρ


def small_region(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Lévy flights: 10 starts, 10 flights from each, 20 000 jumps in each."""
    return SMALL_REGION_FLIGHTS.particles(rng, cells)


def large_region(rng: np.random.Generator, cells: int, disc: Disc = multiplied) -> np.ndarray:
    """Log-normal dust in a disc, with a length scale of 90–300 pc (uniform in its logarithm) and an amplitude of 1–2.

    From clouds that fill a few cells of 60 pc to complexes, and from waves of a factor of e to clouds that stand out by
    a hundred. Shorter or stronger ones leave single cells far above the bound. The plane of a cube is some 8 mag deep
    (1–30 mag), and its densest column 10–160 mag, where the paper says "to about 50".
    """
    length_scale = np.exp(rng.uniform(*np.log(LENGTH_SCALES)))
    amplitude = rng.uniform(*AMPLITUDES)
    cell_length = LARGE_SIDE / cells
    return disc(log_normal_density(rng, cells, length_scale / cell_length, amplitude), cell_length)


def large_region_levy(rng: np.random.Generator, cells: int, disc: Disc = multiplied) -> np.ndarray:
    """Lévy flights in a disc: 20 starts within 200 pc of the plane, 10 flights from each, 2000 jumps in each."""
    return disc(LARGE_REGION_FLIGHTS.particles(rng, cells), LARGE_SIDE / cells)


@dataclass(frozen=True)
class Recipe:
    """A way to make cubes of dust. Axes of a cube are (depth, y, z).

    Parameters
    ----------
    name : str
        What it is called in `RECIPES`.
    side : float
        Of the cube, pc, whatever the number of cells.
    shape : callable (rng, cells) -> ndarray of float32, shape (cells, cells, cells)
        Density in units of its own. For a disc convolved as the paper has it, add
        ``Recipe("convolved", 1920, partial(large_region, disc=convolved), (0.01, 0.5))`` to `RECIPES`.
    bounds : (float, float)
        Range, mag/pc, of the random density under which most cells of a cube lie. "Most" of the paper is 99.99 % here,
        since its densities end at about the largest bound; with 99 %, many cells would have several times as much.
    """

    name: str
    side: float
    shape: Callable[[np.random.Generator, int], np.ndarray]
    bounds: tuple[float, float]

    @property
    def cell_length(self) -> float:
        """Length of a cell, pc, of a cube of 32 cells a side."""
        return self.side / PAPER_CELLS

    def simulate(self, rng: np.random.Generator, cells: int = PAPER_CELLS) -> np.ndarray:
        """Make one cube.

        Parameters
        ----------
        rng : numpy.random.Generator
        cells : int
            On a side; an even number.

        Returns
        -------
        ndarray of float32, shape (cells, cells, cells)
            Density, mag/pc.

        Raises
        ------
        EncoderError
            If the number of cells is odd or smaller than four.
        """
        check_cells(cells)
        bound = rng.uniform(*self.bounds)
        density = self.shape(rng, cells)
        return density * np.float32(bound / np.quantile(density, MOST))


def check_cells(cells: int) -> None:
    """Refuse cubes whose middle is no boundary of cells, where the Sun and the plane stand."""
    if cells < FEWEST_CELLS or cells % 2:
        raise EncoderError(f"a cube needs an even number of cells a side, at least {FEWEST_CELLS}, not {cells}")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("small-region", SMALL_SIDE, small_region, (0.01, 0.05)),
        Recipe("large-region", LARGE_SIDE, large_region, (0.01, 0.5)),
        Recipe("large-region-levy", LARGE_SIDE, large_region_levy, (0.01, 0.5)),
    )
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a name, or say which there are."""
    if name not in RECIPES:
        raise EncoderError(f"there is no recipe '{name}'; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
