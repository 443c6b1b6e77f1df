"""The kinds of values that a key may have: each says in words what it wants, and turns plain TOML into it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u

from gpdust.units import as_quantity

HIGHEST = sys.float_info.max
MOST_SEED = 2**63 - 1  # that torch takes


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes
    ----------
    words : str
        What it wants, to follow "must be" in an error.
    parse : callable
        Plain value of TOML to what gpdust uses; raises ValueError on any other.
    """

    words: str
    parse: Callable[[object], object]


def text() -> Kind:
    """Any text."""
    return Kind("text in quotes", _text)


def path() -> Kind:
    """A file; a relative path is taken from the folder of the configuration."""
    return Kind("a path in quotes", lambda value: Path(os.path.expanduser(_text(value))))


def flag() -> Kind:
    """Yes or no."""
    return Kind("true or false", _flag)


def choice(names: Iterable[str]) -> Kind:
    """One of some names."""
    names = tuple(names)

    def parse(value: object) -> str:
        if value not in names:
            raise ValueError
        return value

    return Kind("one of " + ", ".join(f'"{name}"' for name in names), parse)


def flag_or_names() -> Kind:
    """All (true), none (false), or some by name."""
    return Kind(
        "true, false or a list of names",
        lambda value: value if isinstance(value, bool) else tuple(_text(name) for name in _list(value)),
    )


def column(several: bool = True) -> Kind:
    """A column, or a pair of them."""

    def parse(value: object) -> str | tuple[str, str]:
        if isinstance(value, str):
            return value
        return tuple(_text(name) for name in _list(value, 2))

    return Kind("the name of a column, or [p16, p84] for an error", parse)


def unit() -> Kind:
    """A unit that astropy knows."""

    def parse(value: object) -> str:
        u.Unit(_text(value))
        return value

    return Kind('a unit in quotes, such as "kpc"', parse)


def table(names: Iterable[str], kind: Kind) -> Kind:
    """A table of its own with known keys; `Config` reads it, so that its errors name the key."""
    return TableKind("a table", dict, tuple(names), kind)


@dataclass(frozen=True)
class TableKind(Kind):
    """A table whose keys are `names` and whose values are all of one kind."""

    names: tuple[str, ...]
    kind: Kind


def whole(at_least: int) -> Kind:
    """A whole number."""
    return Kind(f"a whole number, {at_least} or more", lambda value: _whole(value, at_least))


def seed() -> Kind:
    """A seed of random numbers."""
    return Kind("a whole number from 0 to 2⁶³ − 1", lambda value: _whole(value, 0, MOST_SEED))


def whole_or(word: str, at_least: int) -> Kind:
    """A whole number, or a word."""
    return Kind(
        f'a whole number, {at_least} or more, or "{word}"',
        lambda value: word if value == word else _whole(value, at_least),
    )


def number_or(word: str, unit: u.UnitBase | None = None, above: float = -math.inf, at_least: float = -math.inf) -> Kind:
    """A number, which with a unit becomes a Quantity, or a word."""
    wanted = number(unit, above, at_least)
    return Kind(f'{wanted.words}, or "{word}"', lambda value: word if value == word else wanted.parse(value))


def shape() -> Kind:
    """Cells along l, b and distance."""
    return Kind(
        "three positive whole numbers (cells along l, b and distance)",
        lambda value: tuple(_whole(n, 1) for n in _list(value, 3)),
    )


def number(unit: u.UnitBase | None = None, above: float = -math.inf, at_least: float = -math.inf) -> Kind:
    """A number; with a unit, it becomes a Quantity."""
    least = "positive " if above == 0 else ""
    bound = f", {at_least:g} or more" if math.isfinite(at_least) else ""
    return Kind(f"a {least}number{_in(unit)}{bound}", lambda value: _give_unit(_number(value, above, at_least), unit))


def pair(unit: u.UnitBase, example: str) -> Kind:
    """Two numbers, from and to."""
    return Kind(
        f"two numbers{_in(unit)}, such as {example}",
        lambda value: _give_unit([_number(end) for end in _list(value, 2)], unit),
    )


