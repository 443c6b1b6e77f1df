"""Files -> astropy tables, whole or in chunks, reading only the columns that are needed where the format can."""

import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits, votable
from astropy.table import Table

from gpdust.errors import CatalogueError

#: Given the columns of a file, which of them to read.
Wanted = Callable[[Sequence[str]], list[str]]
Reader = Callable[[Path, int | None, Wanted], Iterator[Table]]

#: What the formats' libraries raise on broken files; a truncated FITS file is a TypeError to astropy.
BROKEN = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, SyntaxError, EOFError),
    *(pa.ArrowException, zlib.error, lzma.LZMAError),
)
COMPRESSED = (".gz", ".bz2", ".xz")
MISSING = [("", "0"), ("null", "0")]  # in ECSV; Gaia's archive writes null
LOOKED_AT = 10_000  # rows of a CSV file, for numbers that are codes

SUFFIXES = {
    ".fits": "fits",
    ".fit": "fits",
    ".fts": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".csv": "csv",
    ".ecsv": "ecsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
}


def file_format(path: Path, given: str | None = None) -> str:
    """Return the format of a file, from its suffix (".gz" is looked through) unless it is given.

    Raises
    ------
    CatalogueError
        If the format is not one of those in `READERS`.
    """
    suffix = next((s for s in reversed(path.suffixes) if s.lower() not in COMPRESSED), "").lower()
    found = given.lower() if given else SUFFIXES.get(suffix)
    if found not in READERS:
        what = f"format={given!r}" if given else f"the suffix {suffix!r} of '{path}'"
        raise CatalogueError(f"{what} is not known; give format= one of {', '.join(READERS)}")
    return found


def read_tables(path: Path, format: str | None, rows: int | None, wanted: Wanted) -> Iterator[Table]:
    """Read a file as tables of at most `rows` rows (None: as one table).

    FITS, CSV, Parquet and HDF5 are read piece by piece. VOTable and ECSV are read whole and then sliced.

    Raises
    ------
    CatalogueError
        If the file is missing, of an unknown format, broken or empty.
    """
    if not path.is_file():
        raise CatalogueError(f"there is no file '{path}'")
    name = file_format(path, format)
    empty = True
    try:
        for table in READERS[name](path, rows, wanted):
            if len(table):
                empty = False
                yield table
    except CatalogueError:
        raise
    except BROKEN as error:
        raise CatalogueError(f"'{path}' can't be read as {name}: {error}") from error
    if empty:
        raise CatalogueError(f"'{path}' holds no rows")


def slices(table: Table, rows: int | None) -> Iterator[Table]:
    """Cut a table into pieces of at most `rows` rows."""
    for start, stop in _spans(len(table), rows):
        yield table[start:stop]


def _spans(length: int, rows: int | None) -> Iterator[tuple[int, int]]:
    step = rows or max(length, 1)
    for start in range(0, length, step):
        yield start, min(start + step, length)


def _read_fits(path: Path, rows: int | None, wanted: Wanted) -> Iterator[Table]:
    with fits.open(path, memmap=True) as hdus:
        hdu = next((h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU)), None)
        if hdu is None:
            cut = ", or is cut short" if path.suffix.lower() in COMPRESSED else ""
            raise CatalogueError(f"'{path}' holds images but no table{cut}")
        for start, stop in _spans(len(hdu.data), rows):
            yield Table.read(type(hdu)(data=hdu.data[start:stop], header=hdu.header), format="fits")


def _read_votable(path: Path, rows: int | None, wanted: Wanted) -> Iterator[Table]:
    element = votable.parse_single_table(path)
    table = element.to_table(use_names_over_ids=True)
    table.meta.update({info.name: info.value for info in element.infos})
    yield from slices(table, rows)


def _read_ecsv(path: Path, rows: int | None, wanted: Wanted) -> Iterator[Table]:
    yield from slices(Table.read(path, format="ascii.ecsv", fill_values=MISSING), rows)


def _read_csv(path: Path, rows: int | None, wanted: Wanted) -> Iterator[Table]:
    names = [str(name) for name in pd.read_csv(path, nrows=0).columns]
    if names and names[0].startswith("# %ECSV"):  # as in the Gaia archive's bulk files
        yield from _read_ecsv(path, rows, wanted)
        return
    columns = wanted(names)
    # Nullable: a column of whole numbers stays one where some are missing, since a 64-bit identifier is no float.
    kinds = {"dtype_backend": "numpy_nullable", "dtype": _codes(path, columns)}
    options = {"usecols": columns, "low_memory": False} | kinds
    if rows is None:
        yield _frame_piece(pd.read_csv(path, **options))
        return
    with pd.read_csv(path, chunksize=rows, **options) as chunks:
        for frame in chunks:
            yield _frame_piece(frame)


