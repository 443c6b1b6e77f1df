"""What the benchmarks share: which machine this is, processes of their own, and how maps of the clumps are scored."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import astropy.units as u
import numpy as np

import gpdust
from gpdust.posterior import PercentileMaps
from gpdust.scores import STRUCTURE, coverage, density_scores
from gpdust.simulate import GridTruth, clump_density

KIB = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in


def machine() -> str:
    """One line about where the numbers come from."""
    import torch  # not before gpdust, which tells threads to wait without spinning

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} cores ({platform.machine()}, {platform.system()}), {torch.get_num_threads()} torch threads, "
        f"Python {platform.python_version()}, gpdust {gpdust.__version__}, torch {torch.__version__}"
    )


def peak_memory() -> float:
    """The most memory that this process has held, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 2**30


class Timed:
    """An iterable that knows how long its items took to come."""

    def __init__(self, items: Iterable) -> None:
        self.items, self.seconds = iter(items), 0.0

    def __iter__(self) -> Iterator:
        while True:
            started = time.perf_counter()
            item = next(self.items, None)
            self.seconds += time.perf_counter() - started
            if item is None:
                return
            yield item


def in_own_process(function: Callable[..., dict], *arguments: object) -> dict:
    """Result of a function in a fresh process, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def exponent(sizes: list[float], costs: list[float]) -> float:
    """Exponent p of the best power law, cost ∝ size^p."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0]) if len(sizes) > 1 else float("nan")


def true_density(seed: int, grid: gpdust.SphericalGrid) -> u.Quantity:
    """Density of the simulated clumps at the centres of the cells of a grid, shape (ray, cell)."""
    return GridTruth.sample(clump_density(seed), grid).density


def score(maps: PercentileMaps, seed: int) -> dict[str, float]:
    """Figures of merit of maps of the simulated clumps with the percentiles 16, 50 and 84; see `gpdust.scores`."""
    truth = true_density(seed, maps.grid)
    low, _, high = maps.density
    dense = truth >= STRUCTURE
    return density_scores(maps, truth).as_dict() | {
        "structure_coverage": coverage(low[dense], high[dense], truth[dense])
    }


def write_json(path: Path | None, record: dict) -> None:
    """Write the results, if a path was given."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")
