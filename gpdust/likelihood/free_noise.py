"""Noise whose parameters a fit learns, as a standardised vector with a stated prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpdust.errors import ConfigError
from gpdust.likelihood.noise import Noise

FACTOR, LOGIT = math.log(3.0), 1.5
WIDTHS = {"extra": FACTOR, "proportional": FACTOR, "degrees_of_freedom": math.log(2.0), "bad_share": LOGIT}
UNITS = {"extra": "mag", "proportional": "of the extinction", "degrees_of_freedom": "", "bad_share": "of the stars"}


@dataclass(frozen=True)
class FreeNoise:
    """The noise that a fit starts from, and which of its parameters it learns.

    The prior of a positive parameter is log-normal about its start, a factor of 3 at 1 σ (2 for degrees of freedom);
    that of the share of bad stars is normal in its logit, 1.5 at 1 σ.

    Attributes
    ----------
    start : Noise
    names : tuple of str
        Parameters that are learned, all of them positive at the start.

    Raises
    ------
    ConfigError
        If the noise has no such parameter.
    """

    start: Noise
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [name for name in self.names if name not in self.start.names]
        if missing:
            raise ConfigError(
                f"noise has no parameter {missing[0]} that could be learned; there are "
                f"{', '.join(self.start.names) or 'none'} (one that is zero stays zero)"
            )

    @property
    def size(self) -> int:
        """Number of learned parameters."""
        return len(self.names)

    def at(self, standardised: np.ndarray) -> Noise:
        """The noise at a standardised vector, shape (size,); the start is at zero."""
        vector = self.start.parameters()
        vector[self._which] += self._widths * standardised
        return self.start.with_parameters(vector)

    def slope(self, of_all: np.ndarray) -> np.ndarray:
        """Derivative by the standardised vector, from that by all unconstrained parameters, shape (..., all)."""
        return of_all[..., self._which] * self._widths

    def table(self, standardised: np.ndarray, covariance: np.ndarray) -> str:
        """Learned parameters with approximate errors and priors, a line each."""
        noise, lines = self.at(standardised), []
        for row, name in enumerate(self.names):
            value = getattr(noise, name)
            grown = value * (1 - value) if name == "bad_share" else value  # ∂value / ∂ unconstrained
            error = grown * self._widths[row] * math.sqrt(covariance[row, row]) if len(covariance) else math.nan
            found = f"{value:.4g} ± {error:.2g} {UNITS[name]}"
            lines.append(f"{name:18} {found:28} prior: {self._prior_in_words(name)}")
        return "\n".join(lines)

    def _prior_in_words(self, name: str) -> str:
        median = f"median {getattr(self.start, name):.3g}"
        if name == "bad_share":
            return f"normal in its logit, {median}, {LOGIT:g} at 1 σ"
        return f"log-normal, {median}, a factor of {math.exp(WIDTHS[name]):g} at 1 σ"

    @property
    def _which(self) -> list[int]:
        return [self.start.names.index(name) for name in self.names]

    @property
    def _widths(self) -> np.ndarray:
        return np.array([WIDTHS[name] for name in self.names])
