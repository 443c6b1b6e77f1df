"""What becomes of distance errors: python benchmarks/distances.py [--seeds 0 1 2] [--shape 30 30 90].

The clumps of the suite, seen by stars with 10 % distance errors and σ_A = max(0.1 A, 0.02 mag). The same catalogue is
fitted with its distance errors ignored, turned into errors of the extinction, and summed over. Printed are the scores
of the map, and how far stars are from their true distances before and after. All stars lie in the region, and none is
left out where distances are summed over; the other ways leave out those that were measured outside. Hyperparameters are
given: with wrong distances there are none to be learned, and a fit that tries takes very long (--learn).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from common import machine
from fits import HEADER, fit_and_score, run_all

import gpdust
from gpdust.likelihood import NodeOptions
from gpdust.likelihood.treatment import DISTANCES
from gpdust.simulate import ErrorModel, GridTruth, clump_density, mock_survey
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION

ERRORS = ErrorModel(fraction=0.1, floor=0.02 * u.mag, distance_fraction=0.1)


def run(treatment: str, seed: int, options: argparse.Namespace) -> dict:
    """Fit one catalogue in one way, and score the map."""
    truth = GridTruth.sample(clump_density(seed), CLUMP_REGION.grid(tuple(options.truth_shape), b_spacing="uniform"))
    survey = mock_survey(truth, CLUMP_REGION, options.stars, seed, errors=ERRORS)
    prior = gpdust.SpectralGP(
        "matern32",
        options.length_scale * u.pc,
        options.amplitude,
        BACKGROUND * u.mag / u.pc,
        learn=options.learn,
    )
    started = time.perf_counter()
    model = gpdust.DustModel(
        survey.catalogue,
        CLUMP_REGION.grid(tuple(options.shape)),
        prior,
        treatment=gpdust.StarTreatment(distance=treatment, nodes=NodeOptions(least_share=0.0)),
    )
    read = time.perf_counter() - started
    posterior, found = fit_and_score(model, truth, seed, progress=options.progress)
    found |= {"way": treatment, "seed": seed, "star_seconds": read, "stars": model.stars_used.used}
    if treatment == "marginal":
        found |= star_distances(model, posterior, survey)
    return found


def star_distances(model: gpdust.DustModel, posterior: gpdust.Posterior, survey: gpdust.simulate.MockSurvey) -> dict:
    """Root mean square error of stars' distances before and after, pc, and how many lie within their 68 % interval."""
    _, extinction = posterior.sample(count=20)
    stars = model.likelihood.star_results(torch.from_numpy(extinction.value))
    true = survey.true_distance.value[stars.number]
    measured = survey.catalogue.distance.value[stars.number]
    return {
        "distance_before": float(np.sqrt(np.mean((measured - true) ** 2))),
        "distance_after": float(np.sqrt(np.mean((stars.distance_mean - true) ** 2))),
        "distance_coverage": float(np.mean((stars.distance[:, 0] < true) & (true < stars.distance[:, 2]))),
    }


def notes(found: dict) -> list[str]:
    """What became of the stars' own distances."""
    if "distance_after" not in found:
        return []
    before, after, held = (found[f"distance_{name}"] for name in ("before", "after", "coverage"))
    return [f"stars {before:.1f} pc off before, {after:.1f} pc after (rms); 68 % intervals hold {held:.2f}"]


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--treatments", nargs="+", choices=DISTANCES, default=list(DISTANCES[::-1]))
    parser.add_argument("--stars", type=int, default=120_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[30, 30, 90], help="cells of the fit (l, b, distance)")
    parser.add_argument("--truth-shape", type=int, nargs=3, default=[100, 100, 115], help="cells of the truth")
    parser.add_argument("--length-scale", type=float, default=60.0, help="of the Matérn-3/2, pc")
    parser.add_argument("--amplitude", type=float, default=0.2, help="dex")
    parser.add_argument("--learn", action="store_true", help="learn them from there")
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(machine())
    print(f"{options.stars} stars, 10 % distance errors, {options.shape} cells, Matérn-3/2")
    print(f"{'treatment':15}  seed {HEADER}", flush=True)
    jobs = [(treatment, seed, options) for seed in options.seeds for treatment in options.treatments]
    run_all(run, jobs, notes, options.json)


if __name__ == "__main__":
    main()
