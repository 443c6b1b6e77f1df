"""Speed of the star pass on one core: python benchmarks/star_pass.py [--stars 30000 300000].

Stars with distance errors of 10 % are summed over the cells of their rays: the log-likelihood alone, with its slope by
the extinction, and with the Fisher information of the marginal likelihood, at the true density. The best of several
passes is printed, and once more at ten times as many stars, since the pass must stay in proportion to them.
"""

from __future__ import annotations

import os

os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # one core, whatever there is

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from common import machine, write_json

import gpdust
from gpdust.simulate import ErrorModel, GridTruth, clump_density, mock_survey
from gpdust.simulate.clumps import CLUMP_REGION

ERRORS = ErrorModel(fraction=0.1, floor=0.02 * u.mag, distance_fraction=0.1)
NOISES = {
    "gaussian": gpdust.GaussianNoise(),
    "student-t": gpdust.StudentNoise(degrees_of_freedom=4.0),
    "mixture": gpdust.MixtureNoise(bad_share=0.05, bad_width=1.0),
}


def seconds(function: Callable[[], object], rounds: int) -> float:
    """The shortest of several calls, after one that compiles."""
    function()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, nargs="+", default=[30_000, 300_000])
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35], help="cells (l, b, distance)")
    parser.add_argument("--noise", choices=NOISES, nargs="+", default=list(NOISES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    grid, density = CLUMP_REGION.grid(tuple(options.shape)), clump_density(options.seed)
    extinction = torch.from_numpy(np.cumsum(GridTruth.sample(density, grid).density.value * grid.cell_lengths, -1))
    fine = GridTruth.sample(density, CLUMP_REGION.grid((100, 100, 115), b_spacing="uniform"))
    print(machine(), f"one core used, seed {options.seed}, {options.shape} cells, distance errors of 10 %", sep="\n")
    print("noise         stars  nodes a star  stars/s: value   + slope  + information", flush=True)
    rows = []
    for noise in options.noise:
        for count in options.stars:
            stars = mock_survey(fine, CLUMP_REGION, count, options.seed, errors=ERRORS).catalogue
            likelihood, _ = gpdust.StarTreatment(noise=NOISES[noise]).likelihood(stars, grid)
            passes = {
                "value": lambda x=likelihood: x.log_likelihood(extinction),
                "slope": lambda x=likelihood: x.log_likelihood_and_slope(extinction),
                "information": lambda x=likelihood: x.information(extinction),
            }
            speed = {name: len(likelihood) / seconds(function, options.rounds) for name, function in passes.items()}
            nodes = len(likelihood.nodes.cell) / len(likelihood)
            rows.append({"noise": noise, "stars": len(likelihood), "nodes": nodes, **speed})
            print(
                f"{noise:9} {len(likelihood):>9}  {nodes:>12.1f}  {speed['value']:>14.2e}  {speed['slope']:>8.2e}  "
                f"{speed['information']:>13.2e}",
                flush=True,
            )
    write_json(options.json, {"machine": machine(), "seed": options.seed, "rows": rows})


if __name__ == "__main__":
    main()
