"""The command `gpdust`: its subcommands, and what errors and Ctrl-C look like."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

import click

from gpdust._version import __version__
from gpdust.cli.check import check
from gpdust.cli.demo import demo
from gpdust.cli.fit import fit
from gpdust.cli.init import init
from gpdust.cli.options import wants_traceback
from gpdust.cli.query import query
from gpdust.cli.train_vnet import train_vnet
from gpdust.errors import GpdustError

FAILED, INTERRUPTED = 1, 130  # click exits with 2 on wrong usage


class Commands(click.Group):
    """A group whose errors are for people: one message, no traceback, and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            click.echo(f"\n{str(stop) or 'interrupted'}", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # of `gpdust query … | head`: click ends quietly
            raise
        except (GpdustError, OSError, MemoryError) as error:
            if wants_traceback(ctx):
                raise
            click.echo(f"error: {_message(error)}", err=True)
            ctx.exit(FAILED)


def _message(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"there is not enough memory: take fewer cells or latents ({error or 'no size was given'})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror
    return str(error)


@click.group(
    cls=Commands,
    commands=[demo, fit, query, check, init, train_vnet],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", message="gpdust %(version)s")
def main() -> None:
    """Map interstellar dust in 3D, with error bars, from a catalogue of stars.

    \b
    Try it on simulated clumps, with a known truth (about a minute):
        gpdust demo
    Fit a catalogue of your own:
        gpdust init stars.fits --out orion.toml     # proposes a configuration
        gpdust fit orion.toml --out orion           # maps, figures, record
        gpdust query orion --l 209 --b -19.4 --d 400
        gpdust check orion                          # do map and errors fit the stars?

    Exit codes: 0 done, 1 an error in the data or the configuration, 2 wrong
    usage, 130 interrupted.
    """
