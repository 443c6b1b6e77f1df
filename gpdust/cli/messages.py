"""What a command says: results on stdout, warnings as single lines on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from tqdm import tqdm

from gpdust.encoder import TrustWarning
from gpdust.fitting import ConvergenceWarning
from gpdust.prior.cholesky import JitterWarning


@dataclass
class Talk:
    """A command's voice.

    Attributes
    ----------
    quiet : bool
        Say nothing but warnings.
    warnings : list of str
        Those given so far, for the record of the run.
    """

    quiet: bool = False
    warnings: list[str] = field(default_factory=list)

    def say(self, text: str = "") -> None:
        """Print lines, unless quiet."""
        if not self.quiet:
            click.echo(text)

    def warn(self, text: object) -> None:
        """Print a warning once, above a progress bar where there is one."""
        text = " ".join(str(text).split())
        if text not in self.warnings:
            self.warnings.append(text)
            with tqdm.external_write_mode():
                click.echo(f"warning: {text}", err=True)

    @contextmanager
    def hearing_warnings(self) -> Iterator[None]:
        """Show Python warnings in this voice instead of Python's."""
        with warnings.catch_warnings():
            for category in (ConvergenceWarning, JitterWarning, TrustWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = lambda message, *_args, **_options: self.warn(message)
            yield
