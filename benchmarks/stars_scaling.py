"""What more stars cost: python benchmarks/stars_scaling.py [--counts 10000 100000 1000000] [--errors shared fixed].

Stars are compressed in one pass, whose time is in proportion to their number; after it a fit should not depend on them.
Two questions are asked apart. What does their number cost? With `shared`, each star's error grows as the root of how
many there are, so that all catalogues know as much. And what does it cost that more stars know more? With `fixed`,
every star has the same errors however many there are, which takes mgvi a preconditioner of higher rank.
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
REFERENCE = 100_000  # stars that have these errors either way
ERRORS = {
    "shared": f"errors of {ERROR:.0%} for {REFERENCE} stars, growing as √stars: all catalogues know as much",
    "fixed": f"errors of {ERROR:.0%} however many stars there are: more of them know more",
}


def build_models(
    errors: str, truth: GridTruth, options: argparse.Namespace
) -> tuple[dict[int, gpdust.DustModel], dict[int, float]]:
    """A model for each number of stars, on the same prior, and the seconds of its star pass."""
    grid, prior = CLUMP_REGION.grid(options.shape), PriorSettings().build(options.prior, False, options.inducing)
    models, passes = {}, {}
    for count in sorted(options.counts, reverse=True):  # so that the largest places the prior of all
        model = ErrorModel(ERROR * math.sqrt(count / REFERENCE) if errors == "shared" else ERROR)
        stars = Timed(mock_catalogues(truth, CLUMP_REGION, count, options.seed, chunk=CHUNK, errors=model))
        started = time.perf_counter()
        models[count] = gpdust.DustModel(stars, grid, prior)
        passes[count] = time.perf_counter() - started - stars.seconds
        prior = models[count].prior
    return models, passes


def time_fits(models: dict[int, gpdust.DustModel], options: argparse.Namespace) -> tuple[dict, dict]:
    """Median seconds of a fit, and its steps, for each number of stars."""
    seconds: dict[int, list[float]] = {count: [] for count in models}
    steps = {}
    for _ in range(options.rounds):
        for count, model in models.items():
            started = time.perf_counter()
            posterior = gpdust.fit(model, engine=options.engine, seed=options.seed, progress=False)
            seconds[count].append(time.perf_counter() - started)
            steps[count] = posterior.report.steps
    return {count: float(np.median(some)) for count, some in seconds.items()}, steps


def compare(errors: str, truth: GridTruth, options: argparse.Namespace) -> dict:
    """Time, print, and return what is to be written."""
    models, passes = build_models(errors, truth, options)
    seconds, steps = time_fits(models, options)
    counts = sorted(models)
    print(f"\n{ERRORS[errors]}")
    print(
        f"{'stars':>9}  {'fit/s':>7}  {'ratio':>5}  {'steps':>5}  {'ms/step':>8}  {'star pass/s':>11}  {'stars/s':>9}"
    )
    for n in counts:
        print(
            f"{n:>9}  {seconds[n]:>7.2f}  {seconds[n] / seconds[counts[0]]:>5.2f}  {steps[n]:>5}  "
            f"{1e3 * seconds[n] / steps[n]:>8.2f}  {passes[n]:>11.4f}  {n / passes[n]:>9.2e}"
        )
    exponents = {
        "fit": exponent(counts, [seconds[n] for n in counts]),
        "step": exponent(counts, [seconds[n] / steps[n] for n in counts]),
        "pass": exponent(counts, [passes[n] for n in counts]),
    }
    print(
        f"time of a fit ∝ stars^{exponents['fit']:.3f}; time of a step ∝ stars^{exponents['step']:.3f}; "
        f"time of the star pass ∝ stars^{exponents['pass']:.2f}",
        flush=True,
    )
    rows = [{"stars": n, "fit_seconds": seconds[n], "steps": steps[n], "pass_seconds": passes[n]} for n in counts]
    return {"errors": errors, "rows": rows, "exponents": exponents}


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--errors", nargs="+", choices=ERRORS, default=list(ERRORS))
    parser.add_argument("--engine", default="auto", help="see gpdust.fit")
    parser.add_argument("--prior", choices=PRIORS, default="spectral")
    parser.add_argument("--inducing", type=int, default=500, help="points of the prior 'inducing'")
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35])
    parser.add_argument("--rounds", type=int, default=3, help="fits of each catalogue")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    words = f"engine {options.engine}, {options.prior} prior with given hyperparameters, {options.shape} cells"
    print(machine(), f"{words}, seed {options.seed}", sep="\n", flush=True)
    truth = GridTruth.sample(clump_density(options.seed), CLUMP_REGION.grid((100, 100, 115)))
    results = [compare(errors, truth, options) for errors in options.errors]
    print(f"\nmemory: {peak_memory():.2f} GiB at its peak")
    write_json(options.json, {"machine": machine(), "settings": words, "seed": options.seed, "results": results})


if __name__ == "__main__":
    main()
