"""Every file format gives the same stars, whole and in chunks, and written catalogues read back."""

import bz2
import gzip
import lzma

import astropy.units as u
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, QTable, Table
from numpy.testing import assert_allclose, assert_array_equal

from gpdust.catalogue import StarCatalogue
from gpdust.errors import CatalogueError

N = 23
CSV_UNITS = {"l": "deg", "b": "deg", "distance": "kpc", "extinction": "mag"}
FIELDS = ("l", "b", "distance", "distance_error", "extinction", "extinction_error")


def make_table() -> QTable:
    """Stars in awkward units, one of which (row 4) has no extinction."""
    rng = np.random.default_rng(1)
    table = QTable(
        {
            "l": rng.uniform(-180, 180, N) * u.deg,
            "b": rng.uniform(-300, 300, N) * u.arcmin,
            "distance": rng.uniform(0.1, 3, N) * u.kpc,
            "distance_error": rng.uniform(1, 30, N) * u.pc,
            "extinction": rng.normal(1, 1, N) * u.mag,
            "extinction_error": rng.uniform(100, 200, N) * u.mmag,
            "ruwe": rng.uniform(0.9, 1.4, N),
        }
    )
    table["extinction"][4] = np.nan
    table.meta = {"band": "547 nm", "quantity": "A0"}
    return table


def check(catalogue: StarCatalogue, table: QTable) -> None:
    rows = np.delete(np.arange(N), 4)
    assert_array_equal(catalogue.row, rows)
    assert_allclose(catalogue.l.to_value("deg"), table["l"][rows].to_value("deg") % 360, rtol=1e-14)
    assert_allclose(catalogue.b.to_value("deg"), table["b"][rows].to_value("arcmin") / 60, rtol=1e-14)
    assert catalogue.distance.unit == u.pc
    assert_allclose(catalogue.distance.value, table["distance"][rows].value * 1000, rtol=1e-14)
    assert_allclose(catalogue.distance_error.value, table["distance_error"][rows].value, rtol=1e-14)
    assert_allclose(catalogue.extinction.value, table["extinction"][rows].value, rtol=1e-14)
    assert_allclose(catalogue.extinction_error.value, table["extinction_error"][rows].value / 1000, rtol=1e-14)
    assert_allclose(catalogue.extra["ruwe"], table["ruwe"][rows], rtol=1e-14)
    assert catalogue.report.rows_read == N


def plain_csv(table: QTable, path) -> None:
    plain = table.copy()
    plain["b"] = plain["b"].to(u.deg)
    plain["distance_error"] = plain["distance_error"].to(u.kpc)
    plain["extinction_error"] = plain["extinction_error"].to(u.mag)
    pd.DataFrame({name: np.asarray(plain[name]) for name in plain.colnames}).to_csv(path, index=False)


def write_as(path, table: QTable) -> dict:
    """Write the table; return what `read` has to be told about it."""
    kind = path.suffix
    if kind == ".csv":
        plain_csv(table, path)
        return {"units": CSV_UNITS}
    if kind == ".hdf5":  # one dataset per column
        with h5py.File(path, "w") as file:
            for name in table.colnames:
                file[name] = np.asarray(table[name])
                if hasattr(table[name], "unit"):
                    file[name].attrs["unit"] = str(table[name].unit)
        return {}
    if kind == ".pq":  # as pandas writes it, without units
        pd.DataFrame({name: np.asarray(table[name]) for name in table.colnames}).to_parquet(path)
        return {"units": CSV_UNITS | {"b": "arcmin", "distance_error": "pc", "extinction_error": "mmag"}}
    if kind == ".h5":
        table.write(path, path="table", serialize_meta=True)
    elif kind == ".vot":
        table.write(path, format="votable")
    else:
        table.write(path)
    return {}


SUFFIXES = (".fits", ".vot", ".csv", ".ecsv", ".parquet", ".pq", ".h5", ".hdf5")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_reads_with_units(tmp_path, suffix):
    table, path = make_table(), tmp_path / f"stars{suffix}"
    options = write_as(path, table)
    check(StarCatalogue.read(path, keep=["ruwe"], **options), table)


