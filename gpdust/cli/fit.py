"""`gpdust fit`: a configuration in, a folder of products out."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

from pathlib import Path

import click

from gpdust.cli.options import debug_option, fresh_option, quiet_option


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Folder for the products.")
@fresh_option
@quiet_option
@debug_option
def fit(config: Path, out: Path, resume: bool, quiet: bool) -> None:
    """Fit the map that CONFIG describes, a TOML file (see `gpdust init`).

    \b
    Written to the folder, each file whole or not at all:
        maps.fits     percentile maps of density and extinction, with WCS
        stars.fits    what the map says of each star: distance, extinction,
                      residual, outlier probability
        posterior/    the posterior itself, for `gpdust query` and Posterior.load
        fit.json      the record: versions, config, engine, hyperparameters,
                      ELBO, stars used and dropped and why, time, memory
        *.png         density slices, extinction, uncertainty, residuals,
                      trace of the fit, one line of sight

    A fit that was stopped (Ctrl-C, or the machine) goes on where it was when
    the same command is given again. Where the folder holds a finished fit of
    the same configuration, only maps and figures are made again, so that a
    change in [maps] is cheap. A finished fit of another configuration is never
    replaced unless --fresh says so, and then not before the new one is done.

    \b
    Examples:
        gpdust fit orion.toml --out orion
        gpdust fit orion.toml --out orion --fresh
    """
    from gpdust.cli.folder import FitFolder
    from gpdust.cli.messages import Talk
    from gpdust.cli.pipeline import run
    from gpdust.cli.report import end_report
    from gpdust.config import Config

    talk = Talk(quiet)
    with talk.hearing_warnings():
        done = run(Config.read(config), FitFolder(out), fresh=not resume, talk=talk)
    talk.say(end_report(done))
