"""How a measured extinction scatters about the true one: Gaussian, Student-t, or good and bad stars."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
from scipy.special import betaln, digamma, stdtrit

from gpdust.errors import ConfigError
from gpdust.likelihood.noise_density import GAUSSIAN, MIXTURE, RATIOS, STUDENT, NoiseNumbers


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Gaussian noise, and what all kinds of noise have in common.

    A star's own variance σ² becomes σ² + extra² + (proportional · A)², with A what its neighbours measured (see
    `local_extinction`): that of the map would let the fit raise the noise where it does not fit. Lower and upper errors
    that differ make a split normal (or split Student-t) of the density.

    Attributes
    ----------
    extra : float
        Scatter on top of the stated errors, mag.
    proportional : float
        Scatter on top of the stated errors as a share of the extinction about the star.

    Notes
    -----
    Parameters are learned as an unconstrained vector: the logarithm of a positive number, the logit of a share. Those
    that are zero are absent from it, and stay zero.
    """

    code: ClassVar[int] = GAUSSIAN
    extra: float = 0.0
    proportional: float = 0.0

    def __post_init__(self) -> None:
        self._require(0 <= self.extra < math.inf, "extra scatter must not be negative", self.extra)
        self._require(0 <= self.proportional < math.inf, "proportional scatter must not be negative", self.proportional)

    @staticmethod
    def _require(condition: bool, message: str, value: float) -> None:
        if not condition:
            raise ConfigError(f"noise: {message}, not {value:g}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters, in the order of the vector."""
        return tuple(name for name in self._free() if getattr(self, name) > 0)

    def parameters(self) -> np.ndarray:
        """Free parameters as an unconstrained vector, shape (parameters,)."""
        return np.array([self._free()[name][0](getattr(self, name)) for name in self.names])

    def with_parameters(self, vector: np.ndarray) -> Self:
        """The same kind of noise with other parameters; undoes `parameters`."""
        return replace(self, **{n: float(self._free()[n][1](x)) for n, x in zip(self.names, vector, strict=True)})

    def description(self) -> dict:
        """Kind and numbers, as plain data; see `noise_from`."""
        return {"kind": KINDS_BY_CODE[self.code], **asdict(self)}

    def times(self, factor: float) -> Self:
        """All its widths so many times as large."""
        return replace(self, extra=factor * self.extra, proportional=factor * self.proportional)

    def slope(self, by_variance: np.ndarray, by_squared: np.ndarray, by_shape: np.ndarray) -> np.ndarray:
        """Derivative of log L by the free parameters.

        Parameters
        ----------
        by_variance : ndarray, shape (...,)
            Σ ∂log L_i / ∂σ_i².
        by_squared : ndarray, shape (...,)
            The same, each star times the square of its local extinction.
        by_shape : ndarray, shape (...,)
            Derivative by the parameter of the shape, unconstrained.

        Returns
        -------
        ndarray, shape (..., parameters)
        """
        slopes = {
            "extra": 2 * self.extra**2 * by_variance,
            "proportional": 2 * self.proportional**2 * by_squared,
        }
        found = [slopes.get(name, by_shape) for name in self.names]
        return np.stack(found, -1) if found else np.zeros((*np.shape(by_shape), 0))

    def numbers(self) -> NoiseNumbers:
        """What the compiled pass over the stars needs to know."""
        return NoiseNumbers(self.code, self._shape(), self.extra**2, self.proportional**2, *self._deviations())

    def _free(self) -> dict:
        return {"extra": (math.log, math.exp), "proportional": (math.log, math.exp)}

    def _shape(self) -> np.ndarray:
        return np.zeros(1)

    def _deviations(self) -> tuple[np.ndarray, np.ndarray]:
        """Deviations to simulate, and their shares, shape (deviations, ratios); see `NoiseNumbers`."""
        return np.ones((1, len(RATIOS))), np.ones((1, len(RATIOS)))


class GaussianNoise(Noise):
    """The measured extinction is N(A, s²)."""


@dataclass(frozen=True, kw_only=True)
class StudentNoise(Noise):
    """A Student-t with scale s: outliers of any size, ever rarer.

    Attributes
    ----------
    degrees_of_freedom : float
        ν > 0; infinitely many make a Gaussian.
    """

    code: ClassVar[int] = STUDENT
    degrees_of_freedom: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            0 < self.degrees_of_freedom < math.inf, "degrees of freedom are positive", self.degrees_of_freedom
        )

    def _free(self) -> dict:
        return super()._free() | {"degrees_of_freedom": (math.log, math.exp)}

    def _shape(self) -> np.ndarray:
        nu = self.degrees_of_freedom
        # The Beta function, because a difference of two large ln Γ would lose all digits.
        normalisation = -betaln(nu / 2, 0.5) - 0.5 * math.log(nu)
        by_log = 0.5 * nu * (digamma((nu + 1) / 2) - digamma(nu / 2)) - 0.5
        return np.array([nu, normalisation, by_log])

    def _deviations(self) -> tuple[np.ndarray, np.ndarray]:
        """Three quantiles of |z|, since no single deviation stands for a heavy tail; shares make up for the rest."""
        nu = self.degrees_of_freedom
        nodes, shares = np.polynomial.legendre.leggauss(3)
        z = stdtrit(nu, 0.75 + 0.25 * nodes)
        score = (nu + 1) * z / (nu + z**2)
        shares *= (nu + 1) / (nu + 3) / np.sum(shares * score**2)
        return np.tile(z[:, None], len(RATIOS)), np.tile(shares[:, None], len(RATIOS))


