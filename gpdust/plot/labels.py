"""Words at axes: what is drawn, and its unit."""

from __future__ import annotations

import re

import astropy.units as u

from gpdust.units import DENSITY, MAGNITUDE

UNITS = {"density": DENSITY, "extinction": MAGNITUDE}


def map_label(quantity: str, meta: dict) -> str:
    """Label of a density or extinction with symbol and band, where `meta` of the maps has them."""
    name, band = str(meta.get("quantity") or ""), str(meta.get("band") or "")
    symbol = re.sub(r"^(A)_?(\w+)$", r"$\1_{\\mathrm{\2}}$", name)  # A0 and A_V with a true subscript
    words = [quantity] + ["of"] * (quantity == "density" and bool(symbol)) + [symbol] * bool(symbol)
    if band:
        words.append(f"({band})")
    return with_unit(" ".join(words), UNITS[quantity])


def with_unit(name: str, unit: u.UnitBase | str) -> str:
    """Label in the manner of a quotient: "density / (mag pc⁻¹)"; the name alone where there is no unit."""
    text = unit if isinstance(unit, str) else unit.to_string("latex_inline").replace(r"\,", r"\ ")
    if not text:
        return name
    compound = (" " in text or "/" in text) and not text.endswith(")")
    return f"{name} / ({text})" if compound else f"{name} / {text}"
