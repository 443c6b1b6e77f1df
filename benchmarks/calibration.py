"""Simulation-based calibration of natural and mgvi: python benchmarks/calibration.py [--runs 200] [--learn] [--quick].

Each run draws a truth from the prior of the fit, a point of which lies on every one of 4 × 4 × 8 cells of the clumps'
region, observes 300 stars in it, fits them, and ranks numbers of the truth among independent joint draws (Talts et al.
2018). Everything is drawn as the model has it. Stars are uniform in space, which is the default prior of distances. The
errors that a catalogue states must not tell of the truth: σ_A is a share of the extinction that the *mean* density puts
at the *measured* distance, and σ_d is the same for all stars; in the errors of `mock_survey` true values can be read.

Thirty more stars of each truth are held out. For one of them the predictive probability of a lower measurement (the
probability integral transform), cut into as many steps as there are ranks, is one more rank. Stars of a run share the
errors of its map: of all of them only the coverage is printed, with its scatter from run to run.

In the linear case the density varies by 0.001 dex, so that extinction is linear in v and both engines should be exact;
σ_A is then about what extinction varies by, and σ_d moves it by as much. The engine "chain" draws from the exact
posterior, slowly: where it is calibrated and an engine is not, the test and the simulation are right.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.coordinates import SkyCoord
from calibration_chain import chain_draws
from calibration_report import KINDS, draw_figure, summary, table
from common import machine, write_json

import gpdust
from gpdust.checks.noise_tails import log_tails
from gpdust.checks.predictive_pass import BELOW, predictive_pass
from gpdust.errors import InferenceError
from gpdust.fitting import ConvergenceWarning
from gpdust.los import extinction_at, locate_stars
from gpdust.scores import LEVELS, rank_coverage, truth_ranks
from gpdust.simulate import ErrorModel, GridTruth
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION
from gpdust.simulate.positions import uniform_positions
from gpdust.units import DENSITY, MAGNITUDE, PARSEC

ENGINES, DISTANCES = ("natural", "mgvi"), ("exact", "uncertain")
CHAIN = "chain"  # the exact posterior, for comparison
GRID = CLUMP_REGION.grid((4, 4, 8))
NEAR = GRID.edges[0]  # pc; the mean density puts BACKGROUND · (d − NEAR) in front of a star
MIDDLE = 0.5 * (GRID.edges[0] + GRID.edges[-1])
STREAM, HELD_OUT_STREAM = 2018, 1984  # beside the seed of a run, so that no random number here is one of a fit
HELD_OUT = 30  # stars of each run
CELLS = {"near": (5, 0), "middle": (5, 3), "far": (5, 7), "far corner": (0, 6)}  # rays and cells
POINTS = {"near": (65, 2, 240), "middle": (76, -3, 345), "far": (53, -8, 490)}  # l, b in deg, d in pc


@dataclass(frozen=True)
class Case:
    """A prior, and how well stars are measured.

    Attributes
    ----------
    amplitude : float
        Of the Matérn-3/2 of 60 pc, dex.
    errors : ErrorModel
        σ_A from the extinction of the mean density.
    distance_error : float
        Where distances are uncertain, pc.
    learn : tuple of str
        Hyperparameters that are drawn and learned with --learn.
    """

    amplitude: float
    errors: ErrorModel
    distance_error: float
    learn: tuple[str, ...]

    def prior(self, learn: bool) -> gpdust.InducingGP:
        """A point on every cell: there is no residual, and the model of the fit is how the truth was made."""
        return gpdust.InducingGP(
            "matern32",
            inducing=GRID.cell_points() * PARSEC,
            length_scale=60 * u.pc,
            amplitude=self.amplitude,
            mean_density=BACKGROUND * DENSITY,
            learn=self.learn if learn else False,
        )


# Half way through the region, were all density to vary as one; a mean that is learned to 0.5 dex would not be linear.
TINY = 1e-3
TINY_PC = math.log(10) * TINY * (MIDDLE - NEAR)
CASES = {
    "linear": Case(TINY, ErrorModel(0.0, BACKGROUND * TINY_PC * MAGNITUDE), TINY_PC, ("length_scale", "amplitude")),
    "lognormal": Case(
        0.3, ErrorModel(0.1, 0.02 * MAGNITUDE), 0.1 * MIDDLE, ("length_scale", "amplitude", "mean_log_density")
    ),
}


def draw_truth(prior: gpdust.InducingGP, random: np.random.Generator) -> tuple[GridTruth, np.ndarray]:
    """A density and its standardised hyperparameters, drawn from the prior."""
    theta = random.standard_normal(prior.theta_size)
    latent = torch.from_numpy(random.standard_normal(prior.latent_size))
    with torch.no_grad():
        linear_map = prior.at(torch.from_numpy(GRID.cell_points()).reshape(-1, 3), torch.from_numpy(theta))
        density = 10 ** linear_map.log_density(latent).numpy()
    return GridTruth(GRID, density.reshape(GRID.shape) * DENSITY), theta


def observe(
    truth: GridTruth, case: Case, uncertain: bool, stars: int, random: np.random.Generator
) -> gpdust.StarCatalogue:
    """Stars uniform in space, with errors of which none depends on the truth."""
    l, b, distance = uniform_positions(CLUMP_REGION, stars, random)
    places = SkyCoord(l=l * u.deg, b=b * u.deg, distance=distance * u.pc, frame="galactic")
    extinction = truth.extinction_at(places).value
    measured = distance + uncertain * case.distance_error * random.standard_normal(stars)
    error = case.errors.extinction_error(BACKGROUND * np.maximum(measured - NEAR, 0))
    return gpdust.StarCatalogue(
        l=l * u.deg,
        b=b * u.deg,
        distance=measured * PARSEC,
        distance_error=np.full(stars, case.distance_error) * PARSEC if uncertain else None,
        extinction=(extinction + error * random.standard_normal(stars)) * MAGNITUDE,
        extinction_error=error * MAGNITUDE,
    )


def quantities(model: gpdust.DustModel, density: np.ndarray, extinction: np.ndarray) -> dict[str, np.ndarray]:
    """What is ranked, shape (draws,) each, from density and extinction, shape (draws, ray, cell)."""
    found = {f"density, {name}": density[:, ray, cell] for name, (ray, cell) in CELLS.items()}
    places = locate_stars(GRID, *np.array(list(POINTS.values()), dtype=float).T)
    at_points = extinction_at(torch.from_numpy(extinction), places).numpy()
    found |= {f"extinction, {name}": at_points[:, place] for place, name in enumerate(POINTS)}
    found["mass"] = (density * GRID.cell_volumes).sum((1, 2))
    found["log-likelihood"] = model.likelihood.log_likelihood(torch.from_numpy(extinction)).numpy()
    return found


def held_out_ranks(treatment: gpdust.StarTreatment, stars: gpdust.StarCatalogue, extinction: np.ndarray) -> np.ndarray:
    """Ranks of stars that the fit has not seen: their probability integral transforms, in as many steps as ranks.

    Parameters
    ----------
    treatment : StarTreatment
    stars : StarCatalogue
        Those that lie too far off the grid have no rank.
    extinction : ndarray, shape (draws, ray, cell)

    Returns
    -------
    ndarray of int
        In the order of the catalogue.
    """
    likelihood = treatment.star_by_star(stars, GRID)
    noise, draws = treatment.noise, np.ascontiguousarray(extinction)
    rows, _ = predictive_pass(likelihood.arrays, noise.numbers(), log_tails(noise), draws)
    below = rows[np.argsort(likelihood.stars.number), BELOW]
    return np.clip(below * (len(extinction) + 1), 0, len(extinction)).astype(int)


def fit_and_draw(
    model: gpdust.DustModel, engine: str, seed: int, options: argparse.Namespace, random: np.random.Generator
) -> tuple[gpdust.Posterior, np.ndarray, np.ndarray] | None:
    """Posterior, and independent draws of density and extinction; None where a fit that learns θ has not found it."""
    kept = {"samples": options.samples or 2 * options.draws} if engine == "mgvi" else {}
    try:
        fitted_by = "natural" if engine == CHAIN else engine
        posterior = gpdust.fit(model, engine=fitted_by, seed=seed, progress=False, **kept)
    except InferenceError:
        return None
    if model.prior.theta_size and not posterior.report.converged:
        return None
    if engine == CHAIN:
        density, extinction = chain_draws(model, posterior, options.draws, random)
    else:  # mgvi's draws are mirrored: of m ± δ only one is independent of the others, and is ranked among
        density, extinction = (both.value[::2] for both in posterior.sample(count=2 * options.draws, seed=seed))
    return posterior, density, extinction


def run(case: Case, engine: str, uncertain: bool, seed: int, options: argparse.Namespace) -> dict | None:
    """Ranks of one truth, and the coverage of cells and stars; None where a fit that learns θ has not found it.

    Whether it does is decided by the data, so that the ranks of the others stay uniform.
    """
    random = np.random.default_rng([STREAM, seed])
    prior = case.prior(options.learn)
    truth, theta = draw_truth(prior, random)
    stars = observe(truth, case, uncertain, options.stars, random)
    treatment = gpdust.StarTreatment(nodes=gpdust.likelihood.NodeOptions(parts=options.parts))
    model = gpdust.DustModel(stars, GRID, prior, treatment=treatment)
    fitted = fit_and_draw(model, engine, seed, options, random)
    if not fitted:
        return None
    posterior, density, extinction = fitted
    draws = quantities(model, density, extinction)
    true = quantities(model, truth.density.value[None], truth.extinction.value[None])
    if prior.theta_size:
        mean, covariance = posterior.theta.numpy(), posterior.theta_covariance.numpy()
        columns = random.multivariate_normal(mean, covariance, options.draws).T
        for parameter, column, value in zip(prior.hyperparameters.learned(), columns, theta, strict=True):
            draws[parameter.name], true[parameter.name] = column, np.array([value])
    ranks = {name: int(truth_ranks(draws[name], true[name][0])) for name in draws}
    unseen = observe(truth, case, uncertain, HELD_OUT, np.random.default_rng([HELD_OUT_STREAM, seed]))
    of_stars = held_out_ranks(model.treatment, unseen, extinction)
    of_cells = [truth_ranks(*pair) for pair in ((density, truth.density.value), (extinction, truth.extinction.value))]
    counts = [np.bincount(each.ravel(), minlength=options.draws + 1) for each in (*of_cells, of_stars)]
    return {
        "ranks": ranks | {"held-out star": int(of_stars[0])},
        "coverage": [[rank_coverage(of, level) for level in LEVELS] for of in counts],
        "converged": posterior.report.converged,
    }


def calibrate(name: str, engine: str, distances: str, options: argparse.Namespace) -> dict:
    """All runs of a case, which are independent of one another."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        seeds = range(options.seed, options.seed + options.runs)
        every = [run(CASES[name], engine, distances == "uncertain", seed, options) for seed in seeds]
    runs = [found for found in every if found]
    coverage = np.array([found["coverage"] for found in runs])
    error = coverage.std(0) / math.sqrt(len(runs))
    return {
        "case": name,
        "engine": engine,
        "distances": distances,
        "draws": options.draws,
        "ranks": {quantity: [found["ranks"][quantity] for found in runs] for quantity in runs[0]["ranks"]},
        "coverage": dict(zip(KINDS, coverage.mean(0).tolist(), strict=True)),
        "coverage_error": dict(zip(KINDS, error.tolist(), strict=True)),
        "failed": len(every) - len(runs),
        "not_converged": sum(not found["converged"] for found in runs),
        "seconds": time.process_time() - started,
    }


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--draws", type=int, default=199, help="independent joint draws that a truth is ranked among")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--engines", nargs="+", choices=[*ENGINES, CHAIN], default=list(ENGINES))
    parser.add_argument("--distances", nargs="+", choices=DISTANCES, default=list(DISTANCES))
    parser.add_argument("--learn", action="store_true", help="draw hyperparameters from their priors and learn them")
    parser.add_argument("--stars", type=int, default=300)
    parser.add_argument("--samples", type=int, help="draws that mgvi keeps; default: all are independent")
    parser.add_argument("--parts", type=int, help="nodes of a star's distance in each cell; chosen by default")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--quick", action="store_true", help="10 runs, 39 draws: shows that it works")
    parser.add_argument("--json", type=Path, help="write all numbers here, with all ranks")
    parser.add_argument("--figure", type=Path, help="draw the distributions of all ranks here")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs, options.draws = 10, 39
    if options.learn and CHAIN in options.engines:
        parser.error("the chain has no learned hyperparameters: leave out --learn, or the engine chain")
    return options


def main() -> None:
    options = parsed()
    learned = "drawn from their priors and learned" if options.learn else "given"
    words = f"{options.runs} runs, {options.stars} stars each, {options.draws} draws; hyperparameters {learned}"
    where = machine()  # before compiled passes over stars, which change how many threads torch says it has
    print(where, words, sep="\n", flush=True)
    rows = []
    for case, distances, engine in itertools.product(options.cases, options.distances, options.engines):
        rows.append(calibrate(case, engine, distances, options))
        print("", table(rows[-1]), sep="\n", flush=True)
    print("", summary(rows), sep="\n")
    write_json(options.json, {"machine": where, "settings": words, "rows": rows})
    if options.figure:
        draw_figure(rows, options.figure)


if __name__ == "__main__":
    main()
