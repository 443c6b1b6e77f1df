"""One column of a table as plain float64 numbers in the unit that gpdust uses."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.table import Table

from gpdust.catalogue.fields import UNITS
from gpdust.errors import CatalogueError, MissingUnitError
from gpdust.units import as_array

_ELEMENT = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]")


def base_name(column: str, names: Sequence[str]) -> str:
    """Return the column that holds `column`: itself, or "name" for an element "name[3]" of a vector column."""
    match = _ELEMENT.fullmatch(column)
    return match["name"] if match and column not in names else column


def no_such_column(column: str, names: Sequence[str], where: str) -> CatalogueError:
    """Make the error for a column that isn't there; it names the nearest ones that are."""
    by_lower = {name.lower(): name for name in names}
    near = [by_lower[name] for name in get_close_matches(column.lower(), by_lower, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {some(names)}"
    return CatalogueError(f"{where} has no column {column!r}; {hint}")


def some(names: Sequence[str]) -> str:
    """List the first of many names for an error."""
    return ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")


def get_column(table: Table, column: str, where: str) -> object:
    """Get a column, or one element "name[3]" of a vector column, from a table."""
    name = base_name(column, table.colnames)
    if name not in table.colnames:
        raise no_such_column(name, table.colnames, where)
    found = table[name]
    if name == column:
        return found
    index = int(column[len(name) + 1 : -1])
    if len(found.shape) != 2 or index >= found.shape[1]:
        raise CatalogueError(f"column {name!r} of {where} has no element {index}: its shape is {found.shape}")
    return found[:, index]


def own_unit(column: object) -> u.UnitBase | None:
    """Return the unit that a column brings along; None where it has none, or one that can't be understood."""
    unit = getattr(column, "unit", None)
    if unit is None or isinstance(unit, u.UnrecognizedUnit) or unit == u.dimensionless_unscaled:
        return None
    return unit


def choose_unit(
    column: object, name: str, quantity: str, called: u.UnitBase | None, fallback: u.UnitBase | None, where: str
) -> u.UnitBase:
    """Decide the unit of a column: the file's own, else the caller's, else the fallback.

    Raises
    ------
    MissingUnitError
        If there is none, or if the file and the caller disagree.
    """
    own = own_unit(column)
    if own is not None and called is not None and own != called:
        raise MissingUnitError(
            f"column {name!r} of {where} is in '{own}', but units= says '{called}' for {quantity!r}; "
            f"leave {quantity!r} out of units= if the file is right"
        )
    unit = own or called or fallback
    if unit is None:
        written = getattr(column, "unit", None)
        state = f"the unit {str(written)!r}, which can't be understood" if written else "no unit"
        raise MissingUnitError(
            f"column {name!r} of {where} has {state}; give it, for example units={{{quantity!r}: '{UNITS[quantity]}'}}"
        )
    return unit


def in_unit(column: object, unit: u.UnitBase, quantity: str, name: str, where: str, start: int = 0) -> np.ndarray:
    """Turn a column, whose numbers are in `unit`, into float64 in the unit that gpdust has for `quantity`.

    Errors count rows from `start`, where the column is a piece of a file.

    Raises
    ------
    MissingUnitError
        If the two units are not of one kind.
    CatalogueError
        If the column holds text that is no number, or vectors.
    """
    plain = numbers(column, name, where, start)
    if plain.ndim != 1:
        raise CatalogueError(
            f"column {name!r} of {where} is a vector of shape {plain.shape[1:]}; say which element: '{name}[0]'"
        )
    return as_array(u.Quantity(plain, unit, copy=False), UNITS[quantity], f"column {name!r} ({quantity}) of {where}")


def numbers(column: object, name: str, where: str, start: int = 0) -> np.ndarray:
    """Turn a column into float64 of the same shape, with NaN where it is masked, empty or says "nan"."""
    values = getattr(column, "value", column)  # of a Quantity
    values = values.filled(np.nan) if hasattr(values, "unmasked") else values  # an astropy Masked array
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    values = np.asarray(values)
    values = values.astype(np.float64) if values.dtype.kind in "fiub" else _from_text(values, mask, name, where, start)
    if mask is not None:
        values[mask] = np.nan
    return values


def _from_text(values: np.ndarray, mask: np.ndarray | None, name: str, where: str, start: int) -> np.ndarray:
    text = pd.Series(np.char.decode(values) if values.dtype.kind == "S" else values, dtype=object)
    text = text.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    missing = text.isna() | text.isin(["", "-", "--", "nan", "NaN", "NAN", "null", "None"])
    if mask is not None:
        missing |= mask
    parsed = pd.to_numeric(text.mask(missing, np.nan), errors="coerce").to_numpy(dtype=np.float64, copy=True)
    wrong = np.flatnonzero(np.isnan(parsed) & ~missing.to_numpy())
    if wrong.size:
        raise CatalogueError(
            f"column {name!r} of {where} holds text that is not a number, first in row {start + wrong[0]} "
            f"(counting from 0): {text.iloc[wrong[0]]!r}"
        )
    return parsed


def extra(column: object, name: str, where: str, start: int = 0) -> np.ndarray:
    """Take a column along as it is: a Quantity where it has a unit, text as str, missing floats as NaN."""
    if not isinstance(column, np.ndarray):
        raise CatalogueError(f"keep= takes plain columns, but {name!r} of {where} is a {type(column).__name__}")
    if own_unit(column) is not None:
        return u.Quantity(numbers(column, name, where, start), own_unit(column))
    if isinstance(column, np.ma.MaskedArray):
        if column.dtype.kind == "f" or not np.ma.is_masked(column):
            column = column.filled(np.nan) if column.dtype.kind == "f" else column.data
        else:
            return np.ma.array(_as_text(column.data), mask=column.mask)
    return _as_text(np.array(column))


def _as_text(values: np.ndarray) -> np.ndarray:
    """Decode bytes, and write out objects; numbers stay what they are."""
    if values.dtype.kind == "O":
        return np.array([_cell_text(cell) for cell in values])
    return np.char.decode(values) if values.dtype.kind == "S" else values


def _cell_text(cell: object) -> str:
    if cell is None or cell is pd.NA:
        return ""
    return cell.decode() if isinstance(cell, bytes) else str(cell)
