"""The sections of a configuration: every key, its kind and its default stand here and nowhere else.

To add a key, add a line.
"""

# ruff: noqa: RUF009 - `key` is called once for each key, and what it makes never changes

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path

import astropy.units as u

from gpdust.catalogue import PRESETS
from gpdust.catalogue.fields import UNITS
from gpdust.catalogue.readers import READERS
from gpdust.config import kinds
from gpdust.fitting import ENGINES
from gpdust.inference import SVIOptions
from gpdust.prior.inducing import KERNEL_NAMES
from gpdust.prior.placement import PLACEMENTS
from gpdust.units import DEGREE, DENSITY, MAGNITUDE, PARSEC

PRIORS = ("inducing",)
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
    """[catalogue]: which stars; see `StarCatalogue.read` and `StarCatalogue.select`."""

    path: Path = key(kinds.path())
    preset: str | None = key(kinds.choice(PRESETS), None)
    band: str | None = key(kinds.text(), None)
    quantity: str | None = key(kinds.text(), None)
    reference: str | None = key(kinds.text(), None)
    format: str | None = key(kinds.choice(READERS), None)
    strict: bool = key(kinds.flag(), False)
    max_distance_error_fraction: float | None = key(kinds.number(above=0), None)
    max_extinction_error: u.Quantity | None = key(kinds.number(MAGNITUDE, above=0), None)
    columns: Mapping[str, str | tuple[str, str]] = key(kinds.table(UNITS, kinds.column()), {})
    units: Mapping[str, str] = key(kinds.table(UNITS, kinds.unit()), {})


@dataclass(frozen=True, eq=False)
class RegionSection:
    """[region]: where; see `Region`."""

    l: u.Quantity = key(kinds.pair(DEGREE, "l = [50, 90]"))
    b: u.Quantity = key(kinds.pair(DEGREE, "b = [-10, 10]"))
    distance: u.Quantity = key(kinds.pair(PARSEC, "distance = [180, 500]"))
    foreground_cells: int = key(kinds.whole(0), 0)
    background: u.Quantity = key(kinds.number(PARSEC, at_least=0), 0)


@dataclass(frozen=True, eq=False)
class GridSection:
    """[grid]: the cells of the fit; see `Region.grid`."""

    shape: tuple[int, int, int] = key(kinds.shape(), [20, 20, 35])
    b_spacing: str = key(kinds.choice(B_SPACINGS), "sin")
    distance_spacing: str = key(kinds.choice(DISTANCE_SPACINGS), "linear")


@dataclass(frozen=True, eq=False)
class PriorSection:
    """[prior]: the Gaussian process; see `InducingGP`."""

    kind: str = key(kinds.choice(PRIORS), "inducing")
    kernel: str = key(kinds.choice(KERNEL_NAMES), "rbf")
    inducing: int = key(kinds.whole(1), 1000)
    length_scale: u.Quantity = key(kinds.one_or_three(PARSEC), 20)
    amplitude: float = key(kinds.number(above=0), 0.3)
    mean_density: u.Quantity = key(kinds.number(DENSITY, above=0), 1e-3)
    placement: str = key(kinds.choice(PLACEMENTS), "kmeans")
    learn: bool | tuple[str, ...] = key(kinds.flag_or_names(), True)
    learn_inducing: bool = key(kinds.flag(), False)


@dataclass(frozen=True, eq=False)
class LikelihoodSection:
    """[likelihood]: how stars scatter about the map; see `DustModel`."""

    extra_scatter: u.Quantity = key(kinds.number(MAGNITUDE, at_least=0), 0.0)


@dataclass(frozen=True, eq=False)
class FitSection:
    """[fit]: the engine and its settings; see `SVIOptions`."""

    engine: str = key(kinds.choice(ENGINES), ENGINES[0])
    seed: int = key(kinds.whole(0), 0)
    max_steps: int = key(kinds.whole(1), SVIOptions.max_steps)
    particles: int = key(kinds.whole(2), SVIOptions.particles)
    tolerance: float = key(kinds.number(above=0), SVIOptions.tolerance)


@dataclass(frozen=True, eq=False)
class MapsSection:
    """[maps]: the products; see `Posterior.percentiles`."""

    shape: tuple[int, int, int] = key(kinds.shape(), [100, 100, 105])
    percentiles: tuple[float, ...] = key(kinds.percentiles(), [16, 50, 84])
    samples: int = key(kinds.whole(1), 100)
    seed: int = key(kinds.whole(0), 0)
    b_spacing: str = key(kinds.choice(B_SPACINGS), "uniform")
    distance_spacing: str = key(kinds.choice(DISTANCE_SPACINGS), "linear")
