"""Solve an exported problem with NIFTy.re's MGVI: python benchmarks/peers/nifty_mgvi.py problem.npz result.npz.

Runs in an environment of its own, with NIFTy and without gpdust. The model is that of gpdust's spectral prior, written
in JAX: white noise on the modes of a periodic box, coloured, transformed, interpolated to cells, and integrated along
rays. Fails if the model does not reproduce the values that gpdust exported.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import jax
import nifty.re as jft
import numpy as np
from jax import numpy as jnp
from jax import random
from jax.custom_derivatives import linear_call

jax.config.update("jax_enable_x64", True)

LN10 = math.log(10.0)
PERCENTILES = (16, 50, 84)
RELATIVE_PIVOT = 1e-10  # below this a pivot of W is rounding
TOLERANCE = 1e-9  # relative; of everything that both programs compute
KIB = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in

Problem = dict[str, np.ndarray]


class LogDensity(jft.Model):
    """B v: the deviation of the log-density from its mean, dex, at the centres of all cells.

    Parameters
    ----------
    problem : dict of ndarray
        What `export_problem.py` wrote.
    """

    weight: Any = dataclasses.field(metadata={"static": False})
    index: Any = dataclasses.field(metadata={"static": False})
    share: Any = dataclasses.field(metadata={"static": False})

    def __init__(self, problem: Problem) -> None:
        self.box = tuple(int(n) for n in problem["box_shape"])
        self.cells = problem["points"].shape[:2]
        self.weight = jnp.asarray(problem["mode_amplitude"])
        self.index, self.share = (jnp.asarray(part) for part in stencil(problem))
        latent = jax.ShapeDtypeStruct((2, *self.weight.shape), jnp.float64)
        super().__init__(domain={"modes": latent}, white_init=True)

    def __call__(self, x: dict[str, jax.Array]) -> jax.Array:
        """B v, shape (ray, cell)."""
        real, imaginary = x["modes"]
        field = jnp.fft.irfftn(jax.lax.complex(real * self.weight, imaginary * self.weight), s=self.box)
        scatter_here = partial(scatter, math.prod(self.box))
        stencil = self.index, self.share
        return linear_call(interpolate, scatter_here, stencil, field.reshape(-1)).reshape(self.cells)


class WhitenedExtinction(jft.Model):
    """Lᵀ A with W = L Lᵀ: extinction at the cells' outer edges, in units of what the stars know of it.

    Parameters
    ----------
    log_density : LogDensity
    problem : dict of ndarray
    """

    log_density: Any = dataclasses.field(metadata={"static": False})
    offset: Any = dataclasses.field(metadata={"static": False})
    cell_lengths: Any = dataclasses.field(metadata={"static": False})
    factor: Any = dataclasses.field(metadata={"static": False})
    below: Any = dataclasses.field(metadata={"static": False})

    def __init__(self, log_density: LogDensity, problem: Problem) -> None:
        self.log_density = log_density
        # The mean of 10^φ over the residual of the interpolation, as gpdust has it.
        self.offset = jnp.asarray(problem["mean"] + 0.5 * LN10 * problem["residual_variance"])
        self.cell_lengths = jnp.asarray(problem["cell_lengths"])
        self.factor, self.below = (jnp.asarray(part) for part in bidiagonal_root(problem))
        super().__init__(init=log_density.init)

    def __call__(self, x: dict[str, jax.Array]) -> jax.Array:
        """Lᵀ A of the density that belongs to v, shape (ray, cell)."""
        return self.whiten(self.extinction(self.offset + self.log_density(x)))

    def extinction(self, log_density: jax.Array) -> jax.Array:
        """A from log10 of the density, shape (ray, cell)."""
        return jnp.cumsum(jnp.exp(LN10 * log_density) * self.cell_lengths, axis=-1)

    def whiten(self, extinction: jax.Array) -> jax.Array:
        """Lᵀ A, shape (ray, cell)."""
        return (self.factor * extinction).at[..., :-1].add(self.below[..., 1:] * extinction[..., 1:])


def interpolate(stencil: tuple[jax.Array, ...], field: jax.Array) -> jax.Array:
    """Values at points: a sum that XLA fuses, many times as fast as gathering all eight corners first."""
    index, share = stencil
    corners = (field.at[index[:, k]].get(mode="promise_in_bounds") * share[:, k] for k in range(index.shape[1]))
    return sum(corners)


def scatter(n_nodes: int, stencil: tuple[jax.Array, ...], values: jax.Array) -> jax.Array:
    """Adjoint of `interpolate`; JAX would add one corner after the other."""
    index, share = stencil
    return jnp.zeros(n_nodes).at[index].add(share * values[:, None], mode="promise_in_bounds")


def stencil(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Trilinear interpolation: index of the eight nodes around each point and their shares, shapes (points, 8)."""
    shape = problem["box_shape"]
    position = (problem["points"].reshape(-1, 3) - problem["box_origin"]) / (problem["box_lengths"] / shape)
    node = np.floor(position).astype(np.int64)
    fraction = position - node
    index, share = [], []
    for corner in product((0, 1), repeat=3):
        index.append(np.ravel_multi_index(((node + corner) % shape).T, shape).astype(np.int32))
        share.append(np.where(corner, fraction, 1 - fraction).prod(-1))
    return np.stack(index, -1), np.stack(share, -1)


