"""Stars with distances and extinctions: the one object that the rest of gpdust takes stars from."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.table import QTable, Table

from gpdust.catalogue.columns import StarColumns
from gpdust.catalogue.extract import extract, mean_errors
from gpdust.catalogue.fields import STORED, UNITS
from gpdust.catalogue.label import MEASURED, Label
from gpdust.catalogue.presets import Columns, Preset
from gpdust.catalogue.readers import read_tables
from gpdust.catalogue.request import Request
from gpdust.catalogue.selection import in_longitude, in_range
from gpdust.catalogue.summary import summarise
from gpdust.catalogue.validation import ValidationReport, merge_reports, validate
from gpdust.catalogue.writers import write_table
from gpdust.errors import CatalogueError
from gpdust.units import MAGNITUDE, as_array, as_float

Units = Mapping[str, str | u.UnitBase]


class StarCatalogue(StarColumns):
    """Stars with distances and extinctions; it does not change once made.

    Rows that can't be used (missing or infinite values, errors or distances that are not positive, impossible
    latitudes) are left out and accounted for in `report`. Negative extinctions are measurements and stay.

    Parameters
    ----------
    l, b : Quantity, shape (stars,)
        Galactic longitude and latitude.
    distance, extinction, extinction_error : Quantity, shape (stars,)
        Distance; extinction up to it and its standard error.
    distance_error : Quantity, shape (stars,), optional
        Standard error of the distance.
    distance_lower_error, distance_upper_error, extinction_lower_error, extinction_upper_error : Quantity, optional
        p50 − p16 and p84 − p50, where errors are asymmetric.
    band, quantity, reference, source : str
        What the extinction is and where it comes from; see `Label`.
    measured : {"distance", "parallax"}
        What has Gaussian errors: "parallax" for distances d = 1/ϖ with errors σ_d = σ_ϖ/ϖ².
    row : array_like of int, shape (stars,), optional
        Row numbers; 0, 1, 2, ... by default.
    extra : mapping of str to array, optional
        Further columns of shape (stars, ...).
    strict : bool
        Raise instead of leaving rows out.

    Raises
    ------
    MissingUnitError
        If an argument has no unit, or the wrong kind.
    CatalogueError
        If the arrays differ in length, or no star is usable.
    """

    def __init__(
        self,
        *,
        l: u.Quantity,
        b: u.Quantity,
        distance: u.Quantity,
        extinction: u.Quantity,
        extinction_error: u.Quantity,
        distance_error: u.Quantity | None = None,
        distance_lower_error: u.Quantity | None = None,
        distance_upper_error: u.Quantity | None = None,
        extinction_lower_error: u.Quantity | None = None,
        extinction_upper_error: u.Quantity | None = None,
        band: str = "",
        quantity: str = "A",
        reference: str = "",
        source: str = "",
        measured: str = "distance",
        row: np.ndarray | None = None,
        extra: Mapping[str, np.ndarray] | None = None,
        strict: bool = False,
    ) -> None:
        if measured not in MEASURED:
            raise CatalogueError(f"measured must be one of {', '.join(MEASURED)}, got {measured!r}")
        given = locals()
        stars = {
            name: np.atleast_1d(as_array(given[name], UNITS[name], name)) for name in STORED if given[name] is not None
        }
        extra = {name: _as_column(column) for name, column in (extra or {}).items()}
        row = np.arange(len(stars["l"])) if row is None else np.asarray(row)
        for name, array in (extra | stars | {"row": row}).items():
            if array.shape[:1] != stars["l"].shape or (name not in extra and array.ndim != 1):
                raise CatalogueError(f"{name} has shape {array.shape}, but l has {stars['l'].shape}")
        mean_errors(stars)
        keep, report = validate(stars, row, strict=strict)
        self._set(stars, extra, row, Label(band, quantity, reference, source, measured), report, keep)
        _require_stars(report, source or "the catalogue")

    # -- reading -------------------------------------------------------------------------------------------------

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        *,
        columns: Columns | None = None,
        units: Units | None = None,
        preset: str | Preset | None = None,
        band: str | None = None,
        quantity: str | None = None,
        reference: str | None = None,
        keep: Iterable[str] | None = None,
        strict: bool = False,
        format: str | None = None,
    ) -> "StarCatalogue":
        """Read a catalogue from a FITS, VOTable, CSV, ECSV, Parquet or HDF5 file.

        Parameters
        ----------
        path : path-like
            The file. In FITS the first table is read; in HDF5 the one table, or one dataset per column.
        columns : mapping of str to str or (str, str), optional
            gpdust's name -> the file's column. The names are l, b (or ra, dec in ICRS, or coordinate for a SkyCoord
            column in any frame), distance, distance_error (or parallax, parallax_error: then d = 1/ϖ and
            σ_d = σ_ϖ/ϖ²), extinction and extinction_error. An error may also be a (p16, p84) pair of columns around
            the median; then σ = (p84 − p16)/2, and the lower and upper errors are kept too. ``"name[3]"`` is an
            element of a vector column. Columns that have gpdust's names already need no mention.
        units : mapping of str to str or Unit, optional
            gpdust's name -> unit, for columns whose unit the file leaves off. A value's unit holds for its error too.
        preset : str or Preset, optional
            A published catalogue's columns and units, one of `PRESETS`; `columns` and `units` add to it.
        band, quantity, reference : str, optional
            What the extinction is and where it was published, where neither preset nor file say it.
        keep : iterable of str, optional
            Further columns that travel along, as `extra`.
        strict : bool
            Raise on unusable rows instead of leaving them out.
        format : str, optional
            "fits", "votable", "csv", "ecsv", "parquet" or "hdf5", where the suffix does not say.

        Returns
        -------
        StarCatalogue
            The usable stars; `report` says what happened to the others.

        Raises
        ------
        CatalogueError
            If the file or a column is missing or can't be read, or no star is usable.
        MissingUnitError
            If neither the file, nor the call, nor the preset gives the unit of a column.
        """
        request = Request.make(columns, units, preset, keep, where=f"'{path}'")
        (table,) = read_tables(Path(path), format, None, request.wanted)
        catalogue = cls._extracted(table, request, (band, quantity, reference), str(path), strict)
        _require_stars(catalogue.report, f"'{path}'")
        return catalogue

    @classmethod
    def read_chunks(
        cls,
        path: str | os.PathLike,
        rows: int = 1_000_000,
        *,
        columns: Columns | None = None,
        units: Units | None = None,
        preset: str | Preset | None = None,
        band: str | None = None,
        quantity: str | None = None,
        reference: str | None = None,
        keep: Iterable[str] | None = None,
        strict: bool = False,
        format: str | None = None,
    ) -> Iterator["StarCatalogue"]:
        """Read a catalogue larger than memory, `rows` rows of the file at a time; otherwise like `read`.

        FITS, CSV, Parquet and HDF5 are read piece by piece; VOTable and ECSV are read whole and then sliced. A chunk
        may be empty where none of its rows is usable, so that the reports of all chunks add up to the file's.
        """
        if rows < 1:
            raise CatalogueError(f"rows must be at least 1, not {rows}")
        request = Request.make(columns, units, preset, keep, where=f"'{path}'")
        start, reports = 0, []
        for table in read_tables(Path(path), format, rows, request.wanted):
            catalogue = cls._extracted(table, request, (band, quantity, reference), str(path), strict, start)
            start += len(table)
            reports.append(catalogue.report)
            yield catalogue
        _require_stars(merge_reports(reports), f"'{path}'")

    @classmethod
    def from_table(
        cls,
        table: Table | pd.DataFrame,
        *,
        columns: Columns | None = None,
        units: Units | None = None,
        preset: str | Preset | None = None,
        band: str | None = None,
        quantity: str | None = None,
        reference: str | None = None,
        keep: Iterable[str] | None = None,
        strict: bool = False,
    ) -> "StarCatalogue":
        """Make a catalogue of an astropy Table or QTable or a pandas DataFrame; otherwise like `read`."""
        request = Request.make(columns, units, preset, keep, where="the table")
        if isinstance(table, pd.DataFrame):
            table = table.rename(columns=str)
            if twice := sorted(set(table.columns[table.columns.duplicated()])):
                raise CatalogueError(f"the table has several columns of one name: {', '.join(twice)}")
            table = Table.from_pandas(table[request.wanted(list(table.columns))])
        if not len(table):
            raise CatalogueError("the table holds no rows")
        catalogue = cls._extracted(table, request, (band, quantity, reference), "", strict)
        _require_stars(catalogue.report, "the table")
        return catalogue

    @classmethod
    def _extracted(
        cls,
        table: Table,
        request: Request,
        words: tuple[str | None, str | None, str | None],
        source: str,
        strict: bool,
        start: int = 0,
    ) -> "StarCatalogue":
        found = extract(table, request, start)
        row = np.arange(start, start + len(table))
        keep, report = validate(found.stars, row, found.notes, strict)
        measured = "parallax" if "parallax" in found.stars else "distance"
        label = Label.of(request, words, table.meta, source, measured)
        return cls._of(found.stars, found.extra, row, label, report, keep)

    @classmethod
    def concatenate(cls, catalogues: Iterable["StarCatalogue"]) -> "StarCatalogue":
        """Join catalogues, such as chunks, into one; their reports add up.

        Raises
        ------
        CatalogueError
            If there are none, they measure different extinctions, or only some have a column or parallaxes.
        """
        catalogues = list(catalogues)
        if not catalogues:
            raise CatalogueError("there is no catalogue to join")
        for kind in ("_stars", "extra"):
            names = [set(getattr(catalogue, kind)) for catalogue in catalogues]
            if partial := set.union(*names) - set.intersection(*names):
                raise CatalogueError(f"only some of the catalogues to join have {', '.join(sorted(partial))}")
        first = catalogues[0]
        stars = {name: np.concatenate([c._stars[name] for c in catalogues]) for name in first._stars}
        extra = {name: _join([c.extra[name] for c in catalogues]) for name in first.extra}
        row = np.concatenate([c.row for c in catalogues])
        report = merge_reports(c.report for c in catalogues)
        return cls._of(stars, extra, row, Label.merge(c._label for c in catalogues), report, slice(None))

    # -- choosing stars ------------------------------------------------------------------------------------------

    def __getitem__(self, key: object) -> "StarCatalogue":
        """Return the stars of a mask, an array of indices, a slice or one index; the report stays the file's.

        Where a mask is itself masked, as cuts on columns with gaps are, a star is not chosen.

        Raises
        ------
        CatalogueError
            If an index is masked.
        """
        if isinstance(key, np.ma.MaskedArray):
            if key.dtype != bool and np.ma.is_masked(key):
                raise CatalogueError("an index of a star is masked")
            key = key.filled(False) if key.dtype == bool else key.data
        index = np.atleast_1d(np.arange(len(self))[key])
        return self._of(self._stars, self.extra, self.row, self._label, self.report, index)

    def select(
        self,
        *,
        l: u.Quantity | None = None,
        b: u.Quantity | None = None,
        distance: u.Quantity | None = None,
        extinction: u.Quantity | None = None,
        mask: np.ndarray | None = None,
        max_distance_error_fraction: float | None = None,
        max_extinction_error: u.Quantity | None = None,
    ) -> "StarCatalogue":
        """Return the stars that pass all cuts.

        Parameters
        ----------
        l, b, distance, extinction : Quantity, shape (2,), optional
            Closed ranges (low, high). The longitudes may cross 0/360: (350, 10) deg or (-10, 10) deg.
        mask : array_like of bool, shape (stars,), optional
            Any other cut, for example on `extra`.
        max_distance_error_fraction : float, optional
            Largest σ_d / d.
        max_extinction_error : Quantity, optional
            Largest error of the extinction.

        Raises
        ------
        CatalogueError
            If a range is upside down, the mask has another shape, or there are no distance errors to cut on.
        """
        chosen = np.ones(len(self), dtype=bool)
        if l is not None:
            chosen &= in_longitude(self._stars["l"], l)
        for name, limits in (("b", b), ("distance", distance), ("extinction", extinction)):
            if limits is not None:
                chosen &= in_range(self._stars[name], limits, UNITS[name], name)
        if mask is not None:
            mask = np.ma.filled(mask, False)
            if mask.dtype != bool or mask.shape != chosen.shape:
                raise CatalogueError(f"mask must be {len(self)} booleans, not {mask.dtype} of shape {mask.shape}")
            chosen &= mask
        if max_distance_error_fraction is not None:
            if self.distance_error is None:
                raise CatalogueError("max_distance_error_fraction: the catalogue has no distance errors")
            chosen &= self._stars["distance_error"] <= max_distance_error_fraction * self._stars["distance"]
        if max_extinction_error is not None:
            chosen &= self._stars["extinction_error"] <= as_float(
                max_extinction_error, MAGNITUDE, "max_extinction_error"
            )
        return self[chosen]

    def split(self, fraction: float, seed: int) -> tuple["StarCatalogue", "StarCatalogue"]:
        """Split at random into a part to fit and a part to test with.

        Parameters
        ----------
        fraction : float
            The part of the stars that is held out, between 0 and 1.
        seed : int
            The same seed gives the same split.

        Returns
        -------
        train, held_out : StarCatalogue
            In the order of the file.
        """
        if not 0 <= fraction <= 1:
            raise CatalogueError(f"fraction must lie between 0 and 1, not {fraction}")
        order = np.random.default_rng(seed).permutation(len(self))
        held_out = np.zeros(len(self), dtype=bool)
        held_out[order[: round(fraction * len(self))]] = True
        return self[~held_out], self[held_out]

    # -- telling -------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """Describe the catalogue, and what was left out of it, in a few lines for a paper."""
        return summarise(self)

    def to_table(self) -> QTable:
        """Return a table with units under gpdust's names, with the words about it in ``meta``."""
        table = QTable({name: getattr(self, name) for name in self._stars}, meta=self._label.as_meta())
        table["row"] = self.row
        for name, column in self.extra.items():
            table[name] = column
        if self.extra:
            table.meta["keep"] = ",".join(self.extra)
        return table

    def write(self, path: str | os.PathLike) -> None:
        """Write to FITS, ECSV, VOTable, Parquet or HDF5 by suffix; `read` needs no columns or units to read it back.

        The file appears whole or not at all, and takes the place of an older one.
        """
        write_table(self.to_table(), Path(path))


def _as_column(column: object) -> np.ndarray:
    return column if isinstance(column, u.Quantity | np.ma.MaskedArray) else np.asarray(column)


def _join(columns: list[np.ndarray]) -> np.ndarray:
    masked = any(isinstance(column, np.ma.MaskedArray) for column in columns)
    return np.ma.concatenate(columns) if masked else np.concatenate(columns)


def _require_stars(report: ValidationReport, where: str) -> None:
    if not report.rows_kept:
        raise CatalogueError(f"{where} holds no usable star:\n{report}")
