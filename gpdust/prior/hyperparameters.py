"""Hyperparameters as latents: a standardised vector θ ~ N(0, I), and what it means in physical units."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

FACTOR_OF_TWO = math.log(2.0)
MEAN_NAME = "mean_log_density"
MEAN_WIDTH = 0.5  # dex: prior standard deviation of the mean log-density


@dataclass(frozen=True)
class Hyperparameter:
    """One number of the prior, with its own prior.

    Attributes
    ----------
    name, unit : str
        What people see.
    centre : float
        Median of its prior, in physical units; also where a fit starts.
    width : float
        Prior standard deviation: of the natural logarithm where `positive`, else of the value itself.
    positive : bool
        Whether the prior is log-normal (else normal).
    learned : bool
        Whether a fit may move it.
    """

    name: str
    unit: str
    centre: float
    width: float = FACTOR_OF_TWO
    positive: bool = True
    learned: bool = True

    @property
    def is_mean(self) -> bool:
        """Whether this is the mean of the process; all others are its kernel's."""
        return self.name == MEAN_NAME

    def physical(self, standardised: torch.Tensor) -> torch.Tensor:
        """Physical value of a standardised one (prior standard deviations from the centre)."""
        if self.positive:
            return self.centre * torch.exp(self.width * standardised)
        return self.centre + self.width * standardised

    def standardised(self, physical: float) -> float:
        """Standardised value of a physical one."""
        if self.positive:
            return math.log(physical / self.centre) / self.width
        return (physical - self.centre) / self.width

    def error(self, standardised: float, deviation: float) -> float:
        """First-order standard deviation in physical units of a standardised one."""
        value = float(self.physical(torch.tensor(standardised, dtype=torch.float64)))
        return deviation * self.width * (value if self.positive else 1.0)

    def describe_prior(self) -> str:
        """One line of text that states the prior."""
        if self.positive:
            return f"log-normal, median {self.centre:g} {self.unit}, a factor of {math.exp(self.width):.3g} at 1 σ"
        return f"normal, {self.centre:g} ± {self.width:g} {self.unit}"


class Hyperparameters(tuple[Hyperparameter, ...]):
    """The hyperparameters of a prior, in the order of the standardised vector θ of those that are learned."""

    def learned(self) -> list[Hyperparameter]:
        """Those that a fit may move; θ holds one entry for each."""
        return [parameter for parameter in self if parameter.learned]

    @property
    def size(self) -> int:
        """Length of θ."""
        return len(self.learned())

    def physical(self, theta: torch.Tensor | None) -> list[torch.Tensor]:
        """Physical values of all hyperparameters; without θ, or for those not learned, the centres."""
        entries = iter(theta.unbind() if theta is not None else torch.zeros(self.size, dtype=torch.float64))
        return [
            parameter.physical(next(entries))
            if parameter.learned
            else torch.tensor(parameter.centre, dtype=torch.float64)
            for parameter in self
        ]

    def report(self, theta: torch.Tensor | None) -> dict[str, float]:
        """Physical values by name."""
        values = self.physical(None if theta is None else theta.detach())
        return {parameter.name: float(value) for parameter, value in zip(self, values, strict=True)}

    def errors(self, theta: torch.Tensor, covariance: torch.Tensor) -> dict[str, float]:
        """First-order standard deviations in physical units, by name, from the covariance of θ."""
        deviations = covariance.diagonal().sqrt()
        return {
            parameter.name: parameter.error(float(value), float(deviation))
            for parameter, value, deviation in zip(self.learned(), theta, deviations, strict=True)
        }

    def with_length_scales_from(self, shortest: float) -> torch.Tensor:
        """Entries of θ at which length scales are `shortest` pc, or where they start if that is less.

        Others have no such limit: −∞. Shape (P,).
        """
        return torch.tensor(
            [
                min(0.0, parameter.standardised(shortest)) if is_named(parameter.name, "length_scale") else -math.inf
                for parameter in self.learned()
            ],
            dtype=torch.float64,
        )

    @property
    def units(self) -> dict[str, str]:
        """Units by name."""
        return {parameter.name: parameter.unit for parameter in self}

    def fixed_except(self, names: bool | list[str]) -> Hyperparameters:
        """The same hyperparameters, of which only `names` are learned (True: all, False: none)."""
        known = [parameter.name for parameter in self]
        wanted = known if names is True else [] if names is False else list(names)
        unknown = [name for name in wanted if not any(is_named(own, name) for own in known)]
        if unknown:
            raise ValueError(f"no hyperparameter is called {unknown[0]!r}; there are {', '.join(known)}")
        return Hyperparameters(
            replace(parameter, learned=any(is_named(parameter.name, name) for name in wanted)) for parameter in self
        )


def is_named(own: str, asked: str) -> bool:
    """Whether a hyperparameter answers to a name: its own, or that of its family (length_scale for length_scale_x)."""
    return own == asked or own.startswith(asked + "_")
