"""The simulated clumps of Dharmawardena et al. (2022) over seeds: python benchmarks/clumps.py [--seeds 0 1 2].

120 000 stars with 10 % noise on 20 × 20 × 35 cells, with hyperparameters given and with hyperparameters learned. Every
run has a process of its own, so that the peak of memory is its own. Errors are relative, of the median map in
100 × 100 × 105 cells.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
from cases import PRIORS, PriorSettings
from common import in_own_process, machine, peak_memory, score, write_json

import gpdust
from gpdust.simulate import simulated_clumps
from gpdust.simulate.clumps import CLUMP_REGION

GIVEN = PriorSettings((30.0,), (0.2,))
START = PriorSettings((20.0,), (0.3,))
WAYS = {"given": (GIVEN, False), "learned": (START, True)}
COLUMNS = {  # key: (heading, format)
    "hyperparameters": ("prior", "s"),
    "seed": ("seed", "d"),
    "latents": ("latents", ".0f"),
    "fit_seconds": ("fit/s", ".1f"),
    "map_seconds": ("maps/s", ".1f"),
    "steps": ("steps", ".0f"),
    "memory": ("GiB", ".2f"),
    "error_median": ("median", ".1%"),
    "error_p90": ("p90", ".1%"),
    "structure_error_median": ("clumps", ".1%"),
    "density_coverage": ("68 %", ".2f"),
    "structure_coverage": ("68 % clumps", ".2f"),
    "extinction_bias": ("bias A/mag", "+.4f"),
}


def run(seed: int, way: str, options: argparse.Namespace) -> dict:
    """Fit one catalogue and score its maps."""
    catalogue = simulated_clumps(seed, options.stars).catalogue
    settings, learn = WAYS[way]
    settings = replace(settings, kernel=options.kernel)
    started = time.perf_counter()
    spacing = options.box_spacing and options.box_spacing * u.pc
    prior = settings.build(options.prior, learn, options.inducing, spacing)
    model = gpdust.DustModel(catalogue, CLUMP_REGION.grid(options.shape), prior)
    posterior = gpdust.fit(model, engine=options.engine, seed=seed, progress=False)
    fitted, memory = time.perf_counter(), peak_memory()
    maps = posterior.percentiles([16, 50, 84], CLUMP_REGION.grid(options.map_shape, b_spacing="uniform"))
    return {
        "hyperparameters": way,
        "seed": seed,
        "latents": model.prior.latent_size,
        "fit_seconds": fitted - started,
        "map_seconds": time.perf_counter() - fitted,
        "steps": posterior.report.steps,
        "converged": posterior.report.converged,
        "memory": memory,
        **score(maps, seed),
        "values": posterior.hyperparameters,
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
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="of coming by hyperparameters")
    parser.add_argument("--engine", default="auto", help="see gpdust.fit")
    parser.add_argument("--prior", choices=PRIORS, default="spectral")
    parser.add_argument("--inducing", type=int, default=500, help="points of the prior 'inducing'")
    parser.add_argument("--box-spacing", type=float, help="of the spectral prior, pc; chosen by default")
    parser.add_argument("--kernel", default="matern32", help="or rbf, matern12, matern52")
    parser.add_argument("--stars", type=int, default=120_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35], help="cells of the fit (l, b, distance)")
    parser.add_argument("--map-shape", type=int, nargs=3, default=[100, 100, 105], help="cells of the map")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    prior = f"{options.prior} prior, {options.kernel}"
    words = f"engine {options.engine}, {prior}, {options.stars} stars, fit on {options.shape} cells"
    print(machine(), words, sep="\n", flush=True)
    print("  ".join(f"{head:>{max(len(head), 7)}}" for head, _ in COLUMNS.values()), flush=True)
    rows = []
    for way in options.ways:
        for seed in options.seeds:
            rows.append(in_own_process(run, seed, way, options))
            print(line(rows[-1]), flush=True)
        group = [row for row in rows if row["hyperparameters"] == way]
        mean = {key: np.mean([row[key] for row in group]) for key in list(COLUMNS)[2:]}
        print(line(mean | {"hyperparameters": way}), flush=True)
    record = {"machine": machine(), "settings": words, "runs": rows}
    write_json(options.json, record)


if __name__ == "__main__":
    main()
