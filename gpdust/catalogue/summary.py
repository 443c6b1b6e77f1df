"""A catalogue in a few lines that can go into a paper."""

from typing import TYPE_CHECKING

import numpy as np

from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array

if TYPE_CHECKING:
    from gpdust.catalogue.catalogue import StarCatalogue


def summarise(catalogue: "StarCatalogue") -> str:
    """Say how many stars there are, whence, where, how well measured, and what was left out and why."""
    report = catalogue.report
    lines = [f"{len(catalogue)} stars from {_origin(catalogue)}"]
    if len(catalogue) != report.rows_kept:
        lines[0] += f", selected out of {report.rows_kept} usable ones"
    if len(catalogue):
        lines += _region(catalogue) + _errors(catalogue)
    lines += _account(catalogue)
    return "\n".join(lines)


def _origin(catalogue: "StarCatalogue") -> str:
    reference = catalogue.reference or "an unnamed catalogue"
    return f"{reference} (file {catalogue.source})" if catalogue.source else reference


def _region(catalogue: "StarCatalogue") -> list[str]:
    first, last = longitude_span(as_array(catalogue.l, DEGREE, "l"))
    longitudes = "all l" if (last - first) % 360 > 350 else f"l = {first:.2f} to {last:.2f} deg"
    b, d = as_array(catalogue.b, DEGREE, "b"), as_array(catalogue.distance, PARSEC, "distance")
    a = as_array(catalogue.extinction, MAGNITUDE, "extinction")
    band = f" ({catalogue.band})" if catalogue.band else ""
    return [
        f"  region      {longitudes}, b = {b.min():.2f} to {b.max():.2f} deg",
        f"  distance    {d.min():.4g} to {d.max():.4g} pc, median {np.median(d):.4g} pc",
        f"  extinction  {catalogue.quantity}{band}: {a.min():.3g} to {a.max():.3g} mag, median {np.median(a):.3g} mag, "
        f"{np.mean(a < 0):.1%} negative",
    ]


def longitude_span(l: np.ndarray) -> tuple[float, float]:
    """Return the shortest stretch of longitude (deg) that holds all stars, going east; it may cross 0/360."""
    ordered = np.sort(l)
    gaps = np.diff(ordered, append=ordered[0] + 360)
    widest = int(np.argmax(gaps))
    return float(ordered[(widest + 1) % len(ordered)]), float(ordered[widest])


def _errors(catalogue: "StarCatalogue") -> list[str]:
    extinction = f"  errors      median {np.median(catalogue.extinction_error):.3g} in extinction"
    if catalogue.distance_error is None:
        return [f"{extinction}; distances have none"]
    fraction = (catalogue.distance_error / catalogue.distance).to_value(1)
    return [f"{extinction}, {np.median(fraction):.2%} in distance"]


def _account(catalogue: "StarCatalogue") -> list[str]:
    report = catalogue.report
    lines = [f"  rows        {report.rows_read} read, {report.rows_kept} usable, {report.rows_dropped} dropped"]
    lines += [f"              {entry.count} dropped: {entry.reason}" for entry in report.dropped]
    lines += [f"  beware      {entry.count} kept although {entry.reason}" for entry in report.flagged]
    return lines + [f"  note        {note}" for note in report.notes]
