"""Write a problem for another program to solve: python benchmarks/peers/export_problem.py problem.npz.

The simulated clumps under gpdust's spectral prior with given hyperparameters, as plain arrays: the stars compressed,
the periodic box, the centres of the cells, the truth, and values that the other program must reproduce.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import astropy.units as u
import numpy as np

import gpdust
from gpdust.los import integrate
from gpdust.simulate import simulated_clumps
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION

import torch  # isort: skip  # after gpdust, which tells threads to wait without spinning

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import true_density

CHECKS = 3  # draws from the prior with which both programs must agree


def build_model(arguments: argparse.Namespace) -> gpdust.DustModel:
    """The problem as gpdust sees it."""
    prior = gpdust.SpectralGP(
        kernel=arguments.kernel,
        length_scale=arguments.length_scale * u.pc,
        amplitude=arguments.amplitude,
        mean_density=BACKGROUND * u.mag / u.pc,
        learn=False,
    )
    stars = simulated_clumps(arguments.seed, arguments.stars).catalogue
    return gpdust.DustModel(stars, CLUMP_REGION.grid(arguments.shape), prior)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What decides a problem."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stars", type=int, default=120_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35], help="cells (l, b, distance)")
    parser.add_argument("--kernel", choices=["matern32", "rbf"], default="matern32")
    parser.add_argument("--length-scale", type=float, default=30.0, help="pc")
    parser.add_argument("--amplitude", type=float, default=0.2, help="dex")


def problem_arrays(model: gpdust.DustModel, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """The problem as plain arrays; README.md says what each is."""
    statistics, grid, box = model.likelihood, model.grid, model.prior.box
    points = grid.cell_points()
    linear_map = model.prior.at(torch.from_numpy(points.reshape(-1, 3)))
    latent = torch.from_numpy(np.random.default_rng([arguments.seed, 1]).standard_normal((CHECKS, box.latent_size)))
    truth = true_density(arguments.seed, grid).value
    with torch.no_grad():
        log_density = linear_map.log_density(latent).unflatten(-1, grid.shape)
        log_density = torch.cat([log_density, torch.from_numpy(np.log10(truth))[None]])
        extinction = integrate(torch.pow(10.0, log_density), torch.from_numpy(grid.cell_lengths))
        log_likelihood = statistics.log_likelihood(extinction)
        precision_product = statistics.precision.product(extinction)
    return {
        "diagonal": statistics.diagonal.numpy(),
        "coupling": statistics.coupling.numpy(),
        "weighted": statistics.weighted.numpy(),
        "constant": np.array(statistics.constant),
        "cell_lengths": grid.cell_lengths,
        "points": points,
        "mean": linear_map.mean.numpy(),
        "residual_variance": linear_map.residual_variance.numpy().reshape(grid.shape),
        "box_origin": np.array(box.origin),
        "box_lengths": np.array(box.lengths),
        "box_shape": np.array(box.shape),
        "mode_amplitude": linear_map.weight.numpy(),
        "truth": truth,
        "check_latent": latent.numpy(),
        "check_log_density": log_density.numpy(),
        "check_log_likelihood": log_likelihood.numpy(),
        "check_precision_product": precision_product.numpy(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="an .npz file")
    add_arguments(parser)
    arguments = parser.parse_args()
    model = build_model(arguments)
    np.savez(arguments.output, **problem_arrays(model, arguments))
    print(model.stars_used, f"{model.grid.n_rays * model.grid.n_cells} cells", *model.prior.notes(), sep="\n")


if __name__ == "__main__":
    main()
