"""The simulated clumps of Dharmawardena et al. (2022) over seeds: python benchmarks/clumps.py [--seeds 0 1 2].

svi with learned hyperparameters on 120 000 stars with 10 % noise and 20 × 20 × 35 cells. Every run has a process of its
own, so that the peak of memory is its own. Errors are relative, of the median map in 100 × 100 × 105 cells.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import astropy.units as u
import numpy as np
from common import machine, peak_memory, score, write_json

import gpdust
from gpdust.simulate import simulated_clumps
from gpdust.simulate.clumps import CLUMP_REGION

COLUMNS = {  # key: (heading, format)
    "seed": ("seed", "d"),
    "inducing": ("inducing", "d"),
    "fit_seconds": ("fit/s", ".0f"),
    "map_seconds": ("maps/s", ".0f"),
    "steps": ("steps", ".0f"),
    "memory": ("GiB", ".1f"),
    "error_median": ("median", ".1%"),
    "error_p90": ("p90", ".1%"),
    "structure_error_median": ("clumps", ".1%"),
    "density_coverage": ("68 %", ".2f"),
    "structure_coverage": ("68 % clumps", ".2f"),
    "extinction_bias": ("bias A/mag", "+.4f"),
}


def run(seed: int, inducing: int, stars: int, shape: tuple[int, ...], map_shape: tuple[int, ...]) -> dict:
    catalogue = simulated_clumps(seed, stars).catalogue
    started = time.perf_counter()
    prior = gpdust.InducingGP(
        inducing=inducing, length_scale=20 * u.pc, amplitude=0.3, mean_density=1.6e-3 * u.mag / u.pc
    )
    model = gpdust.DustModel(catalogue, CLUMP_REGION.grid(shape), prior)
    posterior = gpdust.fit(model, seed=seed, progress=False)
    fitted = time.perf_counter()
    maps = posterior.percentiles([16, 50, 84], CLUMP_REGION.grid(map_shape, b_spacing="uniform"))
    return {
        "seed": seed,
        "inducing": inducing,
        "fit_seconds": fitted - started,
        "map_seconds": time.perf_counter() - fitted,
        "steps": posterior.report.steps,
        "converged": posterior.report.converged,
        "memory": peak_memory(),
        **score(maps, seed),
        "hyperparameters": posterior.hyperparameters,
    }


def line(row: dict) -> str:
    cells = [
        f"{format(row[key], form) if key in row else 'mean':>{max(len(head), 7)}}"
        for key, (head, form) in COLUMNS.items()
    ]
    return "  ".join(cells) + ("" if row.get("converged", True) else "  NOT converged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--inducing", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--stars", type=int, default=120_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35], help="cells of the fit (l, b, distance)")
    parser.add_argument("--map-shape", type=int, nargs=3, default=[100, 100, 105], help="cells of the map")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    arguments = parser.parse_args()
    print(machine(), f"{arguments.stars} stars, fit on {arguments.shape} cells", sep="\n", flush=True)
    print("  ".join(f"{head:>{max(len(head), 7)}}" for head, _ in COLUMNS.values()), flush=True)
    problem = arguments.stars, arguments.shape, arguments.map_shape
    rows = []
    for inducing in arguments.inducing:
        for seed in arguments.seeds:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                rows.append(process.submit(run, seed, inducing, *problem).result())
            print(line(rows[-1]), flush=True)
        group = [row for row in rows if row["inducing"] == inducing]
        mean = {key: np.mean([row[key] for row in group]) for key in COLUMNS if key not in ("seed", "inducing")}
        print(line(mean | {"inducing": inducing}), flush=True)
    write_json(arguments.json, {"machine": machine(), "stars": arguments.stars, "runs": rows})


if __name__ == "__main__":
    main()
