"""The names that gpdust has for the columns of a catalogue, with their units."""

import astropy.units as u

from gpdust.units import DEGREE, MAGNITUDE, PARSEC

#: What a user may map to a column, and the unit it is turned into ("coordinate" is a SkyCoord and brings its own).
UNITS: dict[str, u.UnitBase | None] = {
    "l": DEGREE,
    "b": DEGREE,
    "ra": DEGREE,
    "dec": DEGREE,
    "coordinate": None,
    "distance": PARSEC,
    "distance_error": PARSEC,
    "distance_lower_error": PARSEC,
    "distance_upper_error": PARSEC,
    "parallax": u.mas,
    "parallax_error": u.mas,
    "extinction": MAGNITUDE,
    "extinction_error": MAGNITUDE,
    "extinction_lower_error": MAGNITUDE,
    "extinction_upper_error": MAGNITUDE,
}

#: The quantity that each error belongs to.
VALUE_OF: dict[str, str] = {name: name.split("_")[0] for name in UNITS if name.endswith("error")}

#: What a catalogue stores, in this order; errors of the distance and the lower and upper errors may be absent.
STORED = tuple(name for name in UNITS if name not in ("ra", "dec", "coordinate", "parallax", "parallax_error"))

#: The ways to say where on the sky a star is, best first.
POSITIONS = (("l", "b"), ("ra", "dec"), ("coordinate",))


def companions(value: str) -> tuple[str, ...]:
    """Return the names of the errors that belong to a quantity, such as "distance"."""
    return tuple(error for error, owner in VALUE_OF.items() if owner == value)
