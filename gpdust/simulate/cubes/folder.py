"""The files of a library: cubes mapped into memory, and a record of what they are and how many are done."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np

from gpdust.errors import EncoderError
from gpdust.files import write_json

FORMAT = 1
DENSITY, RECORD = "density.npy", "library.json"


def begin(path: Path, wanted: dict) -> dict:
    """Record of the library to go on with, which is started where there is none."""
    if not (path / RECORD).exists():
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise EncoderError(f"'{path}' is there already and is no library of cubes; choose a new or an empty folder")
        record = wanted | {"done": 0}
        write_json(path / RECORD, record)
        return record
    record = read_record(path)
    finished = record["done"] == record["count"]
    keys = [key for key in wanted if not (finished and key == "gpdust")]
    other = [f"{key} {record[key]} instead of {wanted[key]}" for key in keys if record[key] != wanted[key]]
    if other:
        raise EncoderError(
            f"the folder '{path}' holds a library with {', '.join(other)}; choose another folder, or remove this one"
        )
    return record


def read_record(path: Path) -> dict:
    """What the library holds, and how many cubes are done."""
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"'{path}' holds no library of cubes: {RECORD} can't be read ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise EncoderError(f"'{path / RECORD}' is not of format {FORMAT}, which this version of gpdust reads")
    missing = {"gpdust", "recipe", "seed", "count", "cells", "cell_length", "done"} - record.keys()
    if missing:
        raise EncoderError(f"'{path / RECORD}' lacks {', '.join(sorted(missing))}; make the library anew")
    return record


def map_cubes(path: Path, record: dict, mode: str) -> np.ndarray:
    """Cubes on disk, shape (count, cells, cells, cells), to read ("r"), to go on with ("r+") or all new ("w+")."""
    file, shape = path / DENSITY, (record["count"], *3 * (record["cells"],))
    if mode == "w+":
        need, free = math.prod(shape) * np.float32().nbytes, shutil.disk_usage(path).free
        if need > free:  # a full disk would kill the process without a word
            raise EncoderError(f"'{path}' needs {need / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free")
        return np.lib.format.open_memmap(file, mode, np.float32, shape)
    try:
        cubes = np.lib.format.open_memmap(file, "r")  # "r+" would fill up a file that was cut off
    except (OSError, ValueError) as error:
        raise EncoderError(f"'{file}' is missing or damaged ({error}); remove '{path}' and make it anew") from error
    if cubes.shape != shape or cubes.dtype != np.float32:
        raise EncoderError(
            f"'{file}' holds {cubes.dtype} of shape {cubes.shape} where {RECORD} says float32 of {shape}; remove "
            f"'{path}' and make it anew"
        )
    return cubes if mode == "r" else np.lib.format.open_memmap(file, mode)