@pytest.mark.parametrize("rows", [1, 5, N, 1000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chunks_equal_the_whole(tmp_path, suffix, rows):
    path = tmp_path / f"stars{suffix}"
    options = write_as(path, make_table())
    whole = StarCatalogue.read(path, keep=["ruwe"], **options)
    chunks = list(StarCatalogue.read_chunks(path, rows=rows, keep=["ruwe"], **options))
    assert len(chunks) == -(-N // rows)
    joined = StarCatalogue.concatenate(chunks)
    for name in FIELDS:
        assert_array_equal(getattr(joined, name).value, getattr(whole, name).value)
    assert_array_equal(joined.row, whole.row)
    assert_array_equal(joined.extra["ruwe"], whole.extra["ruwe"])
    assert joined.report == whole.report
    assert (joined.band, joined.source) == (whole.band, whole.source)


def test_gzipped_csv_and_ecsv_that_calls_itself_csv(tmp_path):
    table = make_table()
    plain_csv(table, tmp_path / "stars.csv")
    packed = tmp_path / "stars.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "stars.csv").read_bytes()))
    check(StarCatalogue.read(packed, units=CSV_UNITS, keep="ruwe"), table)
    disguised = tmp_path / "disguised.csv"
    table.write(disguised, format="ascii.ecsv")
    check(StarCatalogue.read(disguised, keep="ruwe"), table)


def test_dataframe_and_table_inputs():
    table = make_table()
    check(StarCatalogue.from_table(table, keep=["ruwe"]), table)
    check(StarCatalogue.from_table(Table(table), keep=["ruwe"]), table)
    frame = pd.DataFrame({name: np.asarray(table[name]) for name in table.colnames})
    units = CSV_UNITS | {"b": "arcmin", "distance_error": "pc", "extinction_error": "mmag"}
    check(StarCatalogue.from_table(frame, units=units, keep=["ruwe"]), table)


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".parquet", ".h5"])
def test_written_catalogues_read_back_without_arguments(tmp_path, suffix):
    path = tmp_path / f"written{suffix}"
    table = make_table()
    table["name"] = [f"star {i}" for i in range(N)]
    table["p16"], table["p84"] = table["extinction"] - 0.2 * u.mag, table["extinction"] + 0.4 * u.mag
    columns = {"extinction_error": ("p16", "p84")}
    first = StarCatalogue.from_table(table, columns=columns, keep=["ruwe", "name"], band="σ at 547 nm", quantity="A0")
    assert_allclose(first.extinction_error.value, 0.3)
    first.write(path)
    first.write(path)  # over the old one
    second = StarCatalogue.read(path)
    for name in (*FIELDS, "extinction_lower_error", "extinction_upper_error"):
        assert_array_equal(getattr(second, name).value, getattr(first, name).value)
    assert (second.band, second.quantity) == ("σ at 547 nm", "A0")
    assert_array_equal(second.extra["ruwe"], first.extra["ruwe"])
    assert list(second.extra["name"]) == [f"star {i}" for i in range(N) if i != 4]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no temporary file is left


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".parquet", ".h5"])
def test_extra_columns_keep_their_kind_in_files(tmp_path, suffix):
    table = make_table()
    table["motion"] = np.arange(N) * u.mas / u.yr
    table["flag"] = np.arange(N) % 2 == 0
    table["vector"] = np.arange(2.0 * N).reshape(N, 2)
    path = tmp_path / f"stars{suffix}"
    StarCatalogue.from_table(table, keep=["motion", "flag", "vector"]).write(path)
    extra = StarCatalogue.read(path).extra
    rows = np.delete(np.arange(N), 4)
    assert_array_equal(extra["motion"].to_value("mas / yr"), rows)
    assert extra["flag"].dtype == bool
    assert_array_equal(extra["flag"], rows % 2 == 0)
    assert_array_equal(extra["vector"], table["vector"][rows])


def test_integers_with_gaps_and_lists_in_parquet(tmp_path):
    table = make_table()
    frame = pd.DataFrame({name: np.asarray(table[name].value) for name in FIELDS})
    frame["extinction"] = pd.array([1, None] * 11 + [1], dtype="Int64")
    frame["pair"] = [[float(i), 2.0 * i + 1] for i in range(N)]
    frame.to_parquet(tmp_path / "stars.parquet")
    units = CSV_UNITS | {"b": "arcmin"}
    catalogue = StarCatalogue.read(tmp_path / "stars.parquet", units=units, columns={"distance": "pair[1]"})
    assert_array_equal(catalogue.row, np.arange(0, N, 2))
    assert_allclose(catalogue.distance.value, 1000 * (2.0 * np.arange(0, N, 2) + 1))


