"""Stars as they are: python benchmarks/robustness.py [--cases outliers scatter foreground] [--seeds 0].

outliers: 5 % of the stars lie 20 σ off. The clumps of the suite, fitted with Gaussian, Student-t and mixture noise, and
without the bad stars; and how many of them are found (outlier probability above ½).
scatter: the catalogue states errors 1.5 times too small; fitted as stated, and with an added scatter that is learned.
The truth is drawn from the prior of the fit, so that with right errors 68 % intervals hold 68 %.
foreground: 0.5 mag of dust between the Sun and the region; fitted with and without foreground cells. The density of the
first tenth of the region has an error of its own, of which the mean over seeds shows what is bias.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from common import machine
from fits import HEADER, fit_and_score, run_all

import gpdust
from gpdust.prior import SampledVolume
from gpdust.simulate import GridTruth, MockSurvey, clump_density, mock_survey, prior_truth
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION

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


def the_prior(grid: gpdust.SphericalGrid | None = None) -> gpdust.SpectralGP:
    """That of all fits; on the box of a grid where truths are drawn from it."""
    prior = gpdust.SpectralGP("matern32", 60 * u.pc, 0.3, BACKGROUND * u.mag / u.pc, learn=False)
    return prior if grid is None else prior.placed(SampledVolume(grid, np.zeros(grid.shape, dtype=np.int64)), 0)


def problem(case: str, seed: int, options: argparse.Namespace) -> Problem:
    """The clumps' stars with the fault of a case."""
    count = options.stars
    if case == "scatter":
        grid = CLUMP_REGION.grid(tuple(options.shape))
        truth = prior_truth(the_prior(grid), grid, seed)
    else:
        grid = CLUMP_REGION.grid(tuple(options.truth_shape), b_spacing="uniform")
        truth = GridTruth.sample(clump_density(seed), grid)
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


def run(case: str, seed: int, way: str, options: argparse.Namespace) -> dict:
    """Fit one catalogue in one way, and score the map."""
    posed = problem(case, seed, options)
    stars = posed.catalogue[~posed.bad] if way.endswith("clean") else posed.catalogue
    region = replace(CLUMP_REGION, foreground_cells=4 if way == "with cells" else 0)
    grid = region.grid(tuple(options.shape))
    prior = the_prior(grid if case == "scatter" else None)
    model = gpdust.DustModel(stars, grid, prior, treatment=ways(case)[way])
    truth = posed.survey.truth
    posterior, found = fit_and_score(model, truth, seed, progress=False, max_steps=MOST_STEPS)
    found |= {"case": case, "way": way, "seed": seed, "noise": posterior.noise_table}
    found |= near_mass(posterior, truth)
    if case == "outliers" and posterior.treatment.noise != gpdust.GaussianNoise():
        found |= outliers_found(model, posterior, posed.bad)
    return found


def near_mass(posterior: gpdust.Posterior, truth: GridTruth) -> dict:
    """Mean density of the first tenth of the region, over the true one and less one, and its own standard error."""
    density, _ = posterior.sample(truth.grid, count=100)
    near = max(1, truth.grid.n_cells // 10)
    ratio = density[..., :near].sum((-1, -2)) / truth.density[:, :near].sum()
    return {"near_bias": float(ratio.mean()) - 1, "near_error": float(ratio.std())}


def outliers_found(model: gpdust.DustModel, posterior: gpdust.Posterior, bad: np.ndarray) -> dict:
    """Share of the bad stars that are found, and of the good ones that are not good enough."""
    likelihood = model.with_noise(posterior.treatment.noise).likelihood
    stars = likelihood.star_results(torch.from_numpy(posterior.sample(count=20)[1].value))
    flagged = stars.outlier > 0.5
    true = bad[stars.number]
    return {"found": float(flagged[true].mean()), "false": float(flagged[~true].mean())}


def notes(found: dict) -> list[str]:
    """What scores of the map don't tell."""
    lines = [f"{found['case']}; first tenth of the region {found['near_bias']:+.1%} ± {found['near_error']:.1%}"]
    if "found" in found:
        lines.append(f"{found['found']:.1%} of the bad stars found, {found['false']:.2%} of the good ones flagged")
    return lines + found["noise"].splitlines()


def bias_over_seeds(runs: list[dict]) -> list[str]:
    """Of the first tenth of the region in each case and way: mean over seeds, and its error from their scatter."""
    groups: dict[str, list[float]] = {}
    for found in runs:
        groups.setdefault(f"{found['case']}, {found['way']}", []).append(found["near_bias"])
    return [
        f"first tenth, {name}: {np.mean(of):+.1%} ± {np.std(of, ddof=1) / np.sqrt(len(of)):.1%} over {len(of)} seeds"
        for name, of in groups.items()
        if len(of) > 1
    ]


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--ways", nargs="+", choices=sorted({way for case in CASES for way in ways(case)}))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--stars", type=int, default=60_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35], help="cells of the fit (l, b, distance)")
    parser.add_argument("--truth-shape", type=int, nargs=3, default=[50, 50, 70], help="cells of the truth")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(machine())
    print(f"{options.stars} stars, {options.shape} cells, spectral Matérn-3/2, of 60 pc and 0.3 dex")
    print(f"{'treatment':15}  seed {HEADER}", flush=True)
    jobs = [
        (case, seed, way, options)
        for case in options.cases
        for seed in options.seeds
        for way in ways(case)
        if not options.ways or way in options.ways
    ]
    for line in bias_over_seeds(run_all(run, jobs, notes, options.json)):
        print(line)


if __name__ == "__main__":
    main()
