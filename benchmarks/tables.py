"""Runs of the suite as tables: means over seeds, in Markdown."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cases import CASES

from gpdust.scores import LEVELS

TOLERANCE = 0.03  # of coverage, where the truth is drawn from the prior of the fit
NOTE = """\
Errors are relative, of the median map, over all cells of the truth and over those of dense structure. Extinction is
compared at the outer edges of the cells, in mag. Time is that of the fit on the machine named below, without reading
the stars; memory is the peak of the process until the fit ends, with the making of its stars."""
CALIBRATION_NOTE = """\
Intervals of 50, 68 and 95 % should hold 0.50, 0.68 and 0.95 of all truths. Cells of dense structure are picked by their
truth, so that even a perfect posterior holds fewer of them: they are denser than it expects. CRPS is the mean over
cells, of log₁₀ density and of extinction. The last column is the mean over held-out stars of the logarithm of their
predictive density (per mag): larger is better, and only rows of the same stars compare."""


def report(runs: list[dict], machine: str) -> str:
    """The Markdown of all runs."""
    groups: dict[tuple, list[dict]] = {}
    failed = [run for run in runs if "failed" in run]
    runs = [run for run in runs if "failed" not in run]
    for run in runs:
        groups.setdefault((run["case"], run["engine"], run["prior"], run["quick"]), []).append(run)
    settings = {key[1:] for key in groups}
    words = [
        f"engine {engine}, {prior} prior{' (tiny problems: the numbers mean nothing)' if quick else ''}"
        for engine, prior, quick in sorted(settings)
    ]
    named = [
        (CASES[key[0]].title + (f" ({key[1]}, {key[2]})" if len(settings) > 1 else ""), group)
        for key, group in groups.items()
    ]
    parts = [
        "## The suite",
        f"`python benchmarks/suite.py` makes and writes all of this. Means over {_counted(groups.values())}; "
        f"{'; '.join(words)}.",
        NOTE,
        _table(COSTS, named),
        CALIBRATION_NOTE,
        _table(CALIBRATION, named),
        _verdict(calibration(runs)),
        _failures(failed),
        f"{machine}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def line(run: dict) -> str:
    """One run in a line, for those who wait."""
    if "failed" in run:
        return f"{run['case']:16} seed {run['seed']}: FAILED, {run['failed']}"
    dense = run["structure_error_median"]
    return (
        f"{run['case']:16} seed {run['seed']}: fit {run['fit_seconds']:.1f} s, {run['memory']:.2f} GiB, "
        f"error {run['error_median']:.1%}, in structure {'–' if dense is None else f'{dense:.1%}'}, "
        f"68 % holds {run['density_coverage_68']:.2f}, ln p {run['held_out_log_density']:+.3f}"
        + ("" if run["converged"] else "  NOT converged")
    )


def calibration(runs: list[dict]) -> dict[str, float]:
    """Largest difference of coverage from its level, by case, where the truth is drawn from the prior of the fit."""
    worst = {}
    for name in dict.fromkeys(run["case"] for run in runs if run.get("given")):
        group = [run for run in runs if run["case"] == name and "failed" not in run]
        means = [np.mean([run[f"density_coverage_{level}"] for run in group]) - level / 100 for level in LEVELS]
        worst[name] = float(max(map(abs, means)))
    return worst


def _verdict(worst: dict[str, float]) -> str:
    found = [
        f"{CASES[name].title}: {value:.3f} ({'within' if value <= TOLERANCE else 'NOT within'} {TOLERANCE})"
        for name, value in worst.items()
    ]
    return f"Largest difference of density's coverage from its level: {'; '.join(found)}." if found else ""


def _failures(failed: list[dict]) -> str:
    found = [f"{CASES[run['case']].title}, seed {run['seed']} ({run['failed'].splitlines()[0]})" for run in failed]
    return f"These could not be fitted: {'; '.join(found)}." if found else ""


def _counted(groups: list[list[dict]]) -> str:
    counts = sorted({len(group) for group in groups}) or [0]
    return f"{' or '.join(map(str, counts))} seed{'s' if counts[-1] > 1 else ''}"


def _table(columns: dict[str, Callable[[dict], str]], named: list[tuple[str, list[dict]]]) -> str:
    rows = [["case", *columns], ["---"] * (len(columns) + 1)]
    rows += [[title, *(cell(_mean(group)) for cell in columns.values())] for title, group in named]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _mean(group: list[dict]) -> dict:
    """Mean of every number over seeds; None where one has none."""
    numbers = [key for key, value in group[0].items() if isinstance(value, int | float | None)]
    mean = {
        key: None if any(run[key] is None for run in group) else float(np.mean([run[key] for run in group]))
        for key in numbers
    }
    return mean | {"converged": all(run["converged"] for run in group)}


def _number(key: str, form: str) -> Callable[[dict], str]:
    """A cell with one number."""
    return lambda row: "–" if row[key] is None else format(row[key], form).replace("%", " %").replace("-", "−")


def _pair(prefix: str) -> Callable[[dict], str]:
    """A cell with median and 90th percentile of an error."""
    median, p90 = _number(f"{prefix}_median", ".1%"), _number(f"{prefix}_p90", ".1%")
    return lambda row: f"{median(row)}, {p90(row)}"


def _coverage(prefix: str) -> Callable[[dict], str]:
    """A cell with the coverage of all levels."""
    cells = [_number(f"{prefix}_coverage_{level}", ".2f") for level in LEVELS]
    return lambda row: ", ".join(cell(row) for cell in cells)


def _thousands(key: str) -> Callable[[dict], str]:
    return lambda row: f"{row[key]:,.0f}".replace(",", " ")


COSTS = {
    "stars": _thousands("stars"),
    "cells": _thousands("fit_cells"),
    "fit": lambda row: f"{row['fit_seconds']:.3g} s" + ("" if row["converged"] else " (not converged)"),
    "memory": lambda row: f"{row['memory']:.2f} GiB",
    "error: median, 90 %": _pair("error"),
    "in structure": _pair("structure_error"),
    "extinction bias": _number("extinction_bias", "+.4f"),
    "scatter": _number("extinction_scatter", ".4f"),
}
CALIBRATION = {
    "density: 50, 68, 95 %": _coverage("density"),
    "in structure": _coverage("structure"),
    "extinction": _coverage("extinction"),
    "CRPS, dex": _number("log_density_crps", ".4f"),
    "CRPS, mag": _number("extinction_crps", ".4f"),
    "held-out stars": _number("held_out_log_density", "+.3f"),
}
