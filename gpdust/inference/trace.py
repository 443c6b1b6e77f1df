"""What a fit did, step by step: the ELBO, and every hyperparameter in physical units."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Trace:
    """The record of a fit, one entry a step.

    Attributes
    ----------
    hyperparameters : dict of str to list of float
        Physical values by name; `units` gives their units.
    units : dict of str to str
        Unit of each hyperparameter.
    elbo : list of float
        Monte-Carlo estimate of the ELBO of the full data, nats. Not comparable where `tempering` differs.
    tempering : list of float
        Weight of the likelihood: below one while the fit is being started.
    phase : list of str
        "temper" and "polish" of svi; "climb", "learn" and "settle" of all engines.
    seconds : list of float
        Wall time since the start of the fit.
    """

    units: dict[str, str]
    hyperparameters: dict[str, list[float]] = field(default_factory=dict)
    elbo: list[float] = field(default_factory=list)
    tempering: list[float] = field(default_factory=list)
    phase: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def append(
        self, elbo: float, tempering: float, phase: str, seconds: float, hyperparameters: dict[str, float]
    ) -> None:
        """Add a step."""
        self.elbo.append(elbo)
        self.tempering.append(tempering)
        self.phase.append(phase)
        self.seconds.append(seconds)
        for name, value in hyperparameters.items():
            self.hyperparameters.setdefault(name, []).append(value)

    def __len__(self) -> int:
        return len(self.elbo)

    def elbo_of(self, phase: str) -> np.ndarray:
        """ELBO of the steps of one phase."""
        return np.array([elbo for elbo, of in zip(self.elbo, self.phase, strict=True) if of == phase])

    def as_dict(self) -> dict:
        """Plain lists, for JSON."""
        return {
            "elbo": self.elbo,
            "tempering": self.tempering,
            "phase": self.phase,
            "seconds": self.seconds,
            "hyperparameters": self.hyperparameters,
            "units": self.units,
        }

    @classmethod
    def from_dict(cls, record: dict) -> Trace:
        """Build a trace from what `as_dict` returned."""
        return cls(**record)
