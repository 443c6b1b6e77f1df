"""A configuration: read from TOML, checked key by key, and written back as plain values."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import get_type_hints

import astropy.units as u

from gpdust.config.kinds import Kind, TableKind
from gpdust.config.sections import (
    FORMS,
    INDUCING_ENGINES,
    CatalogueSection,
    FitSection,
    Forms,
    GridSection,
    LikelihoodSection,
    MapsSection,
    PriorSection,
    RegionSection,
)
from gpdust.errors import ConfigError
from gpdust.units import as_array


@dataclass(frozen=True, eq=False)
class Config:
    """All that decides a fit and its products.

    Attributes
    ----------
    catalogue, region, grid, prior, likelihood, fit, maps : section
        The sections of the file, with defaults filled in and units attached. What keys [prior] and [fit] have depends
        on the kind of prior and on the engine.

    Examples
    --------
    >>> config = Config.from_dict(
    ...     {"catalogue": {"path": "stars.fits"}, "region": {"l": [50, 90], "b": [-10, 10], "distance": [180, 500]}}
    ... )
    >>> config.region.distance
    <Quantity [180., 500.] pc>
    >>> config.grid.shape
    (20, 20, 35)
    """

    catalogue: CatalogueSection
    region: RegionSection
    grid: GridSection
    prior: PriorSection
    likelihood: LikelihoodSection
    fit: FitSection
    maps: MapsSection

    @classmethod
    def read(cls, path: str | os.PathLike) -> Config:
        """Read a TOML file.

        Parameters
        ----------
        path : path-like
            Paths in the file count from its folder.

        Raises
        ------
        ConfigError
            If there is no such file, it is not TOML, or a key or a value is not what it should be.
        """
        path = Path(path)
        try:
            record = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"there is no configuration '{path}'; `gpdust init CATALOGUE` writes one") from None
        except IsADirectoryError:
            raise ConfigError(f"'{path}' is a folder; give the configuration file itself") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"'{path}' is not a TOML file: {error}") from None
        return cls.from_dict(record, path.parent, str(path))

    @classmethod
    def from_dict(
        cls, record: Mapping[str, object], folder: str | os.PathLike = ".", where: str = "the configuration"
    ) -> Config:
        """Check plain values and make a configuration of them.

        Parameters
        ----------
        record : mapping
            Section -> key -> plain value, as TOML gives it.
        folder : path-like
            Where relative paths count from.
        where : str
            What errors call the configuration.

        Raises
        ------
        ConfigError
            Naming section and key; an unknown one with the nearest known.
        """
        sections = get_type_hints(cls)
        _check_known(record, sections, where, "section", "[{}]".format)
        made = {name: _section(section, record.get(name, {}), name, where) for name, section in sections.items()}
        stars = made["catalogue"]
        _check_together(made["prior"], made["fit"], where)
        made["catalogue"] = replace(stars, path=Path(os.path.abspath(Path(folder) / stars.path)))
        return cls(**made)

    def as_dict(self) -> dict[str, dict[str, object]]:
        """Return plain values in the units of the file, for JSON or `from_dict`; keys that were left out are absent."""
        return {
            section.name: {
                key.name: _plain(value)
                for key in fields(getattr(self, section.name))
                if (value := getattr(getattr(self, section.name), key.name)) is not None
            }
            for section in fields(self)
        }


def _section(section: type, given: object, name: str, where: str) -> object:
    """Check the keys of one section and make it."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: [{name}] must be a section with keys, got {name} = {given!r}")
    if forms := FORMS.get(name):
        section = _form(forms, given, name, where)
    known = {key.name: key for key in fields(section)}
    _check_known(given, known, f"{where}: [{name}]", "key", repr)
    for key in known.values():
        if key.name not in given and _is_needed(key):
            raise ConfigError(f"{where}: [{name}] needs the key '{key.name}': {key.metadata['kind'].words}")
    made = section(
        **{key: _value(known[key].metadata["kind"], value, name, key, where) for key, value in given.items()}
    )
    if isinstance(made, PriorSection | LikelihoodSection):
        try:
            made.check()
        except ValueError as error:
            raise ConfigError(f"{where}: [{name}] {error}") from None
    return made


def _form(forms: Forms, given: Mapping[str, object], name: str, where: str) -> type:
    """The form of a section that is meant; a key that only others have is refused, saying so."""
    _check_known(given, forms.keys(), f"{where}: [{name}]", "key", repr)
    choice = forms.choose(given)
    if not isinstance(choice, str) or choice not in forms.of:
        of_key = next(iter(forms.of.values())).__dataclass_fields__[forms.key]
        _value(of_key.metadata["kind"], choice, name, forms.key, where)  # raises
    for key in given:
        if choice not in (owners := forms.owners(key)):
            *others, last = (f'"{owner}"' for owner in owners)
            wanted = f"{', '.join(others)} or {last}" if others else last
            why = "" if forms.key in given else f" (as the key '{forms.telling(given)}' says)"
            raise ConfigError(
                f"{where}: [{name}] {key} goes with {forms.key} = {wanted}, but here it is "
                f'"{choice}"{why}; leave {key} out, or change {forms.key}'
            )
    return forms.of[choice]


def _check_together(prior: PriorSection, fit: FitSection, where: str) -> None:
    """Refuse an engine that can't fit the prior."""
    if fit.engine in INDUCING_ENGINES and prior.kind != "inducing":
        raise ConfigError(
            f'{where}: [fit] engine "{fit.engine}" needs [prior] kind = "inducing", but it is "{prior.kind}"; '
            'take engine = "mgvi" or "auto", or a prior on inducing points'
        )
    if getattr(prior, "learn_inducing", False) and fit.engine != "svi":
        raise ConfigError(
            f'{where}: [prior] learn_inducing = true needs [fit] engine = "svi", but it is "{fit.engine}"; '
            "the other engines leave inducing points where they are"
        )


def _value(kind: Kind, given: object, section: str, key: str, where: str) -> object:
    if isinstance(kind, TableKind):
        name = f"{section}.{key}"
        if not isinstance(given, Mapping):
            raise ConfigError(f"{where}: [{name}] must be a section with keys, got {key} = {given!r}")
        _check_known(given, kind.names, f"{where}: [{name}]", "key", repr)
        return {entry: _value(kind.kind, value, name, entry, where) for entry, value in given.items()}
    try:
        return kind.parse(given)
    except ValueError:
        raise ConfigError(f"{where}: [{section}] {key} must be {kind.words}, got {_shown(given)}") from None


def _is_needed(key: Field) -> bool:
    return key.default is MISSING and key.default_factory is MISSING


def _check_known(given: Iterable[str], known: Iterable[str], where: str, what: str, show: Callable[[str], str]) -> None:
    """Refuse a name that is not known, with the nearest that is."""
    known = list(known)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean {show(near[0])}?" if near else f"there are {', '.join(map(show, known))}"
            raise ConfigError(f"{where} has no {what} {show(name)}; {hint}")


def _shown(value: object) -> str:
    """A value the way TOML spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _plain(value: object) -> object:
    if isinstance(value, u.Quantity):
        return as_array(value, value.unit, "value").tolist()
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