@dataclass(frozen=True, kw_only=True)
class MixtureNoise(Noise):
    """Good stars N(A, s²), and bad ones N(A, s² + width²).

    Asymmetric errors apply to the good ones; s² of the bad ones is the mean of both sides.

    Attributes
    ----------
    bad_share : float
        Share of bad stars, 0 ≤ p < 1.
    bad_width : float
        Scatter of the bad ones, mag.
    """

    code: ClassVar[int] = MIXTURE
    bad_share: float = 0.05
    bad_width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.bad_share < 1, "the share of bad stars lies in 0 ≤ p < 1", self.bad_share)
        self._require(0 < self.bad_width < math.inf, "the width of bad stars is positive", self.bad_width)

    def times(self, factor: float) -> Self:
        """All its widths so many times as large."""
        return replace(super().times(factor), bad_width=factor * self.bad_width)

    def _free(self) -> dict:
        logit = (lambda p: math.log(p / (1 - p)), lambda x: 1 / (1 + math.exp(-x)))
        return super()._free() | {"bad_share": logit}

    def _shape(self) -> np.ndarray:
        return np.array([self.bad_share, self.bad_width**2])

    def _deviations(self) -> tuple[np.ndarray, np.ndarray]:
        return _mixture_deviations(self.bad_share)[None], np.ones((1, len(RATIOS)))


@lru_cache(maxsize=64)
def _mixture_deviations(share: float) -> np.ndarray:
    """The smallest z at which the squared score of a mixture is its mean, for every ratio of width to s in `RATIOS`."""
    found = np.empty(len(RATIOS))
    for row, ratio in enumerate(RATIOS):
        wide = 1 + ratio**2
        z = np.sinh(np.linspace(0, np.arcsinh(9 * math.sqrt(wide)), 4001))
        good, bad = (1 - share) * np.exp(-(z**2) / 2), share * np.exp(-(z**2) / (2 * wide)) / math.sqrt(wide)
        density = good + bad
        score = z * np.divide(good + bad / wide, density, out=np.full_like(z, 1 / wide), where=density > 0)
        fisher = np.trapezoid(density * score**2, z) / math.sqrt(math.pi / 2)
        after = int(np.argmax(score**2 >= fisher))
        found[row] = np.interp(math.sqrt(fisher), score[after - 1 : after + 1], z[after - 1 : after + 1])
    return found


NOISES = {"gaussian": GaussianNoise, "student-t": StudentNoise, "mixture": MixtureNoise}
KINDS_BY_CODE = {kind.code: name for name, kind in NOISES.items()}


def noise_from(description: dict) -> Noise:
    """The noise that `Noise.description` has described."""
    numbers = dict(description)
    return NOISES[numbers.pop("kind")](**numbers)
