"""gpdust against the recipe that GPyTorch and Pyro document: python benchmarks/public_recipe.py [--inducing 500].

The recipe is GPyTorch's low-level Pyro interface: an ApproximateGP whose `pyro_model` and `pyro_guide` give the
function at all cells, drawn from its marginals; Pyro's Trace_ELBO; AdamW; single precision; every star in the
likelihood, each linear within its cell. Trace_ELBO draws one particle at a time unless it is told to vectorise, as
GPyTorch's tutorial does, so both are run. gpdust runs until it has converged, and the recipe for as long as that took,
at several rates.
"""

from __future__ import annotations

# isort: off
import gpdust  # before torch: it tells threads to wait without spinning

# isort: on

import argparse
import math
import time
import warnings
from pathlib import Path

import astropy.units as u
import gpytorch
import numpy as np
import pyro
import torch
from common import machine, true_density, write_json

from gpdust.los import locate_stars
from gpdust.scores import STRUCTURE, coverage, relative_error
from gpdust.simulate import simulated_clumps
from gpdust.simulate.clumps import CLUMP_REGION

# Where both start, in pc, dex and mag/pc. The background is 1.6e-3: a start there would have a small median error.
LENGTH_SCALE, AMPLITUDE, MEAN_DENSITY = 20.0, 0.3, 1e-3
FEW_STEPS = 50  # after which no rate makes a difference
CHUNK = 20_000  # cells of a prediction


