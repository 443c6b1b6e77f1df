"""Sections of plain values, checked key by key: what every configuration of gpdust has in common."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from pathlib import Path

import astropy.units as u

from gpdust.config.kinds import Kind, TableKind
from gpdust.errors import ConfigError
from gpdust.units import as_array


def read_toml(path: str | os.PathLike, hint: str) -> dict[str, object]:
    """Read a TOML file.

    Parameters
    ----------
    path : path-like
    hint : str
        What to do where there is none, for the error.

    Raises
    ------
    ConfigError
        If there is no such file, or it is not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration '{path}'; {hint}") from None
    except IsADirectoryError:
        raise ConfigError(f"'{path}' is a folder; give the configuration file itself") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' is not a TOML file: {error}") from None


def read_section(section: type, given: Mapping[str, object], name: str, where: str) -> object:
    """Check the keys of one section and make it.

    Parameters
    ----------
    section : type
        A dataclass whose fields were declared by `gpdust.config.sections.key`.
    given : mapping
        Key -> plain value.
    name, where : str
        What errors call the section and the configuration.

    Raises
    ------
    ConfigError
        Naming section and key; an unknown one with the nearest known.
    """
    known = {key.name: key for key in fields(section)}
    check_known(given, known, f"{where}: [{name}]", "key", repr)
    for key in known.values():
        if key.name not in given and _is_needed(key):
            raise ConfigError(f"{where}: [{name}] needs the key '{key.name}': {key.metadata['kind'].words}")
    return section(
        **{key: read_value(known[key].metadata["kind"], value, name, key, where) for key, value in given.items()}
    )


def require_section(given: object, name: str, where: str) -> None:
    """Raise ConfigError where a key stands in the place of a section."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: [{name}] must be a section with keys, got {name} = {given!r}")


def plain_section(section: object) -> dict[str, object]:
    """Return plain values in the units of the file; keys that were left out are absent."""
    return {key.name: _plain(value) for key in fields(section) if (value := getattr(section, key.name)) is not None}


def read_value(kind: Kind, given: object, section: str, key: str, where: str) -> object:
    """Turn a plain value into what its kind says, or raise ConfigError naming section and key."""
    if isinstance(kind, TableKind):
        name = f"{section}.{key}"
        if not isinstance(given, Mapping):
            raise ConfigError(f"{where}: [{name}] must be a section with keys, got {key} = {given!r}")
        check_known(given, kind.names, f"{where}: [{name}]", "key", repr)
        return {entry: read_value(kind.kind, value, name, entry, where) for entry, value in given.items()}
    try:
        return kind.parse(given)
    except ValueError:
        raise ConfigError(f"{where}: [{section}] {key} must be {kind.words}, got {_shown(given)}") from None


def _is_needed(key: Field) -> bool:
    return key.default is MISSING and key.default_factory is MISSING


def check_known(given: Iterable[str], known: Iterable[str], where: str, what: str, show: Callable[[str], str]) -> None:
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
