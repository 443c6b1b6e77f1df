"""A library of cubes on disk: as many as one likes, made once, in pieces, and read a few at a time."""

from __future__ import annotations

import operator
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gpdust._version import __version__
from gpdust.errors import EncoderError
from gpdust.files import write_json
from gpdust.simulate.cubes.folder import FORMAT, RECORD, begin, map_cubes, read_record
from gpdust.simulate.cubes.recipes import Recipe, check_cells, find_recipe

THREADS = 2
CHUNK = 64  # cubes between two notes of how far it has come
TEST, VALIDATION = 0.1, 0.2  # shares: of all, and of those that are left


class CubeLibrary:
    """Simulated densities in a folder: ``density.npy``, mapped into memory, and ``library.json``.

    `make` or `open` one; ``library[i]``, with a number, a slice or an array of numbers, is a float32 array of
    densities, mag/pc, shape (..., cells, cells, cells), with axes (depth, y, z).

    Attributes
    ----------
    path : Path
    recipe : str
    seed : int
    cells : int
        On a side of a cube.
    cell_length : float
        pc.
    """

    def __init__(self, path: Path, record: dict) -> None:
        self.path = path
        self.recipe: str = record["recipe"]
        self.seed: int = record["seed"]
        self.cells: int = record["cells"]
        self.cell_length: float = record["cell_length"]
        self._density = map_cubes(path, record, "r")

    @classmethod
    def make(
        cls,
        path: str | os.PathLike,
        recipe: str,
        count: int,
        seed: int,
        cells: int = 32,
        progress: bool = True,
        *,
        threads: int = THREADS,
    ) -> CubeLibrary:
        """Simulate cubes into a folder, or go on where a stopped run left off.

        Parameters
        ----------
        path : path-like
            A new or empty folder, or one with a library of the same recipe, count, seed and cells.
        recipe : str
            A name in `RECIPES`.
        count : int
            Number of cubes.
        seed : int
            Not negative. Cube i depends on the seed and i only, not on threads, count or interruptions.
        cells : int
            On a side of a cube.
        progress : bool
            Show a bar with the time left.
        threads : int
            Cubes made at once.

        Raises
        ------
        EncoderError
            If an argument is unusable, the folder holds something else or its files are damaged.
        """
        path, chosen = Path(path), find_recipe(recipe)
        count, seed, cells = (operator.index(number) for number in (count, seed, cells))  # JSON knows no numpy
        check_cells(cells)
        if count < 1 or seed < 0 or threads < 1:
            raise EncoderError(f"count and threads must be positive, seed not negative, not {count}, {threads}, {seed}")
        wanted = {
            "format": FORMAT,
            "gpdust": __version__,
            "recipe": recipe,
            "seed": seed,
            "count": count,
            "cells": cells,
            "cell_length": chosen.side / cells,
        }
        record = begin(path, wanted)
        if record["done"] < count:
            _fill(path, chosen, record, progress, threads)
        return cls(path, record)

    @classmethod
    def open(cls, path: str | os.PathLike) -> CubeLibrary:
        """Open a finished library.

        Raises
        ------
        EncoderError
            If the folder holds no library, an unfinished or a damaged one.
        """
        path = Path(path)
        record = read_record(path)
        if record["done"] < record["count"]:
            raise EncoderError(
                f"the library in '{path}' is not finished: it has {record['done']} of {record['count']} cubes. Make it "
                f"again with recipe '{record['recipe']}', count {record['count']}, seed {record['seed']} and "
                f"{record['cells']} cells, and it goes on from there"
            )
        return cls(path, record)

    @staticmethod
    def done(path: str | os.PathLike) -> int:
        """Count the cubes that are done already in a folder, which may be missing or have no library yet."""
        return read_record(Path(path))["done"] if (Path(path) / RECORD).exists() else 0

    def __len__(self) -> int:
        return len(self._density)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        return np.array(self._density[index])

    def __repr__(self) -> str:
        return f"CubeLibrary('{self.path}': {len(self)} cubes of {self.recipe}, {self.cells}³ cells, seed {self.seed})"

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of the cubes to train with, to validate with and to test with: 72, 18 and 10 %, at random.

        References
        ----------
        The V-net paper ("Dust V-net"), section 2.2: a tenth for the test, and a fifth of the rest for validation.
        """
        shuffled = np.random.default_rng(seed).permutation(len(self))
        test = round(TEST * len(self))
        validation = round(VALIDATION * (len(self) - test))
        return shuffled[test + validation :], shuffled[test : test + validation], shuffled[:test]


def _fill(path: Path, recipe: Recipe, record: dict, progress: bool, threads: int) -> None:
    """Make the cubes that are missing; the record counts a chunk only once its data are on disk."""
    cubes = map_cubes(path, record, "r+" if record["done"] else "w+")
    done, count = record["done"], record["count"]

    def simulate(number: int) -> None:
        seeds = np.random.SeedSequence(record["seed"], spawn_key=(number,))
        cubes[number] = recipe.simulate(np.random.default_rng(seeds), record["cells"])

    bar = tqdm(total=count, initial=done, disable=not progress, unit="cube", desc=recipe.name, dynamic_ncols=True)
    with bar, ThreadPoolExecutor(threads) as pool:
        for first in range(done, count, CHUNK):
            numbers = range(first, min(first + CHUNK, count))
            for _ in pool.map(simulate, numbers):
                bar.update()
            cubes.flush()
            record["done"] = numbers.stop
            write_json(path / RECORD, record)
