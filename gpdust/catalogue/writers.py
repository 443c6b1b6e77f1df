"""A catalogue's table -> a file that reads back without saying anything about its columns."""

from pathlib import Path

from astropy.io import votable
from astropy.io.votable.tree import Info
from astropy.table import QTable

from gpdust.catalogue.readers import file_format
from gpdust.errors import CatalogueError
from gpdust.files import atomic_path

# FITS keywords have eight letters at most.
FITS_KEYS = {"reference": "REFERENC"}


def write_table(table: QTable, path: Path) -> None:
    """Write a table, by the suffix of its file, in one piece or not at all.

    Raises
    ------
    CatalogueError
        If the suffix is none of those that keep units.
    """
    name = file_format(path)
    if name == "csv":
        raise CatalogueError(f"'{path}': CSV keeps no units; write .ecsv (which is CSV with units), .fits or .parquet")
    with atomic_path(path) as temporary:
        _WRITERS[name](table, temporary)


def _write_fits(table: QTable, path: Path) -> None:
    copy = table.copy(copy_data=False)
    # FITS headers are ASCII; other letters become "&#963;", which the reader turns back.
    copy.meta = {
        FITS_KEYS.get(key, key): value.encode("ascii", "xmlcharrefreplace").decode()
        for key, value in table.meta.items()
    }
    copy.write(path, format="fits")


def _write_votable(table: QTable, path: Path) -> None:
    document = votable.from_table(table)
    infos = document.get_first_table().infos
    for key, value in table.meta.items():
        infos.append(Info(name=key, value=value))
    document.to_xml(str(path), tabledata_format="binary2")


_WRITERS = {
    "fits": _write_fits,
    "votable": _write_votable,
    "ecsv": lambda table, path: table.write(path, format="ascii.ecsv"),
    "parquet": lambda table, path: table.write(path, format="parquet"),
    "hdf5": lambda table, path: table.write(path, format="hdf5", path="stars", serialize_meta=True),
}
