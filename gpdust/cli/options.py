"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable

import click

_DEBUG = "gpdust.debug"
SEED = click.IntRange(0, 2**63 - 1)


def debug_option(command: Callable) -> Callable:
    """Add --debug, which shows the traceback of an error."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[_DEBUG] = value

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show the traceback of an error."
    )(command)


def wants_traceback(ctx: click.Context) -> bool:
    """Whether --debug was given to the command or any of its subcommands."""
    return ctx.meta.get(_DEBUG, False)


def quiet_option(command: Callable) -> Callable:
    """Add --quiet."""
    return click.option("--quiet", "-q", is_flag=True, help="Say nothing but warnings and errors.")(command)


def fresh_option(command: Callable) -> Callable:
    """Add --resume/--fresh."""
    return click.option(
        "--resume/--fresh",
        default=True,
        help="Go on from what the folder holds of this fit (the default), or fit anew, and replace it by that.",
    )(command)


def numbers(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[float]:
    """Turn repeated options and lists with commas into numbers; a click callback."""
    try:
        return [float(number) for value in values for number in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{', '.join(values)!r} is not a number, or numbers with commas between") from None
