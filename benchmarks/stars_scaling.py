"""What more stars cost: python benchmarks/stars_scaling.py [--counts 10000 100000 1000000].

A step of svi should not depend on the number of stars at all, the one pass that compresses them in proportion. The
catalogues take turns, stage by stage, so that whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import astropy.units as u
import numpy as np
from common import machine, write_json

import gpdust
from gpdust.inference import SVI, Progress, SVIOptions
from gpdust.likelihood import ExtinctionStatistics
from gpdust.los import locate_stars
from gpdust.simulate import simulated_clumps
from gpdust.simulate.clumps import CLUMP_REGION


def pass_seconds(stars: gpdust.StarCatalogue, grid: gpdust.SphericalGrid) -> float:
    """Time to find all stars on the grid and to compress them."""
    l, b, distance = stars.l.value, stars.b.value, stars.distance.value
    extinction, error = stars.extinction.value, stars.extinction_error.value
    started = time.perf_counter()
    ExtinctionStatistics.from_stars(grid, locate_stars(grid, l, b, distance), extinction, error)
    return time.perf_counter() - started


def exponent(counts: list[int], seconds: list[float]) -> float:
    """Exponent p of the best power law, seconds ∝ stars^p."""
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0]) if len(counts) > 1 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--inducing", type=int, default=500)
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35])
    parser.add_argument("--rounds", type=int, default=6, help="stages of 20 steps for each catalogue")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    counts = sorted(arguments.counts)
    stars = simulated_clumps(arguments.seed, counts[-1]).catalogue
    grid = CLUMP_REGION.grid(arguments.shape)
    print(machine(), f"{arguments.shape} cells, {arguments.inducing} inducing points", sep="\n", flush=True)

    passes: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(5):
        for count in counts:
            passes[count].append(pass_seconds(stars[:count], grid))

    prior = gpdust.InducingGP(inducing=arguments.inducing, learn=False, mean_density=1.6e-3 * u.mag / u.pc)
    volume = gpdust.DustModel(stars, grid, prior).prior  # the same inducing points for all
    options = SVIOptions(temper_steps=20, temper_factor=1.01, max_steps=10**6)  # tempering goes on while we measure
    engines = {count: SVI(gpdust.DustModel(stars[:count], grid, volume), options) for count in counts}
    states = {count: engine.init(arguments.seed) for count, engine in engines.items()}
    for _ in range(arguments.rounds):
        for count, engine in engines.items():
            states[count] = engine.stage(states[count], Progress(1, shown=False))

    steps = {}
    for count, state in states.items():
        gaps = np.diff(np.reshape(state.trace.seconds, (arguments.rounds, -1)), axis=1)  # not those between stages
        steps[count] = gaps.ravel()
    base = np.median(steps[counts[0]])
    print(f"{'stars':>9}  {'ms/step':>8}  {'16–84 %':>13}  {'ratio':>5}  {'star pass/s':>11}  {'stars/s':>9}")
    rows = []
    for count in counts:
        middle, low, high = (1e3 * np.percentile(steps[count], q) for q in (50, 16, 84))
        once = float(np.median(passes[count]))
        rows.append({"stars": count, "step_ms": middle, "step_ms_16_84": [low, high], "pass_seconds": once})
        print(
            f"{count:>9}  {middle:>8.2f}  {low:>5.1f} – {high:>5.1f}  {middle / 1e3 / base:>5.2f}  {once:>11.4f}  "
            f"{count / once:>9.2e}"
        )
    of_step = exponent(counts, [row["step_ms"] for row in rows])
    of_pass = exponent(counts, [row["pass_seconds"] for row in rows])
    print(f"time of a step ∝ stars^{of_step:.3f}; time of the star pass ∝ stars^{of_pass:.2f}")
    write_json(arguments.json, {"machine": machine(), "rows": rows, "step_exponent": of_step, "pass_exponent": of_pass})


if __name__ == "__main__":
    main()
