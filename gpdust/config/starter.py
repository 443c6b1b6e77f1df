"""A commented configuration for a catalogue: what `gpdust init` writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from gpdust.catalogue import PRESETS, StarCatalogue
from gpdust.catalogue.fields import UNITS, VALUE_OF
from gpdust.catalogue.numbers import base_name, get_column, numbers, own_unit
from gpdust.catalogue.readers import read_tables
from gpdust.catalogue.request import Request
from gpdust.config.columns import Guess, guess_columns
from gpdust.config.propose import Proposal, propose
from gpdust.config.toml import render
from gpdust.errors import CatalogueError

Column = str | tuple[str, str]

HEAD_ROWS = 10_000
FARTHEST_KPC = 30.0  # a catalogue whose median distance is a larger number is hardly in kpc

NOTES = {
    "region": "l and b in deg, distance in pc",
    "region.foreground_cells": "cells between the Sun and the region, for the dust in front of it",
    "grid.shape": "cells along l, b and distance",
    "prior.kind": "or inducing, with inducing = how many points",
    "prior.kernel": "or rbf, matern12, matern52, spectrum; a list for a sum",
    "prior.length_scale": "pc: one number, or three (x, y, z); where the fit starts",
    "prior.amplitude": "dex, of log10 density; where the fit starts",
    "prior.mean_density": "mag / pc; where the fit starts",
    "prior.learn": "false: length scale, amplitude and mean stay as given, which is faster",
    "likelihood.extra_scatter": 'mag, added in quadrature to every error: a number, or "learn"',
    "likelihood.proportional_scatter": "likewise, as a share of the extinction: dust that cells are too coarse for",
    "likelihood.distance": "summed over; or inflate, ignore",
    "likelihood.distance_prior": "uniform-density, exponential-disc, or flat, as for percentiles of a posterior",
    "fit.engine": "for this prior mgvi; inducing points also take natural, or svi if scatters are numbers",
    "fit.seed": "same seed, same map",
    "maps.samples": "posterior draws behind the percentiles",
}
QUANTITIES = {"a0": ("A0", ""), "av": ("A_V", "V"), "ag": ("A_G", "Gaia G"), "eb": ("E(B-V)", "")}


@dataclass(frozen=True)
class Starter:
    """A configuration to start from.

    Attributes
    ----------
    text : str
        The file.
    stars : StarCatalogue
    proposal : Proposal
    columns : dict
        gpdust's name -> column, empty with a preset.
    doubts : list of str
        What a person should check.
    """

    text: str
    stars: StarCatalogue
    proposal: Proposal
    columns: dict[str, Column]
    doubts: list[str]


def make_starter(
    path: Path,
    folder: Path,
    preset: str | None = None,
    given: Mapping[str, Column] | None = None,
    format_: str | None = None,
    **limits: tuple[float, float] | None,
) -> Starter:
    """Look at a catalogue and propose a configuration.

    Parameters
    ----------
    path : Path
        The catalogue.
    folder : Path
        Where the configuration will be.
    preset : str, optional
        Of a published catalogue.
    given : mapping of str to str, optional
        gpdust's name -> column, where names don't tell.
    format_ : str, optional
        Of the file, where its suffix does not tell.
    **limits
        l, b, distance: see `propose`.

    Raises
    ------
    CatalogueError
        If the file can't be read, or columns are missing; says which.
    """
    section: dict[str, object] = {"path": _relative(path, folder)}
    if format_:
        section["format"] = format_
    notes, doubts = dict(NOTES), []
    columns, units = dict(given or {}), {}
    if preset:
        section["preset"] = preset
        notes["catalogue.preset"] = PRESETS[preset].reference if preset in PRESETS else ""
    else:
        head = _head(path, format_)
        _check_given(given or {}, head, path)
        guess = guess_columns(head.colnames, given)
        _require(guess, path, head.colnames)
        columns, units = guess.columns, _missing_units(head, guess.columns)
        notes["catalogue.band"] = "free text, carried into products"
        notes |= {f"catalogue.columns.{name}": "guessed from its name" for name in columns if name not in (given or {})}
        notes |= {f"catalogue.units.{name}": "ASSUMED: the file gives no unit" for name in units}
        doubts = _doubts(head.colnames, columns, units)
    stars = StarCatalogue.read(path, columns=columns, units=units, preset=preset, format=format_)
    if not preset:
        section |= _words(stars, columns["extinction"])
    section |= {
        "columns": {name: list(column) if isinstance(column, tuple) else column for name, column in columns.items()},
        "units": units,
    }
    proposal = propose(stars, **limits)
    header = [
        f"Proposed by `gpdust init` for {path.name}: {proposal.stars} of its {len(stars)} stars lie in the region.",
        "Estimates on two cores:",
        *(f"  {line}" for line in proposal.estimates()),
        *(f"CHECK: {doubt}" for doubt in doubts),
    ]
    text = render({"catalogue": section, **proposal.sections}, notes, header)
    return Starter(text, stars, proposal, columns, doubts)


def _head(path: Path, format_: str | None) -> Table:
    """Read the first rows, with all columns."""
    with closing(read_tables(path, format_, HEAD_ROWS, list)) as tables:
        return next(tables)


def _check_given(given: Mapping[str, Column], head: Table, path: Path) -> None:
    """Refuse names that gpdust does not have, and columns that the file does not have."""
    Request.make(given, None, None, None, f"'{path}'")
    for column in given.values():
        for one in (column,) if isinstance(column, str) else column:
            get_column(head, one, f"'{path}'")


def _require(guess: Guess, path: Path, names: list[str]) -> None:
    if guess.missing:
        found = "".join(f"\n  {name}: {_words_of(column)}" for name, column in guess.columns.items()) or " nothing"
        raise CatalogueError(
            f"no column of '{path}' is named like {', nor like '.join(guess.missing)}. Found:{found}\n"
            "Say which column it is with --column, for example --column extinction_error=e_AV, or use --preset. "
            f"The columns are {', '.join(names)}"
        )


def _missing_units(head: Table, columns: Mapping[str, Column]) -> dict[str, str]:
    """Suppose units for columns without one; an error is in the unit of its value."""

    def unit_of(column: Column) -> object:
        return own_unit(get_column(head, column if isinstance(column, str) else column[0], "the catalogue"))

    units = {}
    for name, column in columns.items():
        value = VALUE_OF.get(name)
        if unit_of(column) is not None or (value and unit_of(columns[value]) is None):
            continue  # a unit supposed for a value holds for its error too
        units[name] = str(unit_of(columns[value]) if value else UNITS[name])
        if name == "distance" and _in_kpc(column, head):
            units[name] = "kpc"
    return units


def _in_kpc(column: str, head: Table) -> bool:
    values = numbers(get_column(head, column, "the catalogue"), column, "the catalogue")
    return column.lower().endswith("kpc") or float(np.nanmedian(values)) < FARTHEST_KPC


def _doubts(names: list[str], columns: Mapping[str, Column], units: Mapping[str, str]) -> list[str]:
    doubts = []
    if units:
        assumed = ", ".join(f"{columns[name]} in {unit}" for name, unit in units.items())
        doubts.append(f"the file gives no units for some columns; assumed are {assumed}")
    for name, column in columns.items():
        if isinstance(column, tuple):
            doubts.append(f"{column[0]} and {column[1]} are taken for the 16th and 84th percentile ({name})")
    if fitting := [preset for preset in PRESETS if _fits(preset, names)]:
        doubts.append(f"the columns fit the preset {' or '.join(fitting)}: if it is that catalogue, use --preset")
    return doubts


def _fits(preset: str, names: list[str]) -> bool:
    lower = [name.lower() for name in names]
    wanted = [c for given in PRESETS[preset].columns.values() for c in ((given,) if isinstance(given, str) else given)]
    return all(base_name(column, names).lower() in lower for column in wanted)


def _words(stars: StarCatalogue, column: str) -> dict[str, str]:
    """Quantity and band: what the file says, else what the name of the column suggests."""
    if stars.band or stars.quantity != "A":
        return {"quantity": stars.quantity, "band": stars.band}
    plain = column.lower().replace("_", "").replace("(", "").replace("azero", "a0")
    quantity, band = next((words for start, words in QUANTITIES.items() if plain.startswith(start)), ("A", ""))
    return {"quantity": quantity, "band": band}


def _words_of(column: Column) -> str:
    return column if isinstance(column, str) else " and ".join(column)


def _relative(path: Path, folder: Path) -> str:
    """Path as seen from the folder, unless it leads far away."""
    relative = os.path.relpath(path, folder)
    return os.path.abspath(path) if relative.count("..") > 2 else relative
