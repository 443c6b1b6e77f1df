"""When to stop: only when the ELBO's gain is small beside both its noise and what a gain is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

PATIENCE = 3  # stages in a row, by default: a plateau of one may be a pause


@dataclass
class StoppingRule:
    """Compares stages of steps, not steps: a noisy ELBO goes up and down from step to step.

    Attributes
    ----------
    tolerance : float
        A gain per stage, nats, not worth another stage.
    patience : int
        Stages that must not gain more than that, together.
    means, errors : list of float
        ELBO of each stage seen and its standard error.
    """

    tolerance: float
    patience: int = PATIENCE
    means: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def see(self, elbos: list[float]) -> None:
        """Take in the ELBO of the steps of a stage (its later half, when the start has worn off)."""
        mean, error = _mean_and_error(elbos)
        self.means.append(mean)
        self.errors.append(error)

    def see_again(self) -> None:
        """Take in a stage that came to nothing: the ELBO stays what it was."""
        self.means.append(self.means[-1])
        self.errors.append(self.errors[-1])

    def would_lose(self, elbos: list[float], deviations: float) -> bool:
        """Whether a stage's ELBO lies significantly below the last one's."""
        if not self.means:
            return False
        if not np.isfinite(elbos).all():
            return True
        mean, error = _mean_and_error(elbos)
        return mean < self.means[-1] - max(self.tolerance, deviations * math.hypot(error, self.errors[-1]))

    @property
    def gain(self) -> float:
        """Gain of the best of the last stages over the best of those before them, nats."""
        if len(self.means) <= self.patience:
            return math.inf
        return max(self.means[-self.patience :]) - max(self.means[: -self.patience])

    @property
    def gain_error(self) -> float:
        """Standard error of the gain, nats."""
        return math.hypot(*self.errors[-2:])

    @property
    def settled(self) -> bool:
        """Whether the last stages gained no more than the tolerance, or than noise explains."""
        return len(self.means) > self.patience and self.gain <= self.threshold

    @property
    def threshold(self) -> float:
        """The gain, nats, up to which the fit counts as settled: the tolerance, or twice the noise."""
        return max(self.tolerance, 2 * self.gain_error)


def _mean_and_error(elbos: list[float]) -> tuple[float, float]:
    """Mean, and its standard error from neighbouring steps: a trend within the stage is no noise."""
    values = np.asarray(elbos)
    return float(values.mean()), float(np.sqrt(np.mean(np.diff(values) ** 2) / 2 / len(values)))


@dataclass(frozen=True)
class StoppingReport:
    """How a fit ended.

    Attributes
    ----------
    converged : bool
    reason : str
        In words.
    steps : int
    elbo, elbo_error : float
        Of the final posterior, with its Monte-Carlo standard error, nats.
    """

    converged: bool
    reason: str
    steps: int
    elbo: float
    elbo_error: float

    def __str__(self) -> str:
        verdict = "converged" if self.converged else "NOT converged"
        return f"{verdict} after {self.steps} steps: {self.reason}; ELBO {self.elbo:.2f} ± {self.elbo_error:.2f}"
