"""Locked columns of stars: plain float64 numbers inside, Quantities outside."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

import numpy as np
from astropy.coordinates import SkyCoord

from gpdust.catalogue.fields import STORED, UNITS
from gpdust.catalogue.label import Label
from gpdust.catalogue.validation import ValidationReport
from gpdust.units import as_quantity


def _column(name: str, doc: str) -> property:
    """Make the property that shows a stored column as a Quantity, or None where the catalogue lacks it."""

    def show(self: "StarColumns") -> object:
        return as_quantity(self._stars[name], UNITS[name]) if name in self._stars else None

    return property(show, doc=doc)


def _word(name: str, doc: str) -> property:
    return property(lambda self: getattr(self._label, name), doc=doc)


class StarColumns:
    """What a catalogue holds; `StarCatalogue` adds how to make one and what to do with it.

    Attributes
    ----------
    row : ndarray of int, shape (stars,)
        Each star's row in its file, from 0.
    extra : mapping of str to ndarray, shape (stars, ...)
        Columns that travel along.
    report : ValidationReport
        What became of the rows of the file.
    """

    l = _column("l", "Quantity, shape (stars,): Galactic longitude, deg, in [0, 360).")
    b = _column("b", "Quantity, shape (stars,): Galactic latitude, deg.")
    distance = _column("distance", "Quantity, shape (stars,): distance, pc.")
    distance_error = _column("distance_error", "Quantity, shape (stars,), or None: standard error, pc.")
    distance_lower_error = _column("distance_lower_error", "Quantity or None: median − 16th percentile, pc.")
    distance_upper_error = _column("distance_upper_error", "Quantity or None: 84th percentile − median, pc.")
    extinction = _column("extinction", "Quantity, shape (stars,): extinction, mag.")
    extinction_error = _column("extinction_error", "Quantity, shape (stars,): standard error, mag.")
    extinction_lower_error = _column("extinction_lower_error", "Quantity or None: median − 16th percentile, mag.")
    extinction_upper_error = _column("extinction_upper_error", "Quantity or None: 84th percentile − median, mag.")
    band = _word("band", "Wavelength or passband of the extinction.")
    quantity = _word("quantity", 'Symbol of the extinction, such as "A0".')
    reference = _word("reference", "Where the catalogue was published.")
    source = _word("source", 'The file it was read from, or "".')
    measured = _word("measured", '"parallax" where distances were made of parallaxes, else "distance".')

    @classmethod
    def _of(cls, *parts: object) -> Self:
        """Make a catalogue of arrays that were validated before; see `_set`."""
        catalogue = cls.__new__(cls)
        catalogue._set(*parts)
        return catalogue

    @property
    def coordinates(self) -> SkyCoord:
        """Positions in the Galactic frame with their distances, shape (stars,)."""
        return SkyCoord(l=self.l, b=self.b, distance=self.distance, frame="galactic")

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        band = f" ({self.band})" if self.band else ""
        return f"<StarCatalogue of {len(self)} stars, {self.quantity}{band}>"

    def _set(
        self,
        stars: Mapping[str, np.ndarray],
        extra: Mapping[str, np.ndarray],
        row: np.ndarray,
        label: Label,
        report: ValidationReport,
        index: np.ndarray | slice,
    ) -> None:
        """Take the rows of `index` out of the arrays, and lock them."""
        self._stars = {name: np.array(stars[name][index]) for name in STORED if name in stars}
        self._stars["l"] %= 360.0
        self._stars["l"][self._stars["l"] == 360.0] = 0.0  # what rounding makes of -1e-15
        self.extra = MappingProxyType({name: array[index].copy() for name, array in extra.items()})
        self.row = row[index].copy()
        self._label = label
        self.report = report
        for array in (*self._stars.values(), *self.extra.values(), self.row):
            array.flags.writeable = False