def test_integers_with_gaps_in_fits(tmp_path):
    table = Table(make_table())
    table["extinction"] = MaskedColumn(np.arange(N), mask=np.arange(N) == 2, unit="mag", dtype="i4")
    table.write(tmp_path / "stars.fits")
    catalogue = StarCatalogue.read(tmp_path / "stars.fits")
    assert_array_equal(catalogue.extinction.value, np.delete(np.arange(N), 2))


def test_csv_is_not_written_since_it_keeps_no_units(tmp_path):
    with pytest.raises(CatalogueError, match=r"CSV keeps no units; write \.ecsv"):
        StarCatalogue.from_table(make_table()).write(tmp_path / "stars.csv")


def test_errors_of_files(tmp_path):
    with pytest.raises(CatalogueError, match=r"there is no file '.*absent\.fits'"):
        StarCatalogue.read(tmp_path / "absent.fits")
    (tmp_path / "stars.xlsx").write_text("x")
    with pytest.raises(CatalogueError, match=r"suffix '\.xlsx'.*give format= one of fits, votable, csv"):
        StarCatalogue.read(tmp_path / "stars.xlsx")
    (tmp_path / "empty.csv").write_text("l,b,distance,extinction,extinction_error\n")
    for read in (StarCatalogue.read, lambda *a, **k: list(StarCatalogue.read_chunks(*a, **k))):
        with pytest.raises(CatalogueError, match=r"empty\.csv' holds no rows"):
            read(tmp_path / "empty.csv", units=CSV_UNITS)


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".parquet", ".h5"])
def test_broken_files(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_text("not at all what the suffix says")
    with pytest.raises(CatalogueError, match=rf"broken\{suffix}' can't be read as "):
        StarCatalogue.read(path)


@pytest.mark.filterwarnings("ignore:File may have been truncated")  # astropy says so too, before it fails
def test_a_truncated_fits_file(tmp_path):
    StarCatalogue.concatenate([StarCatalogue.from_table(make_table())] * 10).write(tmp_path / "stars.fits")
    whole = (tmp_path / "stars.fits").read_bytes()
    (tmp_path / "half.fits").write_bytes(whole[: len(whole) - 5000])
    with pytest.raises(CatalogueError, match=r"half\.fits' can't be read as fits"):
        StarCatalogue.read(tmp_path / "half.fits")


def test_format_overrules_the_suffix(tmp_path):
    path = tmp_path / "stars.txt"
    plain_csv(make_table(), path)
    assert len(StarCatalogue.read(path, format="csv", units=CSV_UNITS)) == N - 1


def test_several_hdf5_tables_are_refused_by_name(tmp_path):
    path = tmp_path / "two.h5"
    make_table().write(path, path="near", serialize_meta=True)
    make_table().write(path, path="far", serialize_meta=True, append=True)
    with pytest.raises(CatalogueError, match=r"several tables \(far, near\)"):
        StarCatalogue.read(path)


IDS = 5853498713190525696 + np.arange(6)  # apart by less than a float tells


def with_gaps() -> pd.DataFrame:
    """Stars with identifiers, flags and names, the fourth without the former and every other without a name."""
    stars = {"l": np.arange(6.0), "b": 0.0, "distance": 100.0, "extinction": 1.0, "extinction_error": 0.1}
    frame = pd.DataFrame(stars).assign(flag=["0000"] * 5 + ["0010"], name=["a", None] * 3)
    frame["source_id"] = pd.array(np.where(np.arange(6) == 3, 0, IDS), dtype="Int64")
    frame.loc[3, "source_id"] = pd.NA
    frame["good"] = pd.array([True, None] * 3, dtype="boolean")
    return frame


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("rows", [None, 2])
def test_kept_columns_with_gaps_stay_what_they_are(tmp_path, kind, rows):
    path = tmp_path / f"stars.{kind}"
    with_gaps().to_csv(path, index=False) if kind == "csv" else with_gaps().to_parquet(path)
    options = {"units": CSV_UNITS | {"distance": "pc"}, "keep": ["source_id", "flag", "name", "good"]}
    chunks = StarCatalogue.read_chunks(path, rows or 99, **options)
    extra = StarCatalogue.concatenate(chunks).extra
    assert extra["source_id"].dtype == np.int64
    assert_array_equal(np.ma.getmaskarray(extra["source_id"]), np.arange(6) == 3)
    assert_array_equal(extra["source_id"].compressed(), np.delete(IDS, 3))
    assert_array_equal(extra["flag"], ["0000"] * 5 + ["0010"])
    assert_array_equal(extra["name"], ["a", ""] * 3)
    assert_array_equal(np.ma.filled(extra["good"], False), [True, False] * 3)


def test_the_archive_of_gaia_writes_null(tmp_path):
    units = {"l": "deg", "b": "deg", "distance": "pc", "extinction": "mag", "extinction_error": "mag"}
    header = [f"# - {{name: {name}, unit: {unit}, datatype: float64}}" for name, unit in units.items()]
    header += ["# - {name: source_id, datatype: int64}"]
    rows = [f"{i}.0,0.0,{'null' if i == 2 else 100.0},1.0,0.1,{'null' if i == 3 else IDS[i]}" for i in range(6)]
    lines = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:", *header, ",".join([*units, "source_id"]), *rows]
    path = tmp_path / "GaiaSource.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    catalogue = StarCatalogue.read(path, keep=["source_id"])
    assert_array_equal(catalogue.row, [0, 1, 3, 4, 5])
    assert_array_equal(catalogue.extra["source_id"].compressed(), IDS[[0, 1, 4, 5]])


@pytest.mark.parametrize("suffix", ["csv.gz", "csv.xz", "csv.bz2", "ecsv.gz", "fits.gz"])
def test_a_download_that_was_cut_short(tmp_path, suffix):
    path = tmp_path / f"stars.{suffix}"
    if suffix == "fits.gz":
        make_table().write(path, format="fits")
    else:
        pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}[suffix.split(".")[-1]]
        path.write_bytes(pack(with_gaps().to_csv(index=False).encode() * 200))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CatalogueError, match=rf"stars\.{suffix}' (can't be read|.*cut short)"):
        StarCatalogue.read(path, units=CSV_UNITS)