def _codes(path: Path, columns: list[str]) -> dict[str, type]:
    """Columns whose first rows have numbers with leading zeros, as flags have: these are text."""
    head = pd.read_csv(path, usecols=columns, dtype=str, nrows=LOOKED_AT)
    return {name: str for name in head if head[name].str.fullmatch(r"0\d+", na=False).any()}


def _frame_piece(frame: pd.DataFrame) -> Table:
    """Plain columns where nothing is missing, or it is NaN; masked ones else."""
    columns = {}
    for name, column in frame.items():
        if pd.api.types.is_float_dtype(column.dtype):
            columns[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        elif pd.api.types.is_integer_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
            missing, plain = column.isna().to_numpy(), column.dtype.numpy_dtype
            values = column.to_numpy(dtype=plain, na_value=plain.type(0))
            columns[name] = np.ma.array(values, mask=missing) if missing.any() else values
        else:
            columns[name] = column.to_numpy(dtype=object, na_value=None)
    return Table(columns, copy=False)


def _read_parquet(path: Path, rows: int | None, wanted: Wanted) -> Iterator[Table]:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        by_astropy = b"table_meta_yaml" in (schema.metadata or {})
        columns = None if by_astropy else wanted(schema.names)
        if rows is None:
            tables = iter([file.read(columns=columns)])
        else:
            tables = (pa.Table.from_batches([batch]) for batch in file.iter_batches(batch_size=rows, columns=columns))
        for table in tables:
            yield _astropy_piece(table, schema.metadata) if by_astropy else _plain_piece(table)


def _astropy_piece(table: pa.Table, metadata: dict[bytes, bytes]) -> Table:
    """Let astropy decode its own units and mixin columns, from a small file in memory."""
    memory = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), memory, compression="none")
    memory.seek(0)
    return Table.read(memory, format="parquet")


def _plain_piece(table: pa.Table) -> Table:
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            columns[name] = _vectors(column.to_numpy())
        elif column.null_count and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            nothing = pa.scalar(0).cast(kind)
            columns[name] = np.ma.array(column.fill_null(nothing).to_numpy(), mask=column.is_null().to_numpy())
        else:
            columns[name] = column.to_numpy()
    return Table(columns, copy=False)


def _vectors(cells: np.ndarray) -> np.ndarray:
    """Lists of one length as rows; NaN where one is missing."""
    known = next((cell for cell in cells if cell is not None), np.zeros(1))
    nothing = np.full(np.shape(known), np.nan)
    return np.stack([nothing if cell is None else cell for cell in cells]) if len(cells) else cells


def _read_hdf5(path: Path, rows: int | None, wanted: Wanted) -> Iterator[Table]:
    with h5py.File(path, "r") as file:
        group = file
        while len(group) == 1 and isinstance(next(iter(group.values())), h5py.Group):
            group = next(iter(group.values()))
        datasets = {name: item for name, item in group.items() if isinstance(item, h5py.Dataset) and item.shape}
        tables = {name: item for name, item in datasets.items() if item.dtype.names}
        if len(tables) > 1:
            raise CatalogueError(f"'{path}' holds several tables ({', '.join(tables)}); keep one in a file")
        if tables:
            yield from _compound_hdf5(group, *tables, rows)
        else:
            yield from _column_hdf5(path, datasets, rows, wanted)


def _compound_hdf5(group: h5py.Group, name: str, rows: int | None) -> Iterator[Table]:
    """Let astropy decode its own units and mixin columns, from a small file in memory."""
    meta = f"{name}.__table_column_meta__"
    for start, stop in _spans(len(group[name]), rows):
        with h5py.File("piece", "w", driver="core", backing_store=False) as memory:
            piece = memory.create_dataset(name, data=group[name][start:stop])
            piece.attrs.update(group[name].attrs)
            if meta in group:
                memory.create_dataset(meta, data=group[meta][:])
            yield Table.read(memory, path=name, format="hdf5")


def _column_hdf5(path: Path, datasets: dict[str, h5py.Dataset], rows: int | None, wanted: Wanted) -> Iterator[Table]:
    """Read a file with one dataset per column; an attribute "unit" or "units" is the column's unit."""
    lengths = {item.shape[0] for item in datasets.values()}
    if len(lengths) != 1:
        raise CatalogueError(f"'{path}' holds no table, and no datasets of one length that could be its columns")
    columns = {name: datasets[name] for name in wanted(list(datasets))}
    for start, stop in _spans(lengths.pop(), rows):
        table = Table({name: item[start:stop] for name, item in columns.items()}, copy=False)
        for name, item in columns.items():
            unit = item.attrs.get("unit", item.attrs.get("units"))
            table[name].unit = unit.decode() if isinstance(unit, bytes) else unit
        yield table


READERS: dict[str, Reader] = {
    "fits": _read_fits,
    "votable": _read_votable,
    "csv": _read_csv,
    "ecsv": _read_ecsv,
    "parquet": _read_parquet,
    "hdf5": _read_hdf5,
}
