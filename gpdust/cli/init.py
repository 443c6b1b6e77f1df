"""`gpdust init`: a configuration to start from."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from gpdust.cli.options import debug_option

Range = tuple[float, float]


def _columns(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str | tuple[str, ...]]:
    pairs = [value.partition("=") for value in values]
    if wrong := [value for value, (_, sign, column) in zip(values, pairs, strict=True) if not (sign and column)]:
        raise click.BadParameter(f"{wrong[0]!r} is not of the form NAME=COLUMN, such as extinction=AV50")
    return {name: tuple(column.split(",")) if "," in column else column for name, _, column in pairs}


@click.command()
@click.argument("catalogue", type=click.Path(path_type=Path))
@click.option("--preset", help="A published catalogue, such as hunt2023: its columns are known.")
@click.option("--format", "format_", help="Of the file, such as csv, where its name does not tell.")
@click.option("--column", "columns", multiple=True, callback=_columns, metavar="NAME=COLUMN", help="Say what is what.")
@click.option("--l", "l", nargs=2, type=float, metavar="FROM TO", help="Region, deg; may cross 0.")
@click.option("--b", "b", nargs=2, type=float, metavar="FROM TO", help="Region, deg.")
@click.option("--distance", nargs=2, type=float, metavar="FROM TO", help="Region, pc.")
@click.option("--out", "-o", default="config.toml", show_default=True, type=click.Path(path_type=Path), help="File.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@debug_option
def init(
    catalogue: Path,
    preset: str | None,
    format_: str | None,
    columns: dict[str, str | tuple[str, ...]],
    l: Range | None,
    b: Range | None,
    distance: Range | None,
    out: Path,
    force: bool,
) -> None:
    """Write a commented configuration for CATALOGUE, a table of stars.

    FITS, VOTable, CSV, ECSV, Parquet and HDF5 are read. Columns are guessed
    from their names, and each guess is marked in the file. Proposed are a
    region around 98 % of the stars, a grid and a prior to start from, with
    what the fit will cost with each engine. Look it through, then run `gpdust
    fit`.

    \b
    Names for --column: l, b (or ra, dec), distance, distance_error (or
    parallax, parallax_error), extinction, extinction_error. An error may be a
    pair of percentiles, such as --column extinction_error=AV16,AV84.

    \b
    Examples:
        gpdust init stars.fits
        gpdust init clusters.csv --preset hunt2023 --distance 100 3000
        gpdust init stars.csv --column extinction=A5 --l 350 10 --out gc.toml
    """
    from gpdust.config.starter import make_starter
    from gpdust.errors import ConfigError
    from gpdust.files import atomic_path

    if out.exists() and not force:
        raise ConfigError(f"'{out}' is there already; give another --out, or --force to replace it")
    starter = make_starter(catalogue, out.parent, preset, columns, format_, l=l, b=b, distance=distance)
    with atomic_path(out) as temporary:
        temporary.write_text(starter.text, encoding="utf-8")
    click.echo(starter.stars.summary())
    for name, column in starter.columns.items():
        click.echo(f"  {name:18} {' and '.join(column) if isinstance(column, tuple) else column}")
    region, grid = starter.proposal.sections["region"], starter.proposal.sections["grid"]["shape"]
    (l0, l1), (b0, b1), (d0, d1) = region["l"], region["b"], region["distance"]
    click.echo(f"\nproposed: l {l0:g} to {l1:g} deg, b {b0:g} to {b1:g} deg, distance {d0:g} to {d1:g} pc, ", nl=False)
    click.echo(f"with {starter.proposal.stars} stars on {' × '.join(map(str, grid))} cells")
    click.echo("estimates on two cores:")
    for line in starter.proposal.estimates():
        click.echo(f"  {line}")
    for doubt in starter.doubts:
        click.echo(f"check:    {doubt}")
    click.echo(f"\nwritten to {out}; next: gpdust fit {quote(str(out))} --out {quote(out.stem)}")
