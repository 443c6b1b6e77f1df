"""Which rows of a catalogue can be used, and an account of those that can't."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gpdust.errors import CatalogueError

_ROWS_SHOWN = 5
_EXACT = "distance error is zero (the distance counts as exact)"
_LOW_SIGNAL = "parallax is less than 5 times its error (1/parallax is biased)"


@dataclass(frozen=True)
class RowCount:
    """How many rows share one trouble, and the first of them (0-based rows of the file)."""

    reason: str
    count: int
    rows: tuple[int, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.rows) else ""
        plural = "row" if self.count == 1 else "rows"
        return f"{self.count:>10}  {self.reason}: {plural} {', '.join(map(str, self.rows))}{more}"


@dataclass(frozen=True)
class ValidationReport:
    """What became of the rows of a table.

    A dropped row counts once, under its first reason in a fixed order, so that
    ``rows_read == rows_kept + sum of dropped counts``.

    Attributes
    ----------
    rows_read, rows_kept : int
        Rows of the table, and stars made of them.
    dropped : tuple of RowCount
        Rows left out, by reason.
    flagged : tuple of RowCount
        Rows kept that deserve a warning.
    notes : tuple of str
        What else the reader did that a user may want to know.
    """

    rows_read: int
    rows_kept: int
    dropped: tuple[RowCount, ...] = ()
    flagged: tuple[RowCount, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rows_read != self.rows_kept + self.rows_dropped:
            raise AssertionError(f"{self.rows_read} rows read != {self.rows_kept} kept + {self.rows_dropped} dropped")

    @property
    def rows_dropped(self) -> int:
        """How many rows were left out."""
        return sum(entry.count for entry in self.dropped)

    def __str__(self) -> str:
        lines = [f"{self.rows_read} rows read, {self.rows_kept} kept, {self.rows_dropped} dropped (rows count from 0)"]
        lines += map(str, self.dropped)
        if self.flagged:
            lines += ["kept, but beware:", *map(str, self.flagged)]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)

    def as_dict(self) -> dict:
        """Return the report as plain dictionaries and lists, ready for JSON."""

        def plain(entries: tuple[RowCount, ...]) -> list[dict]:
            return [{"reason": e.reason, "count": e.count, "first_rows": list(e.rows)} for e in entries]

        return {
            "rows_read": self.rows_read,
            "rows_kept": self.rows_kept,
            "dropped": plain(self.dropped),
            "flagged": plain(self.flagged),
            "notes": list(self.notes),
        }


def merge_reports(reports: Iterable[ValidationReport]) -> ValidationReport:
    """Add up the reports of the parts of one catalogue, or of several."""
    reports = list(reports)
    return ValidationReport(
        rows_read=sum(report.rows_read for report in reports),
        rows_kept=sum(report.rows_kept for report in reports),
        dropped=_merge_counts(entry for report in reports for entry in report.dropped),
        flagged=_merge_counts(entry for report in reports for entry in report.flagged),
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
    )


def _merge_counts(entries: Iterable[RowCount]) -> tuple[RowCount, ...]:
    merged: dict[str, RowCount] = {}
    for entry in entries:
        before = merged.get(entry.reason, RowCount(entry.reason, 0, ()))
        rows = (before.rows + entry.rows)[:_ROWS_SHOWN]
        merged[entry.reason] = RowCount(entry.reason, before.count + entry.count, rows)
    return tuple(merged.values())


def validate(
    stars: Mapping[str, np.ndarray], row: np.ndarray, notes: Iterable[str] = (), strict: bool = False
) -> tuple[np.ndarray, ValidationReport]:
    """Find the usable rows.

    Parameters
    ----------
    stars : mapping of str to ndarray
        float64 arrays of shape (rows,) under the names of `fields.UNITS`; missing values are NaN.
    row : ndarray of int, shape (rows,)
        Row numbers, for the report.
    notes : iterable of str
        Passed on to the report.
    strict : bool
        Raise instead of dropping.

    Returns
    -------
    keep : ndarray of bool, shape (rows,)
        The usable rows.
    report : ValidationReport
        Why the others are not.

    Raises
    ------
    CatalogueError
        If `strict` and any row is unusable; the message lists every kind of trouble.
    """
    keep = np.ones(len(row), dtype=bool)
    dropped = []
    for reason, bad in _checks(stars):
        bad &= keep
        if bad.any():
            dropped.append(_count(reason, row[bad]))
            keep &= ~bad
    flagged = []
    if "parallax_error" in stars:
        weak = keep & (stars["parallax"] < 5 * stars["parallax_error"])
        flagged = [_count(_LOW_SIGNAL, row[weak])] if weak.any() else []
    if "distance_error" in stars:
        exact = keep & (stars["distance_error"] == 0)
        flagged += [_count(_EXACT, row[exact])] if exact.any() else []
    report = ValidationReport(len(row), int(keep.sum()), tuple(dropped), tuple(flagged), tuple(notes))
    if strict and dropped:
        raise CatalogueError(f"the catalogue has unusable rows and strict=True:\n{report}")
    return keep, report


def _count(reason: str, rows: np.ndarray) -> RowCount:
    return RowCount(reason, len(rows), tuple(int(row) for row in rows[:_ROWS_SHOWN]))


def _checks(stars: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (reason, bad rows) in the fixed order in which rows are counted.

    Negative extinctions pass: they are measurements of little dust with noise.
    """
    for name in ("l", "b"):
        yield from _finite(stars, name)
    yield "latitude (b or dec) is beyond -90 to 90 deg", np.abs(stars["b"]) > 90
    for value in ("parallax", "distance", "extinction"):  # a distance from a bad parallax is blamed on the parallax
        if value not in stars:
            continue
        yield from _finite(stars, value)
        if value != "extinction":
            yield f"{value} is not positive", stars[value] <= 0
        yield from _percentiles(stars, value)
        if f"{value}_error" in stars:
            yield from _finite(stars, f"{value}_error")
            yield from _error(stars, value)


def _error(stars: Mapping[str, np.ndarray], value: str) -> Iterator[tuple[str, np.ndarray]]:
    """An extinction without error would have all the weight; a distance may be known exactly, but not on one side."""
    error = stars[f"{value}_error"]
    if value == "extinction":
        yield f"{value} error is not positive", error <= 0
        return
    yield f"{value} error is negative", error < 0
    if f"{value}_lower_error" in stars:
        lower, upper = (stars[f"{value}_{side}_error"] for side in ("lower", "upper"))
        yield f"{value} error is zero on one side only", (lower == 0) != (upper == 0)


def _finite(stars: Mapping[str, np.ndarray], name: str) -> Iterator[tuple[str, np.ndarray]]:
    label = name.replace("_", " ")
    yield f"{label} is missing (NaN, masked or empty)", np.isnan(stars[name])
    yield f"{label} is infinite", np.isinf(stars[name])


def _percentiles(stars: Mapping[str, np.ndarray], value: str) -> Iterator[tuple[str, np.ndarray]]:
    sides = [stars[name] for name in (f"{value}_lower_error", f"{value}_upper_error") if name in stars]
    if sides:
        yield f"{value} is outside its own 16th to 84th percentile", np.any([side < 0 for side in sides], axis=0)
