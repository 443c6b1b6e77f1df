"""Which column of a catalogue is probably what: guesses from names, for `gpdust init` only.

A fit never guesses. What is guessed here goes into a configuration, marked, for a person to check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Common names, the likeliest first, without signs between letters; single letters count in lower case only.
VALUES: dict[str, tuple[str, ...]] = {
    "l": ("l", "glon", "gall", "galacticl", "galacticlongitude", "lgal", "gallon"),
    "b": ("b", "glat", "galb", "galacticb", "galacticlatitude", "bgal", "gallat"),
    "ra": ("ra", "raj2000", "raicrs", "alpha"),
    "dec": ("dec", "de", "dej2000", "deicrs", "decj2000", "decicrs", "delta"),
    "distance": (
        *("distance", "dist", "dist50", "distp50", "distancep50", "distance50", "distmed", "d50", "dmed"),
        *("rmedphotogeo", "rmedgeo", "rpgeo", "rgeo", "distancegspphot", "d"),
    ),
    "parallax": ("parallax", "plx"),
    "extinction": (
        *("extinction", "a0", "a0p50", "a050", "a0med", "av", "av50", "avp50", "avmed", "azerogspphot", "agspphot"),
        *("ag", "aggspphot", "ebv", "ebv50", "ebvmed", "ebmv"),
    ),
}
UNIT_SUFFIXES = ("kpc", "pc", "deg", "mag", "mas")
ERROR_NAMES = ("{}error", "{}err", "e{}", "err{}", "error{}", "sigma{}", "sig{}", "s{}", "{}sigma", "{}std", "{}unc")
LOW_HIGH = (("p16", "p84"), ("16", "84"), ("lower", "upper"), ("low", "high"), ("lo", "hi"))
MEDIANS = ("p50", "50", "median", "med")


@dataclass(frozen=True)
class Guess:
    """What the columns of a catalogue seem to be.

    Attributes
    ----------
    columns : dict
        gpdust's name -> column, or (p16, p84) pair of columns.
    missing : list of str
        What no column seems to be, in words.
    """

    columns: dict[str, str | tuple[str, str]]
    missing: list[str] = field(default_factory=list)


def guess_columns(names: Sequence[str], given: Mapping[str, str | tuple[str, str]] | None = None) -> Guess:
    """Guess which columns hold position, distance, extinction and their errors.

    Parameters
    ----------
    names : sequence of str
        The columns there are.
    given : mapping of str to str, optional
        gpdust's name -> column, where it is known; nothing else is taken for it.

    Returns
    -------
    Guess
        With l and b rather than ra and dec, and a distance rather than a parallax, where there is a choice.
    """
    columns: dict[str, str | tuple[str, str]] = dict(given or {})
    missing = []
    for what, choices in (
        ("a position (l and b, or ra and dec)", (("l", "b"), ("ra", "dec"))),
        ("a distance or a parallax", (("distance",), ("parallax",))),
        ("an extinction", (("extinction",),)),
    ):
        found = [{name: columns.get(name) or _value(name, names) for name in choice} for choice in choices]
        # What the caller gave goes before what is found by name.
        found.sort(key=lambda choice: not any(name in (given or {}) for name in choice))
        complete = next((choice for choice in found if all(choice.values())), None)
        if complete is None:
            missing.append(what)
        else:
            columns |= complete
    for value in ("distance", "parallax", "extinction"):
        error = f"{value}_error"
        if isinstance(columns.get(value), str) and error not in columns and (found := _error(columns[value], names)):
            columns[error] = found
    if "extinction" in columns and "extinction_error" not in columns:
        missing.append("the error of the extinction")
    if "parallax" in columns and "parallax_error" not in columns:
        missing.append("the error of the parallax")
    return Guess(columns, missing)


def _value(quantity: str, names: Sequence[str]) -> str | None:
    plain = {_plain(name): name for name in reversed(names)}
    return next((plain[name] for name in VALUES[quantity] if name in plain), None)


def _error(value: str, names: Sequence[str]) -> str | tuple[str, str] | None:
    """Find the column, or the pair of columns, named like the error of `value`."""
    plain = {_plain(name): name for name in reversed(names) if name != value}
    own = _plain(value)
    stems = [own, *(own.replace(median, "") for median in MEDIANS if median in own)]
    single = next((plain[n] for stem in stems for form in ERROR_NAMES if (n := form.format(stem)) in plain), None)
    if single:
        return single
    for low, high in LOW_HIGH:
        forms = [own.replace(median, "{}") for median in MEDIANS if median in own]
        for form in [*forms, *(stem + "{}" for stem in stems)]:
            if form.format(low) in plain and form.format(high) in plain:
                return plain[form.format(low)], plain[form.format(high)]
    return None


def _plain(name: str) -> str:
    """Strip a name of signs, units at its end and, unless it is one letter, of its case."""
    plain = re.sub(r"[^A-Za-z0-9]", "", name)
    plain = plain.lower() if len(plain) > 1 else plain
    for suffix in UNIT_SUFFIXES:
        if plain.endswith(suffix) and len(plain) > len(suffix) and re.search(rf"[^A-Za-z0-9]{suffix}$", name.lower()):
            plain = plain.removesuffix(suffix)
            break
    return plain
