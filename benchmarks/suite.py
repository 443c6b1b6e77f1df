"""The benchmark suite: python benchmarks/suite.py [--cases clumps sheets] [--seeds 0 1 2] [--engine mgvi].

Fits every case of `cases.py` with every seed, each in a process of its own, scores the posterior by joint draws against
truth and held-out stars (`gpdust.scores`), and writes all numbers as JSON and their means as the tables that the
documentation shows.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

from cases import CASES, PRIORS, Case
from common import Timed, in_own_process, machine, peak_memory, write_json
from tables import calibration, line, report

import gpdust
from gpdust.fitting import ConvergenceWarning
from gpdust.scores import PosteriorScores, posterior_scores

RESULTS = Path(__file__).parent / "results" / "suite.json"
SETTINGS = ("case", "seed", "engine", "prior", "quick")  # what tells one run from another


def run(name: str, seed: int, engine: str, kind: str, quick: bool, inducing: int, options: dict) -> dict:
    """Fit and score one case with one seed."""
    case: Case = CASES[name].quick() if quick else CASES[name]
    problem = case.problem(seed, kind, inducing)
    catalogues, started = Timed(problem.catalogues), time.perf_counter()
    model = gpdust.DustModel(catalogues, problem.grid, problem.prior, treatment=case.treatment)
    read = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the report says it too
        posterior = gpdust.fit(model, engine=engine, seed=seed, progress=False, **options)
    fitted, memory = time.perf_counter(), peak_memory()
    scores: PosteriorScores = posterior_scores(
        posterior,
        problem.truth,
        structure=case.structure * gpdust.units.DENSITY,
        held_out=problem.held_out,
        samples=case.draws,
        seed=seed,
    )
    return {
        **dict(zip(SETTINGS, (name, seed, engine, kind, quick), strict=True)),
        "version": gpdust.__version__,
        "options": options,
        "chosen_engine": posterior.meta["engine"],
        "prior_words": str(model.prior),
        "given": case.given,
        "stars": model.stars_used.used,
        "fit_cells": model.grid.n_rays * model.grid.n_cells,
        "star_seconds": read - started - catalogues.seconds,
        "fit_seconds": fitted - read,
        "score_seconds": time.perf_counter() - fitted,
        "memory": memory,
        "score_memory": peak_memory(),
        "converged": posterior.report.converged,
        "steps": posterior.report.steps,
        "hyperparameters": posterior.hyperparameters,
        **scores.as_dict(),
    }


def kept(path: Path, planned: list[tuple]) -> list[dict]:
    """Runs of an older file that will not be made again."""
    if not path.exists():
        return []
    runs = json.loads(path.read_text())["runs"]
    return [run for run in runs if tuple(run[key] for key in SETTINGS) not in planned and run["case"] in CASES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--engine", default="auto", help="see gpdust.fit")
    parser.add_argument("--prior", choices=PRIORS, default="spectral")
    parser.add_argument("--inducing", type=int, default=500, help="points of the prior 'inducing'")
    parser.add_argument("--samples", type=int, help="draws of natural and mgvi; their default if not given")
    parser.add_argument("--quick", action="store_true", help="tiny problems: only to see that all of it runs")
    parser.add_argument("--keep", action="store_true", help="keep the runs in the file that are not made again")
    parser.add_argument("--json", type=Path, default=RESULTS, help="all numbers; the tables are written next to it")
    arguments = parser.parse_args()
    settings = arguments.engine, arguments.prior, arguments.quick
    options = {"samples": arguments.samples} if arguments.samples else {}
    planned = [(name, seed, *settings) for name in arguments.cases for seed in arguments.seeds]
    runs = kept(arguments.json, planned) if arguments.keep else []
    print(machine(), f"engine {arguments.engine}, {arguments.prior} prior", sep="\n", flush=True)
    for plan in planned:
        try:
            done = in_own_process(run, *plan, arguments.inducing, options)
        except Exception as failure:  # whatever it is, it is a result, and the other cases go on
            done = dict(zip(SETTINGS, plan, strict=True)) | {"failed": f"{type(failure).__name__}: {failure}"}
        runs.append(done)
        print(line(done), flush=True)
        runs.sort(key=lambda done: (list(CASES).index(done["case"]), done["seed"]))
        write_json(arguments.json, {"machine": machine(), "calibration": calibration(runs), "runs": runs})
        arguments.json.with_suffix(".md").write_text(report(runs, machine()))
    print(report(runs, machine()))


if __name__ == "__main__":
    main()
