"""`gpdust query`: density and extinction at given places."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpdust.cli.options import SEED, debug_option, numbers

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

    from gpdust.posterior import Estimate


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--l", "l", multiple=True, required=True, callback=numbers, metavar="DEG", help="Galactic longitude.")
@click.option("--b", "b", multiple=True, required=True, callback=numbers, metavar="DEG", help="Galactic latitude.")
@click.option("--d", "d", multiple=True, required=True, callback=numbers, metavar="PC", help="Distance.")
@click.option("--samples", type=click.IntRange(2), default=1000, show_default=True, help="Draws from the posterior.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Same seed, same draws.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@debug_option
def query(folder: Path, l: list[float], b: list[float], d: list[float], samples: int, seed: int, as_json: bool) -> None:
    """Print density and extinction at places in the map that `gpdust fit` wrote to DIR.

    Several places: repeat an option, or put commas between. A coordinate given
    once holds for all places. Extinctions are from the Sun to the place.

    \b
    Examples:
        gpdust query orion --l 209 --b -19.4 --d 400
        gpdust query orion --l 209 --b -19.4 --d 300,350,400,450
        gpdust query orion --l 205,209 --b -14,-19.4 --d 400 --json
    """
    from gpdust.cli.folder import load_posterior

    places = _places(l, b, d)
    posterior = load_posterior(folder)
    density, extinction = posterior.query(places, samples, seed)
    click.echo(_json(places, density, extinction) if as_json else _table(places, density, extinction, posterior.meta))


def _places(l: list[float], b: list[float], d: list[float]) -> SkyCoord:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    counts = {"--l": len(l), "--b": len(b), "--d": len(d)}
    n = max(counts.values())
    if any(count not in (1, n) for count in counts.values()):
        given = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise click.UsageError(f"got {given}: give as many of each, or one that holds for all places")
    if wrong := [angle for angle in b if not -90 <= angle <= 90]:
        raise click.BadParameter(f"{wrong[0]:g} deg is no latitude", param_hint="--b")
    if wrong := [distance for distance in d if not distance > 0]:
        raise click.BadParameter(f"{wrong[0]:g} pc is no distance", param_hint="--d")
    l, b, d = (values * (n // len(values)) for values in (l, b, d))
    return SkyCoord(l=l * u.deg, b=b * u.deg, distance=d * u.pc, frame="galactic")


def _rows(places: SkyCoord, density: Estimate, extinction: Estimate) -> list[dict[str, float]]:
    from gpdust.units import DEGREE, DENSITY, MAGNITUDE, PARSEC, as_array

    columns = {
        "l": as_array(places.l, DEGREE, "l"),
        "b": as_array(places.b, DEGREE, "b"),
        "distance": as_array(places.distance, PARSEC, "distance"),
        **{f"density_p{p}": as_array(density.percentile(p), DENSITY, "density") for p in (16, 50, 84)},
        **{f"extinction_p{p}": as_array(extinction.percentile(p), MAGNITUDE, "extinction") for p in (16, 50, 84)},
    }
    return [
        {name: float(value) for name, value in zip(columns, row, strict=True)}
        for row in zip(*columns.values(), strict=True)
    ]


def _json(places: SkyCoord, density: Estimate, extinction: Estimate) -> str:
    import json

    units = {"l": "deg", "b": "deg", "distance": "pc", "density": "mag / pc", "extinction": "mag"}
    return json.dumps({"units": units, "places": _rows(places, density, extinction)}, indent=2)


def _table(places: SkyCoord, density: Estimate, extinction: Estimate, meta: dict) -> str:
    """Lay out a row for each place, with percentiles 16, 50 and 84."""
    band = ", ".join(str(meta[name]) for name in ("quantity", "band") if meta.get(name))
    lines = [
        f"{'l':>9} {'b':>8} {'d':>8}   {'density / (mag/pc)':^29}   {f'extinction / mag ({band})':^26}".rstrip(),
        f"{'deg':>9} {'deg':>8} {'pc':>8}   {'p16':>9} {'p50':>9} {'p84':>9}   {'p16':>8} {'p50':>8} {'p84':>8}",
    ]
    for row in _rows(places, density, extinction):
        l, b, d, *values = row.values()
        numbers = " ".join(f"{value:9.3e}" for value in values[:3]) + "   " + " ".join(f"{v:8.4f}" for v in values[3:])
        lines.append(f"{l:9.4f} {b:8.4f} {d:8.2f}   {numbers}")
    return "\n".join(lines)
