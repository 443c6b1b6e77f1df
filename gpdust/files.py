"""Atomic files: a reader sees the old file or the whole new one, never half of it."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes the place of `path`.

    Parameters
    ----------
    path : path-like
        The file to be written. Its folder is made where missing.

    Yields
    ------
    Path
        A path with the same suffixes in the same folder, to be written by the caller.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix="-" + path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    temporary.unlink()  # some writers refuse a file that exists
    try:
        yield temporary
        _make_public(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary folder that takes the place of `path` once it has been filled without an error."""
    path = Path(path).resolve()  # a link stays one, to a new folder
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (Path(tempfile.mkdtemp(prefix=f".{path.name}-{what}", dir=path.parent)) for what in ("", "old-"))
    try:
        yield temporary
        for made in (temporary, *temporary.rglob("*")):
            _make_public(made)
        if path.exists():
            os.replace(path, old)  # at once, and kept until the new folder is in its place
        try:
            os.replace(temporary, path)
        except OSError:
            os.replace(old, path)
            raise
    finally:
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def _make_public(path: Path) -> None:
    """Give a file or a folder the usual permissions: some writers make what only its owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def write_json(path: str | os.PathLike, record: dict) -> None:
    """Write a dictionary as indented JSON, atomically; NaN and infinity are refused, since JSON has none."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
