"""The sections of a configuration: every key, its kind and its default stand here and nowhere else.

To add a key, add a line. [prior] and [fit] come in forms, which one of their keys tells apart: see `FORMS`.
"""

# ruff: noqa: RUF009 - `key` is called once for each key, and what it makes never changes

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

import astropy.units as u
import numpy as np

from gpdust.catalogue import PRESETS
from gpdust.catalogue.fields import UNITS
from gpdust.catalogue.readers import READERS
from gpdust.config import kinds
from gpdust.fitting import ENGINES
from gpdust.inference import NewtonOptions, SVIOptions
from gpdust.likelihood.distance_priors import DISTANCE_PRIORS
from gpdust.likelihood.noise import NOISES
from gpdust.likelihood.treatment import DISTANCES, MEASURED
from gpdust.prior.inducing import KERNEL_NAMES, MATRIX_MEMORY
from gpdust.prior.placement import PLACEMENTS
from gpdust.prior.spectral import SPECTRAL_KERNELS
from gpdust.units import DEGREE, DENSITY, MAGNITUDE, PARSEC

PRIORS = ("spectral", "inducing")
INDUCING_ENGINES = ("natural", "svi")  # which hold a matrix of the prior
LEARN, AUTO = "learn", "auto"
B_SPACINGS = ("sin", "uniform")
DISTANCE_SPACINGS = ("linear", "log")


def key(kind: kinds.Kind, default: object = MISSING) -> object:
    """Declare a key by its kind and its default in plain TOML; None means "left out", no default "needed"."""
    metadata = {"kind": kind}
    if default is MISSING or default is None:
        return field(default=default, metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=kind.parse(default), metadata=metadata)


@dataclass(frozen=True, eq=False)
class CatalogueSection:
    """[catalogue]: which stars; see `StarCatalogue.read`, `StarCatalogue.select` and `hold_out_sightlines`."""

    path: Path = key(kinds.path())
    preset: str | None = key(kinds.choice(PRESETS), None)
    band: str | None = key(kinds.text(), None)
    quantity: str | None = key(kinds.text(), None)
    reference: str | None = key(kinds.text(), None)
    format: str | None = key(kinds.choice(READERS), None)
    strict: bool = key(kinds.flag(), False)
    max_distance_error_fraction: float | None = key(kinds.number(above=0), None)
    max_extinction_error: u.Quantity | None = key(kinds.number(MAGNITUDE, above=0), None)
    hold_out: float = key(kinds.part(), 0.0)
    columns: Mapping[str, str | tuple[str, str]] = key(kinds.table(UNITS, kinds.column()), {})
    units: Mapping[str, str] = key(kinds.table(UNITS, kinds.unit()), {})


@dataclass(frozen=True, eq=False)
class RegionSection:
    """[region]: where; see `Region`."""

    l: u.Quantity = key(kinds.pair(DEGREE, "l = [50, 90]"))
    b: u.Quantity = key(kinds.pair(DEGREE, "b = [-10, 10]"))
    distance: u.Quantity = key(kinds.pair(PARSEC, "distance = [180, 500]"))
    foreground_cells: int | str = key(kinds.whole_or(AUTO, 0), 0)
    background: u.Quantity | str = key(kinds.number_or(AUTO, PARSEC, at_least=0), AUTO)


@dataclass(frozen=True, eq=False)
class GridSection:
    """[grid]: the cells of the fit; see `Region.grid`."""

    shape: tuple[int, int, int] = key(kinds.shape(), [20, 20, 35])
    b_spacing: str = key(kinds.choice(B_SPACINGS), "sin")
    distance_spacing: str = key(kinds.choice(DISTANCE_SPACINGS), "linear")


