"""Stars as they are: python benchmarks/robustness.py [--cases outliers scatter foreground] [--seeds 0].

outliers: 5 % of the stars lie 20 σ off. The clumps of the suite, fitted with Gaussian, Student-t and mixture noise, and
without the bad stars; and how many of them are found (outlier probability above ½).
scatter: the catalogue states errors 1.5 times too small; fitted as stated, and with an added scatter that is learned.
The truth is drawn from the prior of the fit, so that with right errors 68 % intervals hold 68 %.
foreground: 0.5 mag of dust between the Sun and the region; fitted with and without foreground cells.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from common import in_own_process, machine, write_json

import gpdust
from gpdust.fitting import ConvergenceWarning
from gpdust.prior import SampledVolume
from gpdust.scores import posterior_scores
from gpdust.simulate import GridTruth, MockSurvey, clump_density, mock_survey, prior_truth
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION

TRUTH_SHAPE, SHAPE = (50, 50, 70), (20, 20, 35)
BAD_SHARE, BAD_PULL = 0.05, 20.0
UNDERSTATED = 1.5
FOREGROUND = 0.5  # mag
MOST_STEPS = 60  # Gaussian noise makes a bad start of outliers, and would go on for long
CASES = ("outliers", "scatter", "foreground")


@dataclass(frozen=True)
class Problem:
    """A catalogue with a fault, and what is true of it."""

    survey: MockSurvey
    catalogue: gpdust.StarCatalogue
    bad: np.ndarray


def with_extinction(stars: gpdust.StarCatalogue, extinction: np.ndarray, error: np.ndarray) -> gpdust.StarCatalogue:
    """The same stars with other extinctions and errors, mag."""
    return gpdust.StarCatalogue(
        l=stars.l, b=stars.b, distance=stars.distance, extinction=extinction * u.mag, extinction_error=error * u.mag
    )


def the_prior(placed: bool) -> gpdust.SpectralGP:
    """That of all fits; on one box where truths are drawn from it."""
    prior = gpdust.SpectralGP("matern32", 60 * u.pc, 0.3, BACKGROUND * u.mag / u.pc, learn=False)
    grid = CLUMP_REGION.grid(SHAPE)
    return prior if not placed else prior.placed(SampledVolume(grid, np.zeros(grid.shape, dtype=np.int64)), 0)


def problem(case: str, seed: int, count: int) -> Problem:
    """The clumps' stars with the fault of a case."""
    if case == "scatter":
        truth = prior_truth(the_prior(placed=True), CLUMP_REGION.grid(SHAPE), seed)
    else:
        truth = GridTruth.sample(clump_density(seed), CLUMP_REGION.grid(TRUTH_SHAPE, b_spacing="uniform"))
    errors = gpdust.simulate.ErrorModel(fraction=0.1, floor=0.02 * u.mag)
    survey = mock_survey(truth, CLUMP_REGION, count, seed, errors=errors)
    measured, error = survey.catalogue.extinction.value, survey.catalogue.extinction_error.value
    rng, bad = np.random.default_rng(seed), np.zeros(count, dtype=bool)
    if case == "outliers":
        bad = rng.random(count) < BAD_SHARE
        measured = measured + np.where(bad, BAD_PULL * error * rng.choice([-1, 1], count), 0)
    if case == "scatter":
        error = error / UNDERSTATED
    if case == "foreground":
        measured = measured + FOREGROUND
        error = np.maximum(error, 0.1 * (survey.true_extinction.value + FOREGROUND))
        measured += np.sqrt(error**2 - survey.catalogue.extinction_error.value**2) * rng.standard_normal(count)
    return Problem(survey, with_extinction(survey.catalogue, measured, error), bad)