def test_text_is_text_in_every_format(tmp_path):
    frame = with_gaps()
    with h5py.File(tmp_path / "stars.hdf5", "w") as file:
        for name in ("l", "b", "distance", "extinction", "extinction_error"):
            file[name] = frame[name].to_numpy()
        file.create_dataset("name", data=["M31"] * 6, dtype=h5py.string_dtype())
    frame.assign(name=[b"M31"] * 6).to_parquet(tmp_path / "stars.parquet")
    for path in (tmp_path / "stars.hdf5", tmp_path / "stars.parquet"):
        catalogue = StarCatalogue.read(path, units=CSV_UNITS | {"distance": "pc"}, keep=["name"])
        assert_array_equal(catalogue.extra["name"], ["M31"] * 6)
    read = StarCatalogue.from_table(frame, units=CSV_UNITS | {"distance": "pc"}, keep=["name"])
    read.write(tmp_path / "again.h5")
    assert_array_equal(StarCatalogue.read(tmp_path / "again.h5").extra["name"].compressed(), ["a"] * 3)


def test_lists_of_parquet_are_vectors_and_may_be_missing(tmp_path):
    table = pa.Table.from_pandas(with_gaps().drop(columns="extinction"))
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float64())):
        pq.write_table(table.append_column("A", pa.array([[0.5, 1.0]] * 5 + [None], type=kind)), tmp_path / "a.parquet")
        catalogue = StarCatalogue.read(
            tmp_path / "a.parquet", columns={"extinction": "A[1]"}, units=CSV_UNITS | {"distance": "pc"}
        )
        assert_array_equal(catalogue.row, np.arange(5))
        assert_allclose(catalogue.extinction.value, 1)


def test_rows_are_counted_from_the_start_of_the_file(tmp_path):
    with_gaps().astype({"b": object}).assign(b=["0"] * 5 + ["oops"]).to_csv(tmp_path / "stars.csv", index=False)
    with pytest.raises(CatalogueError, match=r"first in row 5 .*'oops'"):
        list(StarCatalogue.read_chunks(tmp_path / "stars.csv", 2, units=CSV_UNITS))
