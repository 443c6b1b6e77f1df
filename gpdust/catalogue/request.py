"""What a caller asks of a table: which of its columns is which quantity, and in what unit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import astropy.units as u

from gpdust.catalogue.fields import POSITIONS, STORED, UNITS, VALUE_OF, companions
from gpdust.catalogue.numbers import base_name, no_such_column, some
from gpdust.catalogue.presets import PRESETS, Columns, Preset
from gpdust.errors import CatalogueError


@dataclass(frozen=True)
class Request:
    """A checked request; build it with `Request.make`.

    Attributes
    ----------
    columns : mapping
        The caller's own name -> column, or (p16, p84) pair of columns.
    units : mapping of str to Unit
        The caller's units.
    preset : Preset or None
        Fills in what the caller left out.
    keep : tuple of str or None
        Extra columns; None takes those that a file written by gpdust lists.
    where : str
        What errors call the table.
    """

    columns: Columns
    units: Mapping[str, u.UnitBase]
    preset: Preset | None
    keep: tuple[str, ...] | None
    where: str

    @classmethod
    def make(
        cls,
        columns: Columns | None,
        units: Mapping[str, str | u.UnitBase] | None,
        preset: str | Preset | None,
        keep: Iterable[str] | None,
        where: str,
    ) -> "Request":
        """Check what the caller gave; raise CatalogueError on unknown names, units or presets."""
        for argument, given in (("columns", columns or {}), ("units", units or {})):
            for name in given:
                if name not in UNITS:
                    raise CatalogueError(f"{argument}= has {name!r}, but the names are {', '.join(UNITS)}")
        if isinstance(preset, str):
            if preset not in PRESETS:
                raise CatalogueError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
            preset = PRESETS[preset]
        keep = tuple([keep] if isinstance(keep, str) else keep) if keep is not None else None
        if own := set(keep or ()) & set(STORED):
            raise CatalogueError(
                f"keep= has {', '.join(sorted(own))}, which the catalogue holds under that name anyway"
            )
        return cls(dict(columns or {}), {n: _unit(n, v) for n, v in (units or {}).items()}, preset, keep, where)

    def fallback_unit(self, name: str) -> u.UnitBase | None:
        """Return the unit for a column that has none: the caller's for the value of an error, or the preset's.

        A preset knows the units of its own columns, not of those that the caller names.
        """
        value = VALUE_OF.get(name, name)
        unit = self.units.get(value)
        if self.preset and not any(self._names_another(known) for known in (name, value)):
            unit = unit or self.preset.units.get(name) or self.preset.units.get(value)
        return u.Unit(unit) if unit else None

    def resolve(self, names: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
        """Find the column, or the pair of columns, of each quantity.

        Parameters
        ----------
        names : sequence of str
            The columns that the table has.

        Returns
        -------
        found : dict of str to tuple of str
            gpdust's name -> its column, or its (p16, p84) columns.
        notes : list of str
            What a preset had to do without.

        Raises
        ------
        CatalogueError
            If a column is not there, or a quantity has none.
        """
        offered, notes = self._offered(names)
        mapping = offered | {name: _as_tuple(name, given) for name, given in self.columns.items()}
        self._choose_position(mapping, names)
        self._choose_distance(mapping, names)
        for pair in mapping.values():
            for column in pair:
                if base_name(column, names) not in names:
                    raise no_such_column(base_name(column, names), names, self.where)
        if "extinction" not in mapping:
            raise self._lacks("an extinction", "{'extinction': ...}", names)
        if not {"extinction_error", "extinction_lower_error"} & mapping.keys():
            raise self._lacks("the error of the extinction", "{'extinction_error': ...}", names)
        return mapping, notes

    def wanted(self, names: Sequence[str]) -> list[str]:
        """List the columns to read, out of those that a file has; raise CatalogueError like `resolve`."""
        mapping, _ = self.resolve(names)
        columns = [column for pair in mapping.values() for column in pair] + list(self.keep or ())
        wanted = {base_name(column, names) for column in columns}
        for column in sorted(wanted.difference(names)):
            raise no_such_column(column, names, self.where)
        return [name for name in names if name in wanted]

    def _offered(self, names: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
        """Return what stands in where the caller says nothing: the preset, or else columns with gpdust's own names."""
        if self.preset is None:
            return {name: (name,) for name in UNITS if name in names and not self._is_of_another(name, names)}, []
        by_lower = {name.lower(): name for name in names}
        offered: dict[str, tuple[str, ...]] = {}
        notes = [f"recommended cuts, not made here: {self.preset.quality}"] if self.preset.quality else []
        for name, given in self.preset.columns.items():
            if self._names_another(name) or self._is_of_another(name, names):
                continue  # the preset's error does not belong to the caller's own column
            pair = tuple(_match_case(column, names, by_lower) for column in _as_tuple(name, given))
            absent = [column for column in pair if base_name(column, names) not in names]
            if name == "distance_error" and absent:
                notes.append(f"read without distance errors: there is no column {' or '.join(map(repr, absent))}")
            else:
                offered[name] = pair
        return offered, notes

    def _names_another(self, name: str) -> bool:
        """Whether the caller names a column that is not the preset's."""
        return name in self.columns and self.columns[name] != self.preset.columns.get(name)

    def _is_of_another(self, name: str, names: Sequence[str]) -> bool:
        """Whether a column is the error of a value that the caller does not want, or that has errors of the caller's.

        It belongs to the preset's column of its value; without a preset to that of its value's own name, where there is
        one in the table.
        """
        value = VALUE_OF.get(name)
        if value is None:
            return False
        if self.preset:
            another = self._names_another(value)
        else:
            another = self.columns.get(value, value) != value and value in names
        return another or bool(self.columns.keys() & set(companions(value)))

    def _choose_position(self, mapping: dict[str, tuple[str, ...]], names: Sequence[str]) -> None:
        given = [group for group in POSITIONS if set(group) & self.columns.keys()]
        if len(given) > 1:
            raise CatalogueError("columns= gives the position twice: " + " and ".join(map("/".join, given)))
        chosen = next((group for group in given or POSITIONS if set(group) <= mapping.keys()), None)
        if chosen is None:
            raise self._lacks("l and b, or ra and dec, or a SkyCoord column", "{'l': ..., 'b': ...}", names)
        for name in {name for group in POSITIONS if group != chosen for name in group}:
            mapping.pop(name, None)

    def _choose_distance(self, mapping: dict[str, tuple[str, ...]], names: Sequence[str]) -> None:
        if {"distance", "parallax"} <= self.columns.keys():
            raise CatalogueError("columns= gives both a distance and a parallax: give one of them")
        if not {"distance", "parallax"} & mapping.keys():
            raise self._lacks("a distance or a parallax", "{'distance': ...} or columns={'parallax': ...}", names)
        use_parallax = "parallax" in self.columns or "distance" not in mapping
        used, unused = ("parallax", "distance") if use_parallax else ("distance", "parallax")
        if useless := self.columns.keys() & set(companions(unused)):
            raise CatalogueError(
                f"columns= gives {' and '.join(sorted(useless))}, but {self.where} is read by its {used}: give the "
                f"column of the {unused}, or {used}_error"
            )
        for name in (unused, *companions(unused)):
            mapping.pop(name, None)

    def _lacks(self, what: str, example: str, names: Sequence[str]) -> CatalogueError:
        return CatalogueError(f"{self.where} needs {what}: say which with columns={example}; it has {some(names)}")


def _as_tuple(name: str, given: str | Sequence[str]) -> tuple[str, ...]:
    pair = (given,) if isinstance(given, str) else tuple(given)
    if len(pair) == 1 or (len(pair) == 2 and name in ("distance_error", "extinction_error")):
        return pair
    raise CatalogueError(
        f"columns= gives {given!r} for {name!r}; it takes one column, and an error of the distance or the extinction "
        "also a (p16, p84) pair"
    )


def _match_case(column: str, names: Sequence[str], by_lower: Mapping[str, str]) -> str:
    """Spell a preset's column the way the file does."""
    base = base_name(column, names)
    return column if base in names else by_lower.get(base.lower(), base) + column[len(base) :]


def _unit(name: str, given: str | u.UnitBase) -> u.UnitBase:
    try:
        return u.Unit(given)
    except (ValueError, TypeError) as error:
        raise CatalogueError(f"units= has {given!r} for {name!r}, which is no unit: {error}") from None