def ways(case: str) -> dict[str, gpdust.StarTreatment]:
    """The treatments that are compared."""
    if case == "outliers":
        return {
            "gaussian, clean": gpdust.StarTreatment(),
            "gaussian": gpdust.StarTreatment(),
            "student-t": gpdust.StarTreatment(noise=gpdust.StudentNoise(), learn=("degrees_of_freedom",)),
            "mixture": gpdust.StarTreatment(noise=gpdust.MixtureNoise(), learn=("bad_share",)),
        }
    if case == "scatter":
        learned = gpdust.GaussianNoise(proportional=0.05)
        return {
            "as stated": gpdust.StarTreatment(),
            "learned": gpdust.StarTreatment(noise=learned, learn=("proportional",)),
        }
    return {"without cells": gpdust.StarTreatment(), "with cells": gpdust.StarTreatment()}


def run(case: str, way: str, seed: int, count: int) -> dict:
    """Fit one catalogue in one way, and score the map."""
    posed = problem(case, seed, count)
    stars = posed.catalogue[~posed.bad] if way.endswith("clean") else posed.catalogue
    region = gpdust.Region(
        CLUMP_REGION.l, CLUMP_REGION.b, CLUMP_REGION.distance, foreground_cells=4 if way == "with cells" else 0
    )
    prior = the_prior(placed=case == "scatter")
    started = time.perf_counter()
    model = gpdust.DustModel(stars, region.grid(SHAPE), prior, treatment=ways(case)[way])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        posterior = gpdust.fit(model, seed=seed, progress=False, max_steps=MOST_STEPS)
    seconds = time.perf_counter() - started
    truth = posed.survey.truth
    found = {
        "case": case,
        "way": way,
        "seed": seed,
        "seconds": seconds,
        "report": str(posterior.report),
        "noise": posterior.noise_table,
        "scores": posterior_scores(posterior, truth, seed=seed).as_dict(),
        "near_bias": near_bias(posterior, truth),
    }
    if case == "outliers" and posterior.treatment.noise != gpdust.GaussianNoise():
        found |= outliers_found(model, posterior, posed.bad)
    return found


def near_bias(posterior: gpdust.Posterior, truth: GridTruth) -> float:
    """Relative bias of the mass in the first tenth of the region: of the median density, over all its cells."""
    density = posterior.percentiles((50,), truth.grid, samples=50).density[0]
    near = truth.grid.n_cells // 10
    return float(density[:, :near].sum() / truth.density[:, :near].sum() - 1)


def outliers_found(model: gpdust.DustModel, posterior: gpdust.Posterior, bad: np.ndarray) -> dict:
    """Share of the bad stars that are found, and of the good ones that are not good enough."""
    likelihood = model.with_noise(posterior.treatment.noise).likelihood
    stars = likelihood.star_results(torch.from_numpy(posterior.sample(count=20)[1].value))
    flagged = stars.outlier > 0.5
    true = bad[stars.number]
    return {"found": float(flagged[true].mean()), "false": float(flagged[~true].mean())}


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--stars", type=int, default=60_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(machine())
    print(f"{options.stars} stars, {list(SHAPE)} cells, spectral Matérn-3/2, of 60 pc and 0.3 dex", flush=True)
    print("case        way              seed    s   median  clumps   68 %  clumps  extinct.  near bias   found   false")
    runs = []
    for case in options.cases:
        for seed in options.seeds:
            for way in ways(case):
                found = in_own_process(run, case, way, seed, options.stars)
                runs.append(found)
                s = found["scores"]
                print(
                    f"{case:11} {way:15} {seed:5d} {found['seconds']:5.0f} {s['error_median']:7.1%} "
                    f"{s['structure_error_median']:7.1%} {s['density_coverage_68']:6.2f} "
                    f"{s['structure_coverage_68']:7.2f} {s['extinction_coverage_68']:8.2f} {found['near_bias']:10.1%} "
                    + (f"{found['found']:7.1%} {found['false']:7.2%}" if "found" in found else ""),
                    flush=True,
                )
                for line in found["noise"].splitlines():
                    print("    " + line)
    if options.json:
        write_json(options.json, {"machine": machine(), "runs": runs})


if __name__ == "__main__":
    main()
