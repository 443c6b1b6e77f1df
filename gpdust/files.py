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
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary folder that takes the place of `path` once it has been filled without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix="." + path.name + "-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp makes it private; a product is not
        old = Path(tempfile.mkdtemp(prefix="." + path.name + "-old-", dir=path.parent))
        if path.exists():
            os.replace(path, old)  # at once, and kept until the new folder is in its place
        os.replace(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def write_json(path: str | os.PathLike, record: dict) -> None:
    """Write a dictionary as indented JSON, atomically; NaN and infinity are refused, since JSON has none."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
