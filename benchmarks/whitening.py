"""What the measures of the svi engine buy: python benchmarks/whitening.py [--seconds 60].

The simulated clumps at fixed hyperparameters, a full-rank Gaussian for v, 32 particles and the analytic KL throughout.
Plain AdamW moves the mean of v and a Cholesky factor in the coordinates of the prior; the rest is gpdust's engine, also
with one of its measures taken away. The prior's mean is 1e-3 mag/pc where the background is 1.6e-3, so that the start
is not the answer. Errors are those of the density at the posterior mean of v; working them out is not on the clock.
ELBOs are those of fits that have ended, with their errors.
"""

from __future__ import annotations

# isort: off
import gpdust  # before torch: it tells threads to wait without spinning

# isort: on

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import astropy.units as u
import numpy as np
import torch
from common import machine, true_density, write_json

from gpdust.inference import SVI, Progress, SVIOptions, WhitenedGaussian
from gpdust.scores import relative_error
from gpdust.simulate import simulated_clumps
from gpdust.simulate.clumps import CLUMP_REGION

PARTICLES = 32
FIRST_WEIGHT = 1e-3  # of the likelihood, where plain AdamW is tempered
History = Iterator[tuple[float, int, torch.Tensor, str]]  # seconds, steps, the mean of v and an ELBO, now and then


def plain_adamw(model: gpdust.DustModel, rate: float, tempered_steps: int, seed: int) -> History:
    """AdamW on the ELBO in the coordinates of the prior; the weight of the likelihood grows over the first steps."""
    size, theta = model.prior.latent_size, None
    torch.manual_seed(seed)
    basis = model.basis(model.prior, theta)
    mean = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    factor = (0.1 * torch.eye(size, dtype=torch.float64)).requires_grad_()
    optimizer = torch.optim.AdamW([mean, factor], lr=rate, weight_decay=0.0)
    seconds, step = 0.0, 0
    while True:
        started = time.perf_counter()
        progress = min(1.0, step / tempered_steps) if tempered_steps else 1.0
        weight = FIRST_WEIGHT ** (1 - progress)
        lower = factor.tril()
        draws = mean + torch.randn(PARTICLES, size, dtype=torch.float64) @ lower.mT
        kl = 0.5 * (lower.square().sum() + mean.square().sum() - size) - lower.diagonal().abs().log().sum()
        loss = kl - weight * model.log_likelihood(draws, theta, basis).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds, step = seconds + time.perf_counter() - started, step + 1
        if step % 10 == 0:
            yield seconds, step, mean.detach().clone(), ""


def engine(model: gpdust.DustModel, seed: int, **options: float) -> History:
    """The svi engine of gpdust, stage by stage, until it is done."""
    svi = SVI(model, SVIOptions(**options))
    state = svi.init(seed)
    while state.phase != "done":
        state = svi.stage(state, Progress(1, shown=False))
        yield state.seconds, len(state.trace), state.mean, ""
    report = svi.finish(state)[1]
    yield state.seconds, len(state.trace), state.mean, f"{report.elbo:.1f} ± {report.elbo_error:.1f}"


def unmirrored(model: gpdust.DustModel, seed: int) -> History:
    """The same with independent draws in place of mirrored pairs."""

    def rsample(self: WhitenedGaussian, sample_shape: tuple[int, ...] = ()) -> torch.Tensor:
        shape = (*sample_shape, *self.batch_shape, self.event_shape[0])
        return self.mean_vector + self.scaled(torch.randn(shape, dtype=torch.float64, generator=self.generator))

    with patch.object(WhitenedGaussian, "rsample", rsample):
        yield from engine(model, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each way, if it does not end before")
    parser.add_argument("--tempered-steps", type=int, default=1000, help="of plain AdamW where it is tempered")
    parser.add_argument("--inducing", type=int, default=500)
    parser.add_argument("--stars", type=int, default=120_000)
    parser.add_argument("--shape", type=int, nargs=3, default=[20, 20, 35])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seed, limit = arguments.seed, arguments.seconds
    survey = simulated_clumps(seed, arguments.stars)
    prior = gpdust.InducingGP(inducing=arguments.inducing, learn=False, mean_density=1e-3 * u.mag / u.pc)
    model = gpdust.DustModel(survey.catalogue, CLUMP_REGION.grid(arguments.shape), prior)
    fine = CLUMP_REGION.grid([2 * n for n in arguments.shape])
    truth = true_density(seed, fine).value.ravel()
    with torch.no_grad():
        on_fine = model.prior.at(torch.from_numpy(fine.cell_points()).reshape(-1, 3))

    def error(latent: torch.Tensor) -> float:
        return float(np.median(relative_error(10 ** on_fine.log_density(latent).numpy(), truth)))

    tempered = arguments.tempered_steps
    ways = {
        "plain AdamW, 0.01": lambda: plain_adamw(model, 0.01, 0, seed),
        "plain AdamW, 0.003": lambda: plain_adamw(model, 0.003, 0, seed),
        "plain AdamW, 0.01, tempered": lambda: plain_adamw(model, 0.01, tempered, seed),
        "plain AdamW, 0.003, tempered": lambda: plain_adamw(model, 0.003, tempered, seed),
        "svi": lambda: engine(model, seed),
        "svi, AdamW for the covariance": lambda: engine(model, seed, natural_gradients=False),
        "svi, hardly tempered": lambda: engine(model, seed, temper_factor=math.inf),
        "svi, draws not mirrored": lambda: unmirrored(model, seed),
    }
    marks = [limit * part for part in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)]
    print(machine(), f"seed {seed}, {model.stars_used}, {arguments.shape} cells, {prior}", sep="\n")
    print("median density error after so many seconds (in brackets: it had ended)")
    print(
        f"{'':30}" + "".join(f"{mark:>10.1f}" for mark in marks) + f"{'steps':>8}{'ms/step':>9}{'ELBO':>17}", flush=True
    )
    rows = {}
    for name, way in ways.items():
        history, steps, elbo, end = [], 0, "", ""  # of seconds and means
        try:
            for seconds, steps, latent, elbo in way():  # noqa: B007  (the last ones are printed)
                history.append((seconds, latent))
                if seconds > limit or not torch.isfinite(latent).all():
                    break
        except gpdust.GpdustError as failure:
            end = f"  stopped: {str(failure).split(':')[0]}"
        cells, errors = [], []
        for mark in marks:
            before = [latent for seconds, latent in history if seconds <= mark]
            ended = bool(history) and history[-1][0] <= mark
            errors.append(error(before[-1]) if before else None)
            cells.append(f"{f'({errors[-1]:.1%})' if ended else f'{errors[-1]:.1%}':>10}" if before else f"{'–':>10}")
        pace = f"{1e3 * history[-1][0] / steps:>9.1f}" if history else ""
        print(f"{name:30}{''.join(cells)}{steps:>8}{pace}{elbo:>17}{end}", flush=True)
        rows[name] = {"seconds": marks, "errors": errors, "steps": steps, "elbo": elbo}
    write_json(arguments.json, {"machine": machine(), "seed": seed, "ways": rows})


if __name__ == "__main__":
    main()
