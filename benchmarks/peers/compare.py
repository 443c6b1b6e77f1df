"""gpdust's mgvi against NIFTy.re's on one problem: python benchmarks/peers/compare.py --nifty-python PATH [--large].

Both fit the same stars under the same prior on the same periodic box, one after the other, each in its own process and
environment. NIFTy.re is given gpdust's compressed stars. README.md says how to make its environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gpdust  # noqa: F401

import numpy as np  # isort: skip

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import machine, write_json  # noqa: E402

from gpdust.scores import STRUCTURE, coverage, relative_error  # noqa: E402

LARGE = ["100", "100", "115"]
MATCH = 0.02  # a NIFTy iteration counts as good as gpdust from where it is as far from the reference, and this, σ
DEMO = ["--pairs", "5", "5", "10", "10", "10", "10", "--kl-map", "vmap", "--no-static"]  # as in NIFTy's tomography demo
REFERENCE = ["--pairs", "1", "2", "10", "30", "30", "--delta", "2e-6", "--cg-steps", "2000", "--runs", "1"]
COLUMNS = {  # key: (heading, format)
    "seconds": ("seconds", ".1f"),
    "warm_seconds": ("compiled", ".1f"),
    "ratio": ("ratio", ".1f"),
    "warm_ratio": ("compiled", ".1f"),
    "error_median": ("median", ".2%"),
    "error_p90": ("p90", ".2%"),
    "structure_error_median": ("clumps", ".2%"),
    "density_coverage": ("68 %", ".3f"),
    "structure_coverage": ("68 % clumps", ".3f"),
    "distance": ("σ off", ".2f"),
    "width": ("width", ".2f"),
}


def score(density: np.ndarray, problem: dict[str, np.ndarray], reference: np.ndarray | None) -> dict[str, float]:
    """Figures of merit of percentile maps, shape (3, ray, cell).

    `distance` is the root mean square over cells of how far the median of log-density is from that of the reference, in
    its σ; `width` the median ratio of the intervals.
    """
    truth = problem["truth"]
    low, median, high = density
    error, dense = relative_error(median, truth), truth >= STRUCTURE.value
    scores = {
        "error_median": float(np.median(error)),
        "error_p90": float(np.percentile(error, 90)),
        "structure_error_median": float(np.median(error[dense])),
        "density_coverage": coverage(low, high, truth),
        "structure_coverage": coverage(low[dense], high[dense], truth[dense]),
    }
    if reference is not None:
        theirs = np.log10(reference)
        width = theirs[2] - theirs[0]
        off = (np.log10(median) - theirs[1]) / (width / 2)
        scores["distance"] = float(np.sqrt(np.mean(off**2)))
        scores["width"] = float(np.median(np.log10(high / low) / width))
    return scores


def execute(command: list[str]) -> None:
    """Run a program; stop if it fails."""
    print("…", " ".join(Path(word).name if "/" in word else word for word in command[1:]), file=sys.stderr, flush=True)
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(f"{Path(command[1]).name} failed; what it said stands above")


def read(path: Path) -> tuple[np.ndarray, dict]:
    """Maps and record of a result."""
    with np.load(path) as file:
        return file["density"], json.loads(str(file["record"]))


def nifty_rows(name: str, path: Path, problem: dict[str, np.ndarray], reference: np.ndarray | None) -> list[dict]:
    """One row for each iteration of NIFTy: a user might stop after any."""
    maps, record = read(path)
    cold, warm = record["seconds"][0], record["seconds"][-1] if len(record["seconds"]) > 1 else None
    return [
        {
            "name": f"{name}, iteration {number + 1}",
            "seconds": cold[number],
            "warm_seconds": warm and warm[number],
            "compile_seconds": record["compile_seconds"][0],
            "memory": record["memory"],
            **record["iterations"][number],
            **score(density, problem, reference),
        }
        for number, density in enumerate(maps)
    ]
