"""What more cells cost: python benchmarks/cells_scaling.py [--cells 10000 100000 1000000 3000000].

The simulated clumps with given hyperparameters on finer and finer grids. Every fit has a process of its own, so that
the peak of memory is its own.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
from cases import PRIORS, PriorSettings
from common import exponent, in_own_process, machine, peak_memory, true_density, write_json

import gpdust
from gpdust.scores import relative_error
from gpdust.simulate import simulated_clumps
from gpdust.simulate.clumps import CLUMP_REGION

CELLS = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000]
DEPTH = 1.75  # cells along a ray for each across, as in 20 × 20 × 35


def grid_of(cells: int) -> gpdust.SphericalGrid:
    """The region of the clumps in about so many cells, always of one shape."""
    across = max(2, round(math.cbrt(cells / DEPTH)))
    return CLUMP_REGION.grid((across, across, round(DEPTH * across)))


def run(cells: int, options: argparse.Namespace) -> dict:
    """Fit on a grid of about so many cells."""
    grid = grid_of(cells)
    stars = simulated_clumps(options.seed, options.stars).catalogue
    model = gpdust.DustModel(stars, grid, PriorSettings().build(options.prior, False, options.inducing))
    started = time.perf_counter()
    posterior = gpdust.fit(model, engine=options.engine, seed=options.seed, progress=False)
    fitted, memory = time.perf_counter(), peak_memory()
    maps = posterior.percentiles([50], samples=options.samples)
    return {
        "cells": grid.n_rays * grid.n_cells,
        "latents": model.prior.latent_size,
        "fit_seconds": fitted - started,
        "steps": posterior.report.steps,
        "converged": posterior.report.converged,
        "memory": memory,
        "map_seconds": time.perf_counter() - fitted,
        "error_median": float(
            np.median(relative_error(maps.density_values[0], true_density(options.seed, grid).value))
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS)
    parser.add_argument("--engine", default="mgvi", help="see gpdust.fit")
    parser.add_argument("--prior", choices=PRIORS, default="spectral")
    parser.add_argument("--inducing", type=int, default=500, help="points of the prior 'inducing'")
    parser.add_argument("--stars", type=int, default=120_000)
    parser.add_argument("--samples", type=int, default=40, help="draws of the map whose error is shown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    words = f"engine {options.engine}, {options.prior} prior with given hyperparameters, {options.stars} stars"
    print(machine(), words, sep="\n", flush=True)
    print(f"{'cells':>9}  {'latents':>9}  {'fit/s':>7}  {'steps':>5}  {'µs/cell':>8}  {'GiB':>6}  {'map/s':>7}  median")
    rows = []
    for cells in sorted(options.cells):
        row = in_own_process(run, cells, options)
        rows.append(row)
        print(
            f"{row['cells']:>9}  {row['latents']:>9}  {row['fit_seconds']:>7.1f}  {row['steps']:>5}  "
            f"{1e6 * row['fit_seconds'] / row['cells']:>8.1f}  {row['memory']:>6.2f}  {row['map_seconds']:>7.1f}  "
            f"{row['error_median']:.1%}" + ("" if row["converged"] else "  NOT converged"),
            flush=True,
        )
    power = exponent([row["cells"] for row in rows], [row["fit_seconds"] for row in rows])
    print(f"time of a fit ∝ cells^{power:.3f}")
    write_json(options.json, {"machine": machine(), "settings": words, "rows": rows, "exponent": power})


if __name__ == "__main__":
    main()