def bidiagonal_root(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal of L, and what stands left of it, with W = L Lᵀ, shape (ray, cell); zero where no star is."""
    diagonal, coupling = problem["diagonal"], problem["coupling"]
    factor, below = np.zeros_like(diagonal), np.zeros_like(diagonal)
    for k in range(diagonal.shape[1]):
        if k:
            np.divide(coupling[:, k], factor[:, k - 1], out=below[:, k], where=factor[:, k - 1] > 0)
        pivot = diagonal[:, k] - below[:, k] ** 2
        factor[:, k] = np.sqrt(np.where(pivot > RELATIVE_PIVOT * diagonal[:, k], pivot, 0))
    return factor, below


def whitened_data(problem: Problem) -> np.ndarray:
    """L⁻¹ h, shape (ray, cell)."""
    factor, below = bidiagonal_root(problem)
    data = np.zeros_like(factor)
    for k in range(factor.shape[1]):
        rest = problem["weighted"][:, k] - (below[:, k] * data[:, k - 1] if k else 0)
        np.divide(rest, factor[:, k], out=data[:, k], where=factor[:, k] > 0)
    return data


def check(model: WhitenedExtinction, likelihood: jft.Likelihood, data: jax.Array, problem: Problem) -> dict[str, float]:
    """Compare this model with gpdust's: log-density of given latents, log-likelihood and metric of given densities.

    Raises
    ------
    SystemExit
        If they differ.
    """
    expected = problem["check_log_density"]
    constant = 0.5 * float(jnp.vdot(data, data)) - float(problem["constant"])
    error = {"log_density": 0.0, "log_likelihood": 0.0, "metric": 0.0, "energy": 0.0}
    offset = model.offset - problem["mean"]
    for latent, log_density in zip(problem["check_latent"], expected, strict=False):
        # gpdust keeps real and imaginary part of a mode side by side.
        x = {"modes": jnp.asarray(np.moveaxis(latent.reshape(*model.log_density.weight.shape, 2), -1, 0))}
        ours = problem["mean"] + model.log_density(x)
        error["log_density"] = max(error["log_density"], float(jnp.abs(ours - log_density).max()))
        # And what NIFTy itself will minimise is the same thing as a function of the latents.
        residual = data - model.whiten(model.extinction(log_density + offset))
        energy, direct = float(likelihood(x)), float(0.5 * jnp.vdot(residual, residual))
        error["energy"] = max(error["energy"], abs(energy / direct - 1))
    for log_density, log_likelihood, product_ in zip(
        expected, problem["check_log_likelihood"], problem["check_precision_product"], strict=True
    ):
        extinction = model.extinction(jnp.asarray(log_density))
        residual = data - model.whiten(extinction)
        ours = float(constant - 0.5 * jnp.vdot(residual, residual))
        scale = max(abs(float(log_likelihood)), abs(constant))
        error["log_likelihood"] = max(error["log_likelihood"], abs(ours - float(log_likelihood)) / scale)
        metric = jax.linear_transpose(model.whiten, extinction)(model.whiten(extinction))[0]
        error["metric"] = max(error["metric"], float(jnp.abs(metric - product_).max() / np.abs(product_).max()))
    wrong = {name: value for name, value in error.items() if not value < TOLERANCE}
    if wrong:
        raise SystemExit(f"NIFTy's model is not gpdust's: relative differences {wrong}")
    return error


def settings(arguments: argparse.Namespace, size: int) -> dict[str, Any]:
    """How NIFTy's demos choose them; the same `delta` for samples and for the mean."""
    delta = arguments.delta
    return {
        "n_samples": lambda iteration: arguments.pairs[iteration],
        "draw_linear_kwargs": {
            "cg": jft.conjugate_gradient.static_cg if arguments.static else jft.conjugate_gradient.cg,
            "cg_kwargs": {"absdelta": delta * size / 10, "maxiter": arguments.cg_steps},
        },
        "kl_kwargs": {"minimize_kwargs": {"xtol": delta, "maxiter": arguments.newton_steps, "cg_kwargs": {}}},
        "sample_mode": "linear_resample",
    }


def optimizer(likelihood: jft.Likelihood, arguments: argparse.Namespace) -> jft.OptimizeVI:
    """What `jft.optimize_kl` makes and runs; kept, so that a second run finds everything compiled."""
    return jft.OptimizeVI(
        likelihood,
        n_total_iterations=len(arguments.pairs),
        kl_map=arguments.kl_map,
        residual_map=arguments.residual_map,
        linear_minimizer_jit=arguments.static,
    )


def percentile_maps(samples: jft.Samples, model: LogDensity, problem: Problem, seed: int) -> np.ndarray:
    """Percentiles of the density over the samples, with the residual of the interpolation, (percentile, ray, cell)."""
    generator = np.random.default_rng(seed)
    residual = np.sqrt(problem["residual_variance"])
    log_density = jax.jit(lambda model, x: model(x))
    draws = [
        problem["mean"] + np.asarray(log_density(model, sample)) + residual * generator.standard_normal(residual.shape)
        for sample in samples
    ]
    return 10 ** np.percentile(draws, PERCENTILES, axis=0)


def run(
    optimize: jft.OptimizeVI,
    start: jft.Vector,
    arguments: argparse.Namespace,
    inspect: Callable[[jft.Samples, jft.OptimizeVIState], None],
) -> tuple[list[float], list[float]]:
    """Fit from the start; seconds, and those of all cores, after each iteration, without what `inspect` takes."""
    started, used = time.perf_counter(), time.process_time()
    seconds, processor = [], []
    samples = jft.Samples(pos=start, samples=None)
    state = optimize.init_state(random.PRNGKey(arguments.seed), **settings(arguments, jft.size(start)))
    for _ in arguments.pairs:
        samples, state = optimize.update(samples, state)
        jax.block_until_ready(samples)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
        inspect(samples, state)
        started, used = time.perf_counter() - seconds[-1], time.process_time() - processor[-1]
    return seconds, processor


class CompileClock:
    """Adds up what JAX spends on compiling."""

    def __init__(self) -> None:
        self.seconds = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._add)

    def _add(self, event: str, duration: float, **_: object) -> None:
        if event.endswith("backend_compile_duration"):
            self.seconds += duration


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", type=Path)
    parser.add_argument("result", type=Path, help="percentile maps after each iteration, and times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--pairs",
        type=int,
        nargs="+",
        default=[1, 1, 2, 10, 10],
        help="for each iteration, how many samples are drawn; each has a mirror image",
    )
    parser.add_argument("--delta", type=float, default=1e-4, help="accuracy, as NIFTy's demos define it")
    parser.add_argument("--cg-steps", type=int, default=1000, help="at most, for a sample")
    parser.add_argument("--newton-steps", type=int, default=35, help="at most, in an iteration")
    parser.add_argument("--start", type=float, default=0.1, help="scale of the random latents at the start")
    parser.add_argument("--kl-map", choices=["smap", "lmap"], default="smap")
    parser.add_argument("--residual-map", choices=["smap", "lmap"], default="lmap")
    parser.add_argument(
        "--static",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile the whole conjugate gradients of the samples",
    )
    parser.add_argument("--runs", type=int, default=2, help="the first compiles, the later ones find all compiled")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    logging.getLogger("nifty").setLevel(logging.WARNING)
    jft.logger.setLevel(logging.WARNING)
    clock = CompileClock()
    started = time.perf_counter()
    with np.load(arguments.problem) as file:
        problem = dict(file)
    prior = LogDensity(problem)
    model = WhitenedExtinction(prior, problem)
    data = jnp.asarray(whitened_data(problem))
    likelihood = jft.Gaussian(data, noise_cov_inv=lambda x: x, noise_std_inv=lambda x: x).amend(model)
    setup = time.perf_counter() - started
    errors = check(model, likelihood, data, problem)
    start = arguments.start * jft.Vector(likelihood.init(random.PRNGKey(arguments.seed + 1)))
    optimize = optimizer(likelihood, arguments)
    maps, statuses = [], []

    def inspect(samples: jft.Samples, state: jft.OptimizeVIState) -> None:
        maps.append(percentile_maps(samples, prior, problem, arguments.seed))
        newton = state.minimization_state
        statuses.append(
            {
                "newton_steps": int(newton.nit),
                "metric_products": int(newton.nhev),
                "kl": float(newton.fun),
                "sample_status": np.asarray(state.sample_state).tolist(),
            }
        )
        print(f"iteration {len(maps)}: {newton.nit} Newton steps, {newton.nhev} products with the metric", flush=True)

    seconds, processor, compiled = [], [], []
    for repeat in range(arguments.runs):
        before = clock.seconds
        times = run(optimize, start, arguments, inspect if repeat == 0 else lambda samples, state: None)
        seconds.append(times[0])
        processor.append(times[1])
        compiled.append(clock.seconds - before)
    record = {
        "setup_seconds": setup,
        "seconds": seconds,
        "processor_seconds": processor,
        "compile_seconds": compiled,
        "latents": jft.size(start),
        "check": errors,
        "problem": problem["check_log_likelihood"].tolist(),
        "iterations": statuses,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 2**30,
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()},
        "nifty": version("nifty"),
        "jax": jax.__version__,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    np.savez(arguments.result, density=np.array(maps), record=json.dumps(record))
    print("seconds:", *(", ".join(f"{value:.1f}" for value in run) for run in seconds), sep="\n")


if __name__ == "__main__":
    main()
