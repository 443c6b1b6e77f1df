"""A quantity with its posterior draws: median, 68 % interval, mean, standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np


@dataclass(frozen=True)
class Estimate:
    """Posterior draws of a quantity, and what is usually said of them.

    Attributes
    ----------
    samples : Quantity, shape (draws, ...)
        Joint draws.
    """

    samples: u.Quantity

    def percentile(self, percentile: float | list[float]) -> u.Quantity:
        """Percentile(s) over the draws; several come along a new first axis.

        The k-th smallest of n draws is the percentile k / (n + 1), so that an interval holds what it says.
        """
        return np.percentile(self.samples, percentile, axis=0, method="weibull")

    @property
    def median(self) -> u.Quantity:
        """50th percentile."""
        return self.percentile(50)

    @property
    def lower(self) -> u.Quantity:
        """16th percentile."""
        return self.percentile(16)

    @property
    def upper(self) -> u.Quantity:
        """84th percentile."""
        return self.percentile(84)

    @property
    def error(self) -> u.Quantity:
        """Half of the 68 % interval."""
        return (self.upper - self.lower) / 2

    @property
    def mean(self) -> u.Quantity:
        """Posterior mean."""
        return self.samples.mean(axis=0)

    @property
    def std(self) -> u.Quantity:
        """Posterior standard deviation."""
        return self.samples.std(axis=0, ddof=1)

    def __str__(self) -> str:
        lower, median, upper = (value.value for value in self.percentile([16, 50, 84]))
        if median.ndim:
            with np.printoptions(precision=4):
                return f"median {median}, 68 % from {lower} to {upper} {self.samples.unit}"
        return f"{median:.4g} (+{upper - median:.2g} −{median - lower:.2g}) {self.samples.unit}"

    __repr__ = __str__
