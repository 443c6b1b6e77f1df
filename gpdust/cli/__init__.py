"""The command line; one file a command. What takes long to import is imported by the command that needs it."""

from gpdust.cli.group import main

__all__ = ["main"]
