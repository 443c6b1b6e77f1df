"""What the files of all grids share: their header, and tables of edges, percentiles and words."""

from __future__ import annotations

import json

import astropy.units as u
import numpy as np
from astropy.io import fits

import gpdust
from gpdust.posterior.maps import PercentileMaps
from gpdust.units import DENSITY, MAGNITUDE

GRID_KEY = "GRIDKIND"
QUANTITIES = {"DENSITY": DENSITY, "EXTINCTION": MAGNITUDE}
# Shown in the primary header for people; META has the whole truth.
_SHOWN = {
    "band": ("BAND", "wavelength or passband of the extinction"),
    "quantity": ("QUANTITY", "what the extinction is"),
    "reference": ("REFERENC", "where the stars were published"),
    "seed": ("SEED", "random seed of the fit"),
}

LONG = 25  # letters of a value that leave no room on its card for a comment


def product_name(quantity: str, percentile: float) -> str:
    """Name of a product, such as DENSITY_P50 or EXTINCTION_P2.5."""
    return f"{quantity}_P{percentile:g}"


def fits_unit(unit: u.UnitBase) -> str:
    """Spelling of a unit in FITS, such as 'mag pc-1'."""
    return unit.to_string("fits")


def primary_hdu(maps: PercentileMaps) -> fits.PrimaryHDU:
    """Header that says what the file is; it carries no data."""
    primary = fits.PrimaryHDU()
    header = primary.header
    header["CREATOR"] = (f"gpdust {gpdust.__version__}", "what wrote this file")
    header[GRID_KEY] = (maps.grid.kind, "kind of grid")
    for name, (key, comment) in _SHOWN.items():
        if name in maps.meta:
            value = _header_value(maps.meta[name])
            header[key] = value if len(str(value)) > LONG else (value, comment)
    return primary


def _header_value(value: object) -> str | float | int | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    return "".join(letter if " " <= letter <= "~" else "?" for letter in str(value))  # headers are printable ASCII


def column_hdu(name: str, column: str, values: np.ndarray, unit: str) -> fits.BinTableHDU:
    """Table of one float64 column."""
    return fits.BinTableHDU.from_columns([fits.Column(column, "D", unit=unit, array=values)], name=name)


def read_column(hdus: fits.HDUList, name: str, column: str) -> np.ndarray:
    """Column of a table as native float64."""
    return hdus[name].data[column].astype(np.float64)


def edges_hdu(name: str, edges: u.Quantity) -> fits.BinTableHDU:
    """Table of cell boundaries."""
    return column_hdu(name, "edge", edges.value, fits_unit(edges.unit))


def percentiles_hdu(percentiles: tuple[float, ...]) -> fits.BinTableHDU:
    """Table of the percentiles held; the names of the products follow from it."""
    return column_hdu("PERCENTILES", "percentile", np.array(percentiles), "%")


def read_percentiles(hdus: fits.HDUList) -> tuple[float, ...]:
    """Percentiles that the file holds."""
    return tuple(read_column(hdus, "PERCENTILES", "percentile").tolist())


def words_hdu(meta: dict) -> fits.BinTableHDU:
    """Table of `meta`: keys, and values as JSON, which FITS headers could not hold (long, or not ASCII)."""
    columns = {"key": [json.dumps(str(key)) for key in meta], "value": [_json(value) for value in meta.values()]}
    width = {name: max(map(len, texts), default=1) for name, texts in columns.items()}
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, f"{width[name]}A", array=np.array(texts, dtype="S")) for name, texts in columns.items()],
        name="META",
    )


def _json(value: object) -> str:
    return json.dumps(value, default=lambda other: other.tolist() if hasattr(other, "tolist") else str(other))


def read_meta(hdus: fits.HDUList) -> dict:
    """Turn the table of `words_hdu` back into a dictionary."""
    table = hdus["META"].data
    return {json.loads(key): json.loads(value) for key, value in zip(table["key"], table["value"], strict=True)}
