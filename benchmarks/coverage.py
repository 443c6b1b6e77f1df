"""Do intervals hold what they say where the prior is right? python benchmarks/coverage.py [--truths 200].

Truths drawn from the prior of the fit, on 6 × 6 × 10 cells of the clumps' region, each seen by 2000 stars with 10 %
noise. The hyperparameters are given and all settings are the defaults. Printed is the share of cells whose truth lies
within the central 50, 68 and 95 % of the draws, by its rank among them, with the scatter from truth to truth. With
--stars 100 --amplitude 0.6 stars are few and the dust is wild: there a Gaussian is not the posterior, and --samples 20
shows what too few draws do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import astropy.units as u
import numpy as np
from common import machine, write_json

import gpdust
from gpdust.inference.sample_size import AUTO
from gpdust.prior import SampledVolume
from gpdust.scores import LEVELS, posterior_scores
from gpdust.simulate import mock_survey, prior_truth
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION

GRID = CLUMP_REGION.grid((6, 6, 10))
SETTINGS = {"length_scale": 60 * u.pc, "mean_density": BACKGROUND * u.mag / u.pc, "learn": False}
BOUND = 0.03


def inducing(amplitude: float) -> gpdust.InducingGP:
    """A point on every cell: nothing is left for the residual, and the model of the fit is how the truth was made."""
    return gpdust.InducingGP("matern32", inducing=GRID.cell_points() * u.pc, amplitude=amplitude, **SETTINGS)


def spectral(amplitude: float) -> gpdust.SpectralGP:
    """The same kernel on a box, placed once so that truth and fit share it."""
    prior = gpdust.SpectralGP("matern32", amplitude=amplitude, **SETTINGS)
    return prior.placed(SampledVolume(GRID, np.zeros(GRID.shape, dtype=np.int64)), 0)


CASES = {"natural": inducing, "mgvi": inducing, "mgvi, spectral": spectral}


def run(case: str, options: argparse.Namespace) -> dict:
    """Coverage of density and extinction over all truths."""
    found, started = [], time.perf_counter()
    for seed in range(options.seed, options.seed + options.truths):
        prior = CASES[case](options.amplitude)
        truth = prior_truth(prior, GRID, seed)
        stars = mock_survey(truth, CLUMP_REGION, options.stars, seed).catalogue
        model = gpdust.DustModel(stars, GRID, prior)
        engine = case.split(",")[0]
        posterior = gpdust.fit(model, engine=engine, seed=seed, progress=False, samples=options.samples)
        scores = posterior_scores(posterior, truth, samples=options.draws, seed=seed)
        found.append([[of[level] for level in LEVELS] for of in (scores.density_coverage, scores.extinction_coverage)])
    found = np.array(found)
    return {
        "case": case,
        "levels": list(LEVELS),
        "density": found[:, 0].mean(0).tolist(),
        "density_error": (found[:, 0].std(0) / np.sqrt(len(found))).tolist(),
        "extinction": found[:, 1].mean(0).tolist(),
        "extinction_error": (found[:, 1].std(0) / np.sqrt(len(found))).tolist(),
        "seconds_per_fit": (time.perf_counter() - started) / len(found),
    }


def line(row: dict) -> str:
    """One line of the table."""
    wrong = np.abs(np.array(row["density"]) - np.array(row["levels"]) / 100).max()
    verdict = f"within {BOUND}" if wrong <= BOUND else f"NOT within {BOUND}"
    cells = [
        ", ".join(f"{value:.3f} ± {error:.3f}" for value, error in zip(row[kind], row[f"{kind}_error"], strict=True))
        for kind in ("density", "extinction")
    ]
    return (
        f"{row['case']:16} density {cells[0]} ({verdict})  extinction {cells[1]}  {row['seconds_per_fit']:.2f} s a fit"
    )


def samples_or_auto(value: str) -> int | str:
    """A number of samples, or "auto"."""
    return value if value == AUTO else int(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truths", type=int, default=200)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--stars", type=int, default=2000)
    parser.add_argument("--amplitude", type=float, default=0.3, help="of the truths and of the fits' prior, dex")
    parser.add_argument("--samples", type=samples_or_auto, default=AUTO, help="that a fit looks at; see NewtonOptions")
    parser.add_argument("--draws", type=int, default=199, help="joint draws that a truth is ranked among")
    parser.add_argument("--seed", type=int, default=0, help="of the first truth")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    words = (
        f"{options.truths} truths of {options.amplitude:g} dex, {options.stars} stars each, samples "
        f"{options.samples}, {options.draws} draws; 50, 68, 95 %"
    )
    print(machine(), words, sep="\n", flush=True)
    rows = []
    for case in options.cases:
        rows.append(run(case, options))
        print(line(rows[-1]), flush=True)
    write_json(options.json, {"machine": machine(), "settings": words, "runs": rows})


if __name__ == "__main__":
    main()
