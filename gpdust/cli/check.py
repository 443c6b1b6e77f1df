"""`gpdust check`: whether a fitted map and its error bars fit the stars."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpdust.cli.options import SEED, debug_option

if TYPE_CHECKING:
    from gpdust.catalogue import StarCatalogue


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("catalogue", required=False, type=click.Path(path_type=Path))
@click.option("--held-out", is_flag=True, help="The fit has not seen these stars.")
@click.option("--samples", type=click.IntRange(2), default=100, show_default=True, help="Draws from the posterior.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Same seed, same draws.")
@debug_option
def check(folder: Path, catalogue: Path | None, held_out: bool, samples: int, seed: int) -> None:
    """Check the map that `gpdust fit` wrote to DIR against stars.

    The stars are those of the fit, and those in the sightlines that [catalogue]
    hold_out kept out of it; or those of CATALOGUE, which is read as the fit's
    own was (columns, units and cuts). Printed is the report, with a verdict at
    its end. Written to the folder are check.json and check.png, and of stars
    held out by the configuration check_held_out.json and check_held_out.png.

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

    if held_out and catalogue is None:
        raise click.UsageError(
            "--held-out goes with a CATALOGUE that the fit has not seen; the stars that [catalogue] hold_out kept out "
            "of it are checked anyway"
        )
    posterior, talk = load_posterior(folder), Talk()
    for name, (stars, unseen) in _stars(folder, catalogue, held_out).items():
        found = predictive_check(posterior, stars, samples, seed, held_out=unseen)
        talk.say(f"{found}\n")
        write_json(folder / f"{name}.json", found.as_dict())
        save(found.plot, folder / f"{name}.png", talk)


def _stars(folder: Path, catalogue: Path | None, held_out: bool) -> dict[str, tuple[StarCatalogue, bool]]:
    """Name of a check -> its stars, and whether the fit has not seen them: its own, or others in the same columns."""
    import json
    from dataclasses import replace

    from gpdust.cli.folder import FitFolder
    from gpdust.config import Config, build
    from gpdust.errors import PosteriorError

    path = FitFolder(folder).record
    if not path.exists():
        raise PosteriorError(
            f"'{folder}' holds no fit.json, which says what stars there are; use gpdust.predictive_check"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        written, n_held_out = record["config"], record.get("stars", {}).get("held_out", 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PosteriorError(f"'{path}' is damaged ({type(error).__name__}: {error}); fit again with --fresh") from None
    config = Config.from_dict(written)
    if catalogue is not None:
        config = replace(config, catalogue=replace(config.catalogue, path=catalogue))
        return {"check": (build.read_stars(config), held_out)}
    fitted, unseen = build.split_stars(config, build.read_stars(config))
    if not len(unseen):
        return {"check": (fitted, False)}
    if len(unseen) != n_held_out:
        raise PosteriorError(
            f"the fit held out {n_held_out} stars, which would now be {len(unseen)}: "
            f"'{config.catalogue.path}' (or gpdust) has changed since. Fit it again"
        )
    return {"check": (fitted, False), "check_held_out": (unseen, True)}
