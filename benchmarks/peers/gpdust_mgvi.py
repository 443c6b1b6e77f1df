"""Solve an exported problem with gpdust's mgvi: python benchmarks/peers/gpdust_mgvi.py problem.npz result.npz.

Takes the options of `export_problem.py`, builds the same model, and fails if that is not the exported problem.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

import gpdust

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import machine, peak_memory
from export_problem import add_arguments, build_model

PERCENTILES = (16, 50, 84)


def check(model: gpdust.DustModel, problem: dict[str, np.ndarray]) -> None:
    """Stop unless a model is the exported problem.

    Raises
    ------
    SystemExit
        If its stars, its box or its cells differ.
    """
    found = {
        "diagonal": model.likelihood.diagonal,
        "coupling": model.likelihood.coupling,
        "weighted": model.likelihood.weighted,
        "box_origin": model.prior.box.origin,
        "box_lengths": model.prior.box.lengths,
        "box_shape": model.prior.box.shape,
        "points": model.grid.cell_points(),
    }
    wrong = [name for name, values in found.items() if not np.array_equal(np.asarray(values), problem[name])]
    if wrong:
        raise SystemExit(f"this is not the exported problem: {', '.join(wrong)} differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", type=Path)
    parser.add_argument("result", type=Path, help="percentile maps and times")
    parser.add_argument("--samples", type=int, default=20, help="with their mirror images")
    parser.add_argument("--runs", type=int, default=2, help="the first also warms caches up")
    add_arguments(parser)
    arguments = parser.parse_args()
    with np.load(arguments.problem) as problem:
        started = time.perf_counter()
        model = build_model(arguments)
        setup = time.perf_counter() - started
        check(model, problem)
    seconds, processor, without_elbo = [], [], []
    for _ in range(arguments.runs):
        started, used = time.perf_counter(), time.process_time()
        posterior = gpdust.fit(model, engine="mgvi", seed=arguments.seed, samples=arguments.samples, progress=False)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
        without_elbo.append(posterior.trace.seconds[-1])
    memory = peak_memory()
    maps = posterior.percentiles(PERCENTILES, samples=arguments.samples)
    record = {
        "setup_seconds": setup,
        "seconds": seconds,
        "processor_seconds": processor,
        "without_elbo": without_elbo,
        "latents": model.prior.latent_size,
        "steps": posterior.report.steps,
        "converged": posterior.report.converged,
        "memory": memory,
        "machine": machine(),
    }
    np.savez(arguments.result, density=maps.density.value, record=json.dumps(record))
    print("seconds:", *(f"{value:.1f}" for value in seconds))


if __name__ == "__main__":
    main()
