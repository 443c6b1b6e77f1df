"""What the preconditioner of mgvi is worth: python benchmarks/preconditioner.py [--cases clumps range].

Fits a case, then draws from the posterior with the preconditioner, which is built anew, and without it: the same
metric, the same standard normals, and as many iterations as it takes to be as near to the exact draws.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from cases import CASES
from common import in_own_process, machine, write_json

import gpdust
from gpdust.inference import NewtonOptions
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.conjugate_gradient import Solution, conjugate_gradient
from gpdust.inference.matrix_free import MatrixFreePrecision
from gpdust.inference.objective import Objective
from gpdust.inference.preconditioner import Preconditioning
from gpdust.inference.response import Response

DRAWS = 10
MOST = 3000  # iterations without it
LOOK = 20  # of them between looks at the error


def run(name: str, options: argparse.Namespace) -> dict:
    """Fit one case, and draw from its posterior both ways."""
    case = CASES[name].quick() if options.quick else CASES[name]
    problem = case.problem(options.seed, "spectral", 0)
    model = gpdust.DustModel(problem.catalogues, problem.grid, problem.prior)
    posterior = gpdust.fit(model, engine="mgvi", seed=options.seed, progress=False)
    objective = Objective(PriorOnCells(model, posterior.theta), Response(model))
    place = objective.place(posterior.mean, posterior.spread.draws)
    metric = objective.metric(place)
    generator = torch.Generator().manual_seed(options.seed)
    standard = torch.randn(DRAWS, model.prior.latent_size, dtype=torch.float64, generator=generator)
    cells = torch.randn(DRAWS, metric.shape.numel(), dtype=torch.float64, generator=generator)

    row = {"case": name, "cells": metric.shape.numel(), "latents": model.prior.latent_size}
    started = time.perf_counter()
    preconditioner = Preconditioning(model).at(objective, place)
    row |= {"rank": preconditioner.rank, "build_seconds": time.perf_counter() - started}
    precision = MatrixFreePrecision(objective.cells, metric, preconditioner)
    reference = precision.draws(standard, cells, 1e-5)
    scale = norm(precision, reference - standard)

    precision.iterations.clear()
    started = time.perf_counter()
    found = precision.draws(standard, cells, NewtonOptions().sample_tolerance)
    row["with_seconds"] = time.perf_counter() - started
    row["with_iterations"] = max(count for _, count in precision.iterations)
    row["error"] = norm(precision, found - reference) / scale

    def is_as_good(solution: Solution) -> bool:
        return solution.iterations % LOOK == 0 and norm(precision, solution.x - reference) <= row["error"] * scale

    right = standard + objective.cells.adjoint(metric.root(cells))
    started = time.perf_counter()
    solution = conjugate_gradient(precision.product, right, lambda r: r, 0.0, MOST, start=standard, watch=is_as_good)
    row["without_seconds"] = time.perf_counter() - started
    row["without_iterations"] = solution.iterations
    return row


def norm(precision: MatrixFreePrecision, latents: torch.Tensor) -> float:
    """In that of Λ, of all rows together."""
    return float((latents * precision.product(latents)).sum().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["clumps", "matern-given", "range"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="tiny problems: only to see that all of it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        machine(), f"{DRAWS} draws to a tolerance of {NewtonOptions().sample_tolerance}, seed {options.seed}", sep="\n"
    )
    print("case             cells   rank  build/s   with      s  without       s  error")
    rows = []
    for name in options.cases:
        row = in_own_process(run, name, options)
        rows.append(row)
        print(
            f"{name:<15} {row['cells']:>6}  {row['rank']:>5}  {row['build_seconds']:>7.2f}  "
            f"{row['with_iterations']:>5}  {row['with_seconds']:>5.2f}  "
            f"{row['without_iterations']:>7}  {row['without_seconds']:>6.1f}  {row['error']:.3f}",
            flush=True,
        )
    write_json(options.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
