"""A table's columns -> the plain arrays of a catalogue: positions, distances, extinctions and their errors."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from gpdust.catalogue import numbers
from gpdust.catalogue.fields import UNITS, VALUE_OF
from gpdust.catalogue.request import Request
from gpdust.errors import CatalogueError
from gpdust.units import DEGREE, PARSEC, as_array


@dataclass(frozen=True)
class Extract:
    """Arrays of all rows of a table, usable or not.

    Attributes
    ----------
    stars : dict of str to ndarray, shape (rows,)
        float64 under the names of `fields.STORED` (and "parallax" with its error, where the distance comes from it).
    extra : dict of str to ndarray, shape (rows, ...)
        Columns that travel along.
    notes : list of str
        For the report.
    """

    stars: dict[str, np.ndarray]
    extra: dict[str, np.ndarray]
    notes: list[str]


def extract(table: Table, request: Request, start: int = 0) -> Extract:
    """Turn a table into plain arrays; its first row is row `start` of the file.

    A pair of columns (p16, p84) for an error becomes σ = (p84 − p16) / 2 and the lower and upper errors
    p50 − p16 and p84 − p50. A parallax ϖ becomes d = 1/ϖ with the first-order error σ_d = σ_ϖ / ϖ².

    Raises
    ------
    CatalogueError
        If a column is missing or not numeric.
    MissingUnitError
        If a column has no unit.
    """
    mapping, notes = request.resolve(table.colnames)
    coordinate = mapping.pop("coordinate", None)
    stars: dict[str, np.ndarray] = {}
    for name in (name for name in UNITS if name in mapping):  # in this order a value comes before its error
        found = [_read(table, request, name, column, start) for column in mapping[name]]
        if len(found) == 1:
            stars[name] = found[0]
        else:
            _add_error(stars, name, *found)
    mean_errors(stars)
    if coordinate:
        stars["l"], stars["b"] = _galactic_column(table, coordinate[0], request.where)
    elif "ra" in stars:
        stars["l"], stars["b"] = _galactic(stars.pop("ra"), stars.pop("dec"))
    if "parallax" in stars:
        _invert_parallax(stars)
    keep = request.keep if request.keep is not None else kept_names(table)
    extra = {
        name: numbers.extra(numbers.get_column(table, name, request.where), name, request.where, start) for name in keep
    }
    return Extract(stars, extra, notes)


def kept_names(table: Table) -> tuple[str, ...]:
    """List the extra columns of a table that gpdust wrote."""
    listed = {key.lower(): value for key, value in table.meta.items() if isinstance(key, str)}.get("keep", "")
    return tuple(name for name in str(listed).split(",") if name in table.colnames)


def _read(table: Table, request: Request, name: str, column: str, start: int) -> np.ndarray:
    found = numbers.get_column(table, column, request.where)
    unit = numbers.choose_unit(found, column, name, request.units.get(name), request.fallback_unit(name), request.where)
    return numbers.in_unit(found, unit, name, column, request.where, start)


def _add_error(stars: dict[str, np.ndarray], error: str, p16: np.ndarray, p84: np.ndarray) -> None:
    median = stars[VALUE_OF[error]]
    stem = error.removesuffix("error")
    stars[error] = (p84 - p16) / 2
    stars[stem + "lower_error"] = median - p16
    stars[stem + "upper_error"] = p84 - median


def mean_errors(stars: dict[str, np.ndarray]) -> None:
    """Make σ of a lower and an upper error where only those were given.

    Raises
    ------
    CatalogueError
        If there is one of them without the other.
    """
    for value in ("distance", "extinction"):
        sides = [stars.get(f"{value}_{side}_error") for side in ("lower", "upper")]
        if (sides[0] is None) != (sides[1] is None):
            raise CatalogueError(f"{value}_lower_error and {value}_upper_error come together; one of them is missing")
        if sides[0] is not None:
            stars.setdefault(f"{value}_error", (sides[0] + sides[1]) / 2)


def _galactic_column(table: Table, name: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    coordinate = numbers.get_column(table, name, where)
    if not isinstance(coordinate, SkyCoord):
        raise CatalogueError(f"column {name!r} of {where} is no SkyCoord column: map it to l, b, ra or dec instead")
    galactic = coordinate.galactic
    return as_array(galactic.l, DEGREE, "l"), as_array(galactic.b, DEGREE, "b")


def _galactic(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn ICRS into Galactic degrees; impossible positions pass unchanged, to be counted in the validation."""
    possible = np.isfinite(ra) & (np.abs(dec) <= 90)
    l, b = ra.copy(), dec.copy()
    galactic = SkyCoord(ra[possible] * DEGREE, dec[possible] * DEGREE, frame="icrs").galactic
    l[possible], b[possible] = as_array(galactic.l, DEGREE, "l"), as_array(galactic.b, DEGREE, "b")
    return l, b


def _invert_parallax(stars: dict[str, np.ndarray]) -> None:
    parallax = np.where(stars["parallax"] > 0, stars["parallax"], np.nan)  # the validation drops the others
    stars["distance"] = as_array((parallax * u.mas).to(PARSEC, u.parallax()), PARSEC, "distance")
    if "parallax_error" in stars:
        stars["distance_error"] = stars["distance"] * stars["parallax_error"] / parallax