def interval(example: str, above: float = -math.inf, at_least: float = -math.inf) -> Kind:
    """Two numbers, the lower one first; they may be equal."""
    least = "positive " if above == 0 else ""

    def parse(value: object) -> tuple[float, float]:
        low, high = (_number(end, above, at_least) for end in _list(value, 2))
        if low > high:
            raise ValueError
        return low, high

    return Kind(f"two {least}numbers, the lower one first, such as {example}", parse)


def share() -> Kind:
    """A part of all."""

    def parse(value: object) -> float:
        if _number(value, at_least=0) > 1:
            raise ValueError
        return float(value)

    return Kind("a number from 0 to 1", parse)


def part() -> Kind:
    """A share of all, but not all."""
    return Kind("a number from 0 on, below 1", lambda value: _number(value, at_least=0, below=1))


def some_of(names: Iterable[str]) -> Kind:
    """Some names out of several, each once, in an order that counts."""
    one = choice(names)

    def parse(value: object) -> tuple[str, ...]:
        found = tuple(one.parse(name) for name in _list(value))
        if not found or len(set(found)) < len(found):
            raise ValueError
        return found

    return Kind(f"a list, each entry once, each {one.words}", parse)


def even_or(word: str, at_least: int) -> Kind:
    """A whole number that is even, or a word."""

    def parse(value: object) -> int | str:
        if value == word:
            return word
        if _whole(value, at_least) % 2:
            raise ValueError
        return int(value)

    return Kind(f'an even whole number, {at_least} or more, or "{word}"', parse)


def one_or_more(kind: Kind) -> Kind:
    """One value of a kind, or a list of them for a sum of kernels."""

    def parse(value: object) -> object:
        if not isinstance(value, list | tuple):
            return kind.parse(value)
        if not value:
            raise ValueError
        return tuple(kind.parse(entry) for entry in value)

    return Kind(f"{kind.words}, or a list of these for a sum", parse)


def lengths(unit: u.UnitBase) -> Kind:
    """Positive lengths: one, one for each of x, y, z, or a list of either for a sum of kernels.

    A list of three numbers means x, y, z of one kernel as well as a number for each of three: what it means, and
    whether its length is right, is known only together with the kernel.
    """

    def parse(value: object) -> object:
        if not isinstance(value, list | tuple):
            return _give_unit(_number(value, 0), unit)
        parts = [[_number(n, 0) for n in _list(p, 3)] if isinstance(p, list | tuple) else _number(p, 0) for p in value]
        if not parts:
            raise ValueError
        if any(isinstance(part, list) for part in parts):
            parts = [part if isinstance(part, list) else [part] * 3 for part in parts]
        return _give_unit(parts, unit)

    return Kind(f"a positive number{_in(unit)}, or three of them (x, y, z), or a list of these for a sum", parse)


def percentiles() -> Kind:
    """A list of percentiles."""

    def parse(value: object) -> tuple[float, ...]:
        found = tuple(_number(n, at_least=0) for n in _list(value))
        if not found or max(found) > 100:
            raise ValueError
        return found

    return Kind("a list of numbers between 0 and 100", parse)


def _in(unit: u.UnitBase | None) -> str:
    return f" ({unit})" if unit else ""


def _give_unit(value: float | list[float], unit: u.UnitBase | None) -> object:
    return value if unit is None else as_quantity(value, unit)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _number(value: object, above: float = -math.inf, at_least: float = -math.inf, below: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if not -HIGHEST <= value <= HIGHEST:  # an integer may be beyond all floats
        raise ValueError
    if value <= above or value < at_least or value >= below:
        raise ValueError
    return float(value)


def _whole(value: object, at_least: int, at_most: int | None = None) -> int:
    _number(value, at_least=at_least)
    if value != int(value) or (at_most is not None and value > at_most):
        raise ValueError
    return int(value)


def _list(value: object, length: int | None = None) -> list:
    if not isinstance(value, list | tuple) or (length is not None and len(value) != length):
        raise ValueError
    return list(value)
