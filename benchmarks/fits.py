"""One catalogue fitted in several ways: what distances.py and robustness.py share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from common import in_own_process, machine, peak_memory, write_json

import gpdust
from gpdust.fitting import ConvergenceWarning
from gpdust.scores import posterior_scores
from gpdust.simulate import GridTruth

HEADER = "  fit/s  steps   median      p90   clumps   68 %  clumps  extinction   GiB"


def fit_and_score(model: gpdust.DustModel, truth: GridTruth, seed: int, **options) -> tuple[gpdust.Posterior, dict]:
    """A fit, which may end before it has converged, and what a record of it holds.

    Parameters
    ----------
    model : DustModel
    truth : GridTruth
    seed : int
        Of the fit, and of the 100 draws that are scored.
    **options
        Of `gpdust.fit`.
    """
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        posterior = gpdust.fit(model, seed=seed, **options)
    found = {
        "fit_seconds": time.perf_counter() - started,
        "memory": peak_memory(),
        "steps": len(posterior.trace),
        "converged": posterior.report.converged,
        "report": str(posterior.report),
        "hyperparameters": posterior.hyperparameters,
        "scores": posterior_scores(posterior, truth, samples=100, seed=seed).as_dict(),
    }
    return posterior, found


def run_all(
    run: Callable[..., dict], jobs: Iterable[tuple], notes: Callable[[dict], list[str]], path: Path | None
) -> list[dict]:
    """Run every job in a process of its own, print a line of each, with notes below it, write and return them all.

    Parameters
    ----------
    run : function
        Arguments of a job to the record of its fit.
    jobs : iterable of tuple
    notes : function
        A record to lines.
    path : Path or None
        Where to write the records.
    """
    runs = []
    for job in jobs:
        runs.append(in_own_process(run, *job))
        print(line(runs[-1]), *(f"    {note}" for note in notes(runs[-1])), sep="\n", flush=True)
    write_json(path, {"machine": machine(), "runs": runs})
    return runs


def line(found: dict) -> str:
    """One line of the table."""
    s = found["scores"]
    return (
        f"{found['way']:15} {found['seed']:5d} {found['fit_seconds']:7.1f} {found['steps']:6d} "
        f"{s['error_median']:8.1%} {s['error_p90']:8.1%} {s['structure_error_median']:8.1%} "
        f"{s['density_coverage_68']:6.2f} {s['structure_coverage_68']:7.2f} {s['extinction_coverage_68']:11.2f} "
        f"{found['memory']:5.2f}" + ("" if found["converged"] else f"  {found['report']}")
    )