class PublicRecipe(gpytorch.models.ApproximateGP):
    """log10 density as a sparse variational GP, on stars and cells in single precision."""

    def __init__(self, stars: gpdust.StarCatalogue, grid: gpdust.SphericalGrid, points: torch.Tensor) -> None:
        family = gpytorch.variational.CholeskyVariationalDistribution(len(points))
        super().__init__(gpytorch.variational.VariationalStrategy(self, points.float(), family))
        self.mean_module = gpytorch.means.ConstantMean()
        self.mean_module.initialize(constant=math.log10(MEAN_DENSITY))
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=3))
        self.covar_module.outputscale = AMPLITUDE**2
        self.covar_module.base_kernel.lengthscale = LENGTH_SCALE
        self.shape = grid.shape
        self.cells = torch.from_numpy(grid.cell_points()).reshape(-1, 3).float()
        self.lengths = torch.from_numpy(grid.cell_lengths).float()
        positions = locate_stars(grid, stars.l.value, stars.b.value, stars.distance.value)
        stars, positions = stars[positions.inside], positions[positions.inside]
        self.outer = torch.from_numpy(positions.ray * grid.n_cells + positions.cell)
        self.fraction = torch.from_numpy(positions.fraction).float()
        self.measured = torch.from_numpy(stars.extinction.value.copy()).float()
        self.error = torch.from_numpy(stars.extinction_error.value.copy()).float()

    def forward(self, x: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
        """The prior at some points, as GPyTorch asks for it."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    def star_extinction(self, log_density: torch.Tensor) -> torch.Tensor:
        """Extinction of the stars, (..., cells) to (..., stars): full cells in front, and a part of the last one."""
        own = (10**log_density).unflatten(-1, self.shape) * self.lengths
        in_front = own.cumsum(-1) - own
        return in_front.flatten(-2)[..., self.outer] + self.fraction * own.flatten(-2)[..., self.outer]

    def guide(self) -> None:
        """Pyro's guide: marginal draws in all cells."""
        cells = self.pyro_guide(self.cells)
        with pyro.plate("cells", dim=-1):
            pyro.sample("log_density", cells)

    def model(self) -> None:
        """Pyro's model: the same draws, and the stars."""
        pyro.module("gp", self)
        cells = self.pyro_model(self.cells)
        with pyro.plate("cells", dim=-1):
            log_density = pyro.sample("log_density", cells)
        with pyro.plate("stars", dim=-1):
            predicted = self.star_extinction(log_density)
            pyro.sample("extinction", pyro.distributions.Normal(predicted, self.error), obs=self.measured)

    def predict(self, grid: gpdust.SphericalGrid) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of log10 density in the cells of a grid, shape (cells,)."""
        points = torch.from_numpy(grid.cell_points()).reshape(-1, 3).float()
        self.eval()
        with torch.no_grad():
            parts = [self(chunk) for chunk in points.split(CHUNK)]
            mean, deviation = (
                torch.cat([part.mean for part in parts]),
                torch.cat([part.stddev for part in parts]),
            )
        self.train()
        return mean.double().numpy(), deviation.double().numpy()


def run_recipe(
    recipe: PublicRecipe, rate: float, particles: int, vectorised: bool, limit: float, seed: int
) -> tuple[list[float], str]:
    """Steps of the recipe until the time is up: their durations, and why they stopped before, if they did."""
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    loss = pyro.infer.Trace_ELBO(particles, max_plate_nesting=1, vectorize_particles=vectorised, retain_graph=True)
    optimizer = pyro.optim.AdamW({"lr": rate, "weight_decay": 0.0})
    svi = pyro.infer.SVI(recipe.model, recipe.guide, optimizer, loss)
    durations: list[float] = []
    recipe.train()
    while sum(durations) < limit:
        started = time.perf_counter()
        try:
            value = svi.step()
        except (ValueError, RuntimeError, gpytorch.utils.errors.NanError) as failure:
            return durations, f"{type(failure).__name__} in step {len(durations) + 1}"
        durations.append(time.perf_counter() - started)
        if not math.isfinite(value):
            return durations, f"ELBO {value} in step {len(durations)}"
    return durations, ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inducing", type=int, default=500)
    parser.add_argument("--stars", type=int, default=120_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35])
    parser.add_argument("--particles", type=int, default=32)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.003, 0.01])
    parser.add_argument("--seconds", type=float, help="for the recipe; as long as gpdust took by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=gpytorch.utils.warnings.NumericalWarning)
    seed, grid = arguments.seed, CLUMP_REGION.grid(arguments.shape)
    stars = simulated_clumps(seed, arguments.stars).catalogue
    fine = CLUMP_REGION.grid([2 * n for n in arguments.shape])
    truth = true_density(seed, fine).value.ravel()
    print(machine(), f"seed {seed}, {len(stars)} stars, {arguments.shape} cells", sep="\n")

    started = time.perf_counter()
    prior = gpdust.InducingGP(
        inducing=arguments.inducing,
        length_scale=LENGTH_SCALE * u.pc,
        amplitude=AMPLITUDE,
        mean_density=MEAN_DENSITY * u.mag / u.pc,
    )
    model = gpdust.DustModel(stars, grid, prior)
    posterior = gpdust.fit(model, engine="svi", seed=seed, progress=False)
    took = time.perf_counter() - started
    limit = arguments.seconds or took
    pace = float(np.median(np.diff(posterior.trace.seconds)))
    print(f"{posterior.report}\n{arguments.inducing} inducing points, {arguments.particles} particles")
    heads = {
        "s/step": 9,
        "ratio": 8,
        "steps": 7,
        "time/s": 8,
        "median": 8,
        "ratio ": 8,
        "p90": 8,
        "clumps": 8,
        "68 %": 6,
    }
    print(f"{'':34}" + "".join(f"{head.strip():>{width}}" for head, width in heads.items()), flush=True)
    rows: list[dict] = []

    def report(name: str, pace: float, steps: int, seconds: float, *band: np.ndarray) -> None:
        low, median, high = band
        error, covered = relative_error(median, truth), coverage(low, high, truth)
        row = {"name": name, "seconds_per_step": pace, "steps": steps, "seconds": seconds, "coverage": covered}
        row |= {"median_error": float(np.median(error)), "p90_error": float(np.percentile(error, 90))}
        row |= {"clump_error": float(np.median(error[truth >= STRUCTURE.value]))}
        rows.append(row)
        print(
            f"{name:34}{pace:>9.3f}{pace / rows[0]['seconds_per_step']:>8.1f}{steps:>7}{seconds:>8.0f}"
            f"{row['median_error']:>8.1%}{row['median_error'] / rows[0]['median_error']:>8.1f}"
            f"{row['p90_error']:>8.1%}{row['clump_error']:>8.1%}{covered:>6.2f}",
            flush=True,
        )

    band = (part.ravel() for part in posterior.percentiles([16, 50, 84], fine).density_values)
    report("gpdust svi", pace, posterior.report.steps, took, *band)
    for vectorised in (False, True):
        for rate in arguments.rates:
            recipe = PublicRecipe(stars, grid, model.prior.points)
            durations, end = run_recipe(recipe, rate, arguments.particles, vectorised, limit, seed)
            kind = "all particles at once" if vectorised else "one particle at a time"
            name = f"recipe, {kind}, {rate:g}"
            if end:
                print(f"{name:34}  stopped: {end}", flush=True)
                rows.append({"name": name, "end": end})
                continue
            mean, deviation = recipe.predict(fine)
            band = (10 ** (mean + sign * deviation) for sign in (-1, 0, 1))
            report(name, float(np.median(durations)), len(durations), sum(durations), *band)
            if len(durations) < FEW_STEPS:
                break
    write_json(arguments.json, {"machine": machine(), "seed": seed, "rows": rows})


if __name__ == "__main__":
    main()
