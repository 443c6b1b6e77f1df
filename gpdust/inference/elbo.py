"""The ELBO of a Gaussian q, the same for all engines, with its Monte-Carlo error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from gpdust.inference.objective import Objective, Place
from gpdust.inference.precision import Precision

DRAW_TOLERANCE = 0.03  # of the solves for new draws
PAIRS = (4, 10, 16)  # of new draws, one batch after another until the ELBO is known well enough
SEEDS = 1_000_003  # from batch to batch: far from the seeds that anyone gives
WELL_KNOWN, SHARE_KNOWN = 0.5, 0.3  # nats, and of the determinant's error: a scatter of few draws may be too small
TOLERATED = 10.0  # nats that its own draws may flatter a fit by,
KNOWN_TOLERATED = 0.05  # or as many a latent that stars know: its mean is then off by a third of its width
ERRORS_TOLERATED = 2.0  # or errors of that


@dataclass(frozen=True)
class Elbo:
    """The ELBO of a Gaussian q, nats.

    Attributes
    ----------
    value, error : float
        With the Monte-Carlo standard error.
    flattery : float
        How much higher it would seem by the draws that the mean was fitted to.
    is_flattered : bool
        Whether the mean follows its draws, so that more of them would make a better fit.
    """

    value: float
    error: float
    flattery: float
    is_flattered: bool


def theta_divergence(theta: torch.Tensor, covariance: torch.Tensor) -> float:
    """KL(N(θ̂, Σ_θ) ‖ N(0, I)), nats: what the learned hyperparameters cost; nothing where none is learned."""
    if not len(theta) or not len(covariance):
        return 0.0
    trace = float(covariance.diagonal().sum())
    return 0.5 * (trace + float(theta.square().sum()) - len(theta) - float(torch.logdet(covariance)))


def unseen(
    standard: Callable[[int, int], tuple[torch.Tensor, torch.Tensor]], seed: int, least: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches, of at least so many pairs, of standard normals that no draw of a fit with that seed is made of."""
    for batch, pairs in enumerate(PAIRS, 1):
        yield standard(seed + batch * SEEDS, max(pairs, least))


class NewDraws:
    """E_q[log L] − KL(q(v) ‖ N(0, I)) by draws that the fit has not seen, batch by batch.

    Parameters
    ----------
    objective : Objective
    place : Place
        The mean of q, with the draws that it was fitted to.
    precision : Precision
        Λ of q.
    standards : iterator of (Tensor, Tensor), shapes (pairs, latent) and (pairs, cells)
        Standard normals, none of which the fit has seen.

    Notes
    -----
    The mean has been fitted to the draws that it was found with, and they flatter it: where stars are few and draws
    wide, by hundreds of nats. So these are others.

    tr Λ⁻¹ − M = −E[dᵀGd] with d = Bδ, estimated from the same draws as E_q[log L]: the two estimates share nearly all
    of their noise, which leaves what is cubic and beyond.
    """

    def __init__(
        self,
        objective: Objective,
        place: Place,
        precision: Precision,
        standards: Iterator[tuple[torch.Tensor, torch.Tensor]],
    ) -> None:
        self._objective, self._mean, self._precision, self._standards = objective, place.mean, precision, standards
        self._by_own = float(_beyond_quadratic(objective, place, precision).mean())
        self._tolerated = max(TOLERATED, KNOWN_TOLERATED * _known(place, precision))
        self._by_new = place.mean.new_empty(0)
        self._take_more()

    def ask_for_more(self) -> bool:
        """Whether they say that the mean follows its own draws, and needs more; they go on while that is open.

        One stray draw among them makes their mean and its error as large as each other, however large that is.
        """
        while not self._flatters:
            if self._flattery + self._scatter < self._tolerated:
                return False
            if not self._take_more():
                return self.contradict_its_own()
        return True

    def contradict_its_own(self) -> bool:
        """Whether the mean's own draws say more than these by a nat a star, so that nothing follows from them."""
        return not self._flattery < self._objective.response.likelihood.n_stars

    def elbo(self) -> Elbo:
        """The ELBO, by as many batches as it takes to know it well enough."""
        log_determinant, error = self._precision.log_determinant()
        while self._scatter >= max(WELL_KNOWN, SHARE_KNOWN * 0.5 * error) and self._take_more():
            pass
        divergence = 0.5 * (float(self._mean.square().sum()) + log_determinant)
        value, error = -float(self._by_new.mean()) - divergence, math.hypot(self._scatter, 0.5 * error)
        return Elbo(value, error, self._flattery, self._flatters)

    @property
    def _flatters(self) -> bool:
        return self._flattery > max(self._tolerated, ERRORS_TOLERATED * self._scatter)

    @property
    def _scatter(self) -> float:
        return float(self._by_new.std()) / math.sqrt(len(self._by_new))

    @property
    def _flattery(self) -> float:
        return float(self._by_new.mean()) - self._by_own

    def _take_more(self) -> bool:
        """Another batch, if there is one."""
        standard = next(self._standards, None)
        if standard is None:
            return False
        drawn = self._objective.place(self._mean, self._precision.draws(*standard, DRAW_TOLERANCE))
        self._by_new = torch.cat([self._by_new, _beyond_quadratic(self._objective, drawn, self._precision)])
        return True


def _beyond_quadratic(objective: Objective, place: Place, precision: Precision) -> torch.Tensor:
    """−log L less ½ dᵀGd of every pair of draws."""
    energies = objective.energies(place).unflatten(0, (2, -1)).mean(0)
    return energies - 0.5 * _known_of_each(place, precision)


def _known(place: Place, precision: Precision) -> float:
    """How many latents the stars know, tr (I − Λ⁻¹), by the draws."""
    return float(_known_of_each(place, precision).mean())


def _known_of_each(place: Place, precision: Precision) -> torch.Tensor:
    """dᵀGd of every pair of draws, with d = Bδ."""
    return (place.offsets * precision.metric.weigh(place.offsets)).sum(-1)