@dataclass(frozen=True, eq=False)
class PriorSection:
    """[prior]: the Gaussian process; the keys that all forms have."""

    kind: str = key(kinds.choice(PRIORS), PRIORS[0])
    kernel: str | tuple[str, ...] = key(kinds.one_or_more(kinds.choice(SPECTRAL_KERNELS)), "matern32")
    length_scale: u.Quantity = key(kinds.lengths(PARSEC), 30)
    amplitude: float | tuple[float, ...] = key(kinds.one_or_more(kinds.number(above=0)), 0.2)
    mean_density: u.Quantity = key(kinds.number(DENSITY, above=0), 1e-3)
    learn: bool | tuple[str, ...] = key(kinds.flag_or_names(), True)

    def check(self) -> None:
        """Raise ValueError where keys do not fit each other."""
        shape, amplitudes = self.length_scale.shape, np.shape(self.amplitude)
        if isinstance(self.kernel, str):
            if shape not in ((), (3,)):
                raise ValueError(
                    "length_scale must be a positive number (pc), or three of them (x, y, z), for one kernel, "
                    f"got {self.length_scale.value.tolist()}"
                )
            if amplitudes:
                raise ValueError(f"amplitude must be one number (dex) for one kernel, got {list(self.amplitude)}")
            return
        parts = len(self.kernel)
        for name, given, count in (
            ("length_scale", self.length_scale.value.tolist(), shape[:1]),
            ("amplitude", self.amplitude, amplitudes),
        ):
            if count != (parts,):
                found = f"a list of {count[0]}" if count else f"{given:g}"
                each = ", each a number (pc) or three (x, y, z)" if name == "length_scale" else " (dex)"
                raise ValueError(
                    f"{name} must be a list of {parts}{each}, one for each part of the sum in kernel, got {found}"
                )


@dataclass(frozen=True, eq=False)
class SpectralSection(PriorSection):
    """[prior] of kind "spectral"; see `SpectralGP`."""

    box_spacing: u.Quantity | None = key(kinds.number(PARSEC, above=0), None)


@dataclass(frozen=True, eq=False)
class InducingSection(PriorSection):
    """[prior] of kind "inducing"; see `InducingGP`."""

    kind: str = key(kinds.choice(PRIORS), "inducing")
    kernel: str | tuple[str, ...] = key(kinds.one_or_more(kinds.choice(SPECTRAL_KERNELS)), "rbf")
    inducing: int = key(kinds.whole(1), 1000)
    length_scale: u.Quantity = key(kinds.lengths(PARSEC), 20)
    amplitude: float | tuple[float, ...] = key(kinds.one_or_more(kinds.number(above=0)), 0.3)
    placement: str = key(kinds.choice(PLACEMENTS), "kmeans")
    learn_inducing: bool = key(kinds.flag(), False)
    matrix_memory: float = key(kinds.number(at_least=0), MATRIX_MEMORY)

    def check(self) -> None:
        """Raise ValueError where keys do not fit each other."""
        for name in (self.kernel,) if isinstance(self.kernel, str) else self.kernel:
            if name not in KERNEL_NAMES:
                raise ValueError(
                    f'kernel "{name}" needs kind = "spectral" (and no key of inducing points); a prior on inducing '
                    f"points takes {', '.join(KERNEL_NAMES)}"
                )
        super().check()


@dataclass(frozen=True, eq=False)
class LikelihoodSection:
    """[likelihood]: what becomes of the stars' errors; see `StarTreatment`."""

    distance: str = key(kinds.choice(DISTANCES), DISTANCES[0])
    distance_prior: str | None = key(kinds.choice(DISTANCE_PRIORS), None)
    measured: str | None = key(kinds.choice(MEASURED), None)
    noise: str = key(kinds.choice(NOISES), "gaussian")
    extra_scatter: float | str = key(kinds.number_or(LEARN, at_least=0), 0.0)
    proportional_scatter: float | str = key(kinds.number_or(LEARN, at_least=0), 0.0)
    degrees_of_freedom: float | str | None = key(kinds.number_or(LEARN, above=0), None)
    bad_share: float | str | None = key(kinds.number_or(LEARN, above=0), None)
    bad_width: u.Quantity | None = key(kinds.number(MAGNITUDE, above=0), None)
    asymmetric: bool = key(kinds.flag(), False)
    beyond: u.Quantity | None = key(kinds.number(MAGNITUDE, above=0), None)
    foreground_density: u.Quantity | None = key(kinds.number(DENSITY, above=0), None)

    def check(self) -> None:
        """Raise ValueError where keys do not fit each other."""
        owners = {"degrees_of_freedom": "student-t", "bad_share": "mixture", "bad_width": "mixture"}
        for name, owner in owners.items():
            if getattr(self, name) is not None and self.noise != owner:
                raise ValueError(f'{name} belongs to noise = "{owner}", not to "{self.noise}"')
        if isinstance(self.bad_share, float) and self.bad_share >= 1:
            raise ValueError(f"bad_share must be below 1, got {self.bad_share:g}")

    def learned(self) -> list[str]:
        """The keys of what a fit learns of the noise; what one kind of noise has alone is learned unless given."""
        own = {"student-t": "degrees_of_freedom", "mixture": "bad_share"}.get(self.noise)
        keys = ("extra_scatter", "proportional_scatter", "degrees_of_freedom", "bad_share")
        return [key for key in keys if getattr(self, key) == LEARN or (key == own and getattr(self, key) is None)]


