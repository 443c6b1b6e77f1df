"""`gpdust check`: whether a fitted map and its error bars fit the stars."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpdust.cli.options import debug_option

if TYPE_CHECKING:
    from gpdust.catalogue import StarCatalogue


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("catalogue", required=False, type=click.Path(path_type=Path))
@click.option("--held-out", is_flag=True, help="The fit has not seen these stars.")
@click.option("--samples", type=click.IntRange(2), default=100, show_default=True, help="Draws from the posterior.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same draws.")
@debug_option
def check(folder: Path, catalogue: Path | None, held_out: bool, samples: int, seed: int) -> None:
    """Check the map that `gpdust fit` wrote to DIR against stars.

    The stars are those of the fit, or of CATALOGUE, which is read as the fit's
    own was (columns, units and cuts). Printed is the report, with a verdict at
    its end. Written to the folder are check.json and check.png.

    \b
    Examples:
        gpdust check orion
        gpdust check orion held_out.fits --held-out
    """
    from gpdust.checks import predictive_check
    from gpdust.cli.figures import save
    from gpdust.cli.folder import load_posterior
    from gpdust.cli.messages import Talk
    from gpdust.files import write_json

    posterior = load_posterior(folder)
    found = predictive_check(posterior, _stars(folder, catalogue), samples, seed, held_out=held_out)
    click.echo(str(found))
    write_json(folder / "check.json", found.as_dict())
    save(found.plot, folder / "check.png", Talk())


def _stars(folder: Path, catalogue: Path | None) -> StarCatalogue:
    """The stars of the fit, or others in the same columns."""
    import json
    from dataclasses import replace

    from gpdust.cli.folder import FitFolder
    from gpdust.config import Config, build
    from gpdust.errors import PosteriorError

    record = FitFolder(folder).record
    if not record.exists():
        raise PosteriorError(
            f"'{folder}' holds no fit.json, which says what stars there are; use gpdust.predictive_check"
        )
    config = Config.from_dict(json.loads(record.read_text(encoding="utf-8"))["config"])
    if catalogue is not None:
        config = replace(config, catalogue=replace(config.catalogue, path=catalogue))
    return build.read_stars(config)
