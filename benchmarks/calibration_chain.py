"""Draws of the exact posterior for calibration.py, by Markov chains: what tells a wrong test from a wrong engine.

Generalised elliptical slice sampling (Nishihara, Murray & Adams 2014; Murray, Adams & MacKay 2010): in coordinates in
which the Gaussian of a fit, somewhat widened, is N(0, I), a chain moves on ellipses through draws of it, along which
only the ratio of the posterior to that Gaussian is looked at. Where the fit is good it is nearly constant, and a few
dozen rounds forget the start. Every draw is the end of a chain of its own, so that draws are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

import gpdust
from gpdust.los import integrate

ROUNDS = 60
WIDER = 1.15  # than the fit: its tails must not be thinner than the posterior's


def chain_draws(
    model: gpdust.DustModel, posterior: gpdust.Posterior, draws: int, random: np.random.Generator, rounds: int = ROUNDS
) -> tuple[np.ndarray, np.ndarray]:
    """Density and extinction of independent chains, shapes (draws, ray, cell), from a fit by natural.

    Parameters
    ----------
    model : DustModel
        With given hyperparameters.
    posterior : Posterior
    draws : int
    random : numpy.random.Generator
    rounds : int
        Moves of each chain.
    """
    linear_map = model.prior.at(model.points(slice(None)))
    mean, scale = posterior.mean, WIDER * posterior.scale
    lengths = torch.from_numpy(model.grid.cell_lengths)

    def maps(white: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        density = model.density(mean + white @ scale.mT, linear_map)
        return density, integrate(density, lengths)

    def log_ratio(white: torch.Tensor) -> torch.Tensor:
        """Of the posterior to the Gaussian, but for a constant."""
        latent = mean + white @ scale.mT
        likelihood = model.likelihood.log_likelihood(maps(white)[1])
        return likelihood - 0.5 * latent.square().sum(-1) + 0.5 * white.square().sum(-1)

    with torch.no_grad():
        white = torch.from_numpy(random.standard_normal((draws, len(mean))))
        value = log_ratio(white)
        for _ in range(rounds):
            white, value = _moved(white, value, log_ratio, random)
        density, extinction = maps(white)
    return density.numpy(), extinction.numpy()


def _moved(
    white: torch.Tensor,
    value: torch.Tensor,
    log_ratio: Callable[[torch.Tensor], torch.Tensor],
    random: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One move of every chain: a point of its ellipse above its slice, in a bracket that shrinks to where it stands."""
    other = torch.from_numpy(random.standard_normal(white.shape))
    bar = value + torch.from_numpy(np.log(random.random(len(white))))
    angle = torch.from_numpy(random.uniform(0, 2 * math.pi, len(white)))
    low, high = angle - 2 * math.pi, angle.clone()
    new, new_value, left = white.clone(), value.clone(), torch.arange(len(white))
    while len(left):
        turn = angle[left, None]
        proposed = white[left] * torch.cos(turn) + other[left] * torch.sin(turn)
        found = log_ratio(proposed)
        taken = found > bar[left]
        new[left[taken]], new_value[left[taken]] = proposed[taken], found[taken]
        left = left[~taken]
        before = angle[left] < 0
        low[left[before]], high[left[~before]] = angle[left[before]], angle[left[~before]]
        angle[left] = low[left] + (high - low)[left] * torch.from_numpy(random.random(len(left)))
    return new, new_value
