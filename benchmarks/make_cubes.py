"""Simulate cubes of dust: python benchmarks/make_cubes.py --recipe small-region --count 10000 --seed 0 --out cubes.

Makes a library of cubes, or goes on with one that was stopped, and prints how many cubes a second came to disk.
Without --out the cubes go to a temporary folder, for the speed alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from common import machine, write_json

from gpdust.errors import EncoderError
from gpdust.simulate.cubes import RECIPES, CubeLibrary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=RECIPES, default="small-region")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", type=int, default=32, help="on a side of a cube")
    parser.add_argument("--threads", type=int, default=2, help="the cubes don't depend on it")
    parser.add_argument("--out", type=Path, help="folder of the library")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        try:
            record = make(arguments, arguments.out or Path(scratch) / "cubes")
        except EncoderError as error:
            parser.exit(1, f"{error}\n")
    write_json(arguments.json, {"machine": machine(), **record})


def make(arguments: argparse.Namespace, out: Path) -> dict:
    """Make the library, print what it took and return it."""
    recipe, cells, seed = arguments.recipe, arguments.cells, arguments.seed
    RECIPES[recipe].simulate(np.random.default_rng(0), cells)  # compiling is not on the clock
    already = CubeLibrary.done(out)
    started = time.perf_counter()
    library = CubeLibrary.make(out, recipe, arguments.count, seed, cells, threads=arguments.threads)
    seconds, made = time.perf_counter() - started, len(library) - already
    print(
        f"{recipe}, {cells}³ cells, seed {seed}, {arguments.threads} threads: {made} cubes in {seconds:.1f} s", end=""
    )
    print(f", {made / seconds:.1f} cubes per second, {1e3 * seconds / max(made, 1):.1f} ms a cube")
    return {"recipe": recipe, "cells": cells, "seed": seed, "cubes": made, "seconds": seconds}


if __name__ == "__main__":
    main()