STARTS = ("prior", "vnet")


@dataclass(frozen=True, eq=False)
class FitSection:
    """[fit]: the engine; the keys that all forms have. All others are settings of the engine."""

    engine: str = key(kinds.choice(ENGINES), ENGINES[0])
    seed: int = key(kinds.seed(), 0)
    start: str = key(kinds.choice(STARTS), STARTS[0])


@dataclass(frozen=True, eq=False)
class NewtonSection(FitSection):
    """[fit] with engine "natural" or "mgvi", or "auto" where it takes one of them; see `NewtonOptions`."""

    samples: int | str = key(kinds.even_or(AUTO, 2), NewtonOptions.samples)
    max_steps: int = key(kinds.whole(1), NewtonOptions.max_steps)
    tolerance: float = key(kinds.number(above=0), NewtonOptions.tolerance)


@dataclass(frozen=True, eq=False)
class SVISection(FitSection):
    """[fit] with engine "svi"; see `SVIOptions`."""

    engine: str = key(kinds.choice(ENGINES), "svi")
    max_steps: int = key(kinds.whole(1), SVIOptions.max_steps)
    particles: int = key(kinds.whole(2), SVIOptions.particles)
    natural_gradients: bool = key(kinds.flag(), SVIOptions.natural_gradients)
    tolerance: float = key(kinds.number(above=0), SVIOptions.tolerance)


@dataclass(frozen=True, eq=False)
class MapsSection:
    """[maps]: the products; see `Posterior.percentiles`."""

    shape: tuple[int, int, int] = key(kinds.shape(), [100, 100, 105])
    percentiles: tuple[float, ...] = key(kinds.percentiles(), [16, 50, 84])
    samples: int = key(kinds.whole(1), 100)
    seed: int = key(kinds.seed(), 0)
    b_spacing: str = key(kinds.choice(B_SPACINGS), "uniform")
    distance_spacing: str = key(kinds.choice(DISTANCE_SPACINGS), "linear")


@dataclass(frozen=True)
class Forms:
    """The forms of a section, which one of its keys tells apart.

    Attributes
    ----------
    key : str
        The key that tells.
    of : mapping of str to type
        Its values -> section; the first is taken where nothing tells.
    """

    key: str
    of: Mapping[str, type]

    def keys(self) -> list[str]:
        """The keys of all forms."""
        return list(dict.fromkeys(entry.name for section in self.of.values() for entry in fields(section)))

    def owners(self, name: str) -> list[str]:
        """Values of the telling key that go with another key."""
        return [value for value, section in self.of.items() if name in section.__dataclass_fields__]

    def telling(self, given: Iterable[str]) -> str | None:
        """The first key of those given that does not go with the default form, but with others."""
        default = next(iter(self.of))
        return next((name for name in given if (owners := self.owners(name)) and default not in owners), None)

    def choose(self, given: Mapping[str, object]) -> str:
        """The form that is meant: the one named, else that of a key which no other has, else the default.

        So a file written before there were forms goes on meaning what it meant.
        """
        if self.key in given:
            return given[self.key]
        telling = self.telling(given)
        return self.owners(telling)[0] if telling else next(iter(self.of))


FORMS = {
    "prior": Forms("kind", {"spectral": SpectralSection, "inducing": InducingSection}),
    "fit": Forms("engine", {name: SVISection if name == "svi" else NewtonSection for name in ENGINES}),
}
