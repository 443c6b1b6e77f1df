"""What more stars cost: python benchmarks/stars_scaling.py [--counts 10000 100000 1000000] [--same-information].

Stars are compressed in one pass, whose time is in proportion to their number; after it a fit should not depend on them.
More stars also know more, which takes mgvi more iterations; with --same-information each star's error grows as the root
of their number, so that all catalogues know as much, and only the number of stars differs.
The fits take turns, so that whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
from cases import PRIORS, PriorSettings
from common import Timed, exponent, machine, peak_memory, write_json

import gpdust
from gpdust.simulate import ErrorModel, GridTruth, clump_density, mock_catalogues
from gpdust.simulate.clumps import CLUMP_REGION

CHUNK = 250_000  # stars
ERROR = 0.1  # of the extinction
REFERENCE = 100_000  # stars that have these errors with --same-information


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--engine", default="auto", help="see gpdust.fit")
    parser.add_argument("--prior", choices=PRIORS, default="spectral")
    parser.add_argument("--inducing", type=int, default=500, help="points of the prior 'inducing'")
    parser.add_argument(
        "--same-information", action="store_true", help="errors grow with the root of the number of stars"
    )
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35])
    parser.add_argument("--rounds", type=int, default=3, help="fits of each catalogue")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts, grid = sorted(options.counts), CLUMP_REGION.grid(options.shape)
    words = f"engine {options.engine}, {options.prior} prior with given hyperparameters, {options.shape} cells"
    words += f", errors of {ERROR:.0%}" + (f" for {REFERENCE} stars, as √stars" if options.same_information else "")
    print(machine(), words, sep="\n", flush=True)

    truth = GridTruth.sample(clump_density(options.seed), CLUMP_REGION.grid((100, 100, 115)))
    prior, models, passes = PriorSettings().build(options.prior, False, options.inducing), {}, {}
    for count in counts[::-1]:  # so that the largest places the prior of all
        errors = ErrorModel(ERROR * math.sqrt(count / REFERENCE) if options.same_information else ERROR)
        stars = Timed(mock_catalogues(truth, CLUMP_REGION, count, options.seed, chunk=CHUNK, errors=errors))
        started = time.perf_counter()
        models[count] = gpdust.DustModel(stars, grid, prior)
        passes[count] = time.perf_counter() - started - stars.seconds
        prior = models[count].prior
    print(f"memory of all star passes: {peak_memory():.2f} GiB at its peak", flush=True)

    seconds: dict[int, list[float]] = {count: [] for count in counts}
    steps = {}
    for _ in range(options.rounds):
        for count in counts:
            started = time.perf_counter()
            posterior = gpdust.fit(models[count], engine=options.engine, seed=options.seed, progress=False)
            seconds[count].append(time.perf_counter() - started)
            steps[count] = posterior.report.steps

    base = np.median(seconds[counts[0]])
    print(
        f"{'stars':>9}  {'fit/s':>7}  {'ratio':>5}  {'steps':>5}  {'ms/step':>8}  {'star pass/s':>11}  {'stars/s':>9}"
    )
    rows = []
    for count in counts:
        fit, once = float(np.median(seconds[count])), passes[count]
        step = fit / steps[count]
        rows.append({"stars": count, "fit_seconds": fit, "steps": steps[count], "pass_seconds": once})
        print(
            f"{count:>9}  {fit:>7.2f}  {fit / base:>5.2f}  {steps[count]:>5}  {1e3 * step:>8.2f}  {once:>11.4f}  "
            f"{count / once:>9.2e}"
        )
    exponents = {
        "fit": exponent(counts, [row["fit_seconds"] for row in rows]),
        "step": exponent(counts, [row["fit_seconds"] / row["steps"] for row in rows]),
        "pass": exponent(counts, [row["pass_seconds"] for row in rows]),
    }
    print(
        f"time of a fit ∝ stars^{exponents['fit']:.3f}; time of a step ∝ stars^{exponents['step']:.3f}; "
        f"time of the star pass ∝ stars^{exponents['pass']:.2f}"
    )
    write_json(options.json, {"machine": machine(), "settings": words, "rows": rows, "exponents": exponents})


if __name__ == "__main__":
    main()
