"""The real catalogue of star clusters, through its preset."""

import csv
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpdust.catalogue import StarCatalogue

FILE = Path(__file__).resolve().parents[2] / "shared/data/hunt2023_clusters.csv"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"needs the real catalogue at {FILE}")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_preset_reads_every_cluster(rows):
    catalogue = StarCatalogue.read(FILE, preset="hunt2023", keep=["Name", "CST"])
    assert len(catalogue) == len(rows) == 6806
    assert_allclose(catalogue.distance.value, [float(row["dist50"]) for row in rows], rtol=1e-15)
    sigma = [(float(row["AV84"]) - float(row["AV16"])) / 2 for row in rows]
    assert_allclose(catalogue.extinction_error.value, sigma, rtol=1e-12)
    assert list(catalogue.extra["Name"]) == [row["Name"] for row in rows]
    assert catalogue.select(distance=(0, 3) * u.kpc).row.size == 5146
    assert (catalogue.band, catalogue.quantity) == ("V", "A_V")
    assert "6806 stars from Hunt & Reffert 2023" in catalogue.summary()
    chunks = StarCatalogue.read_chunks(FILE, rows=1000, preset="hunt2023", keep=["Name", "CST"])
    assert_array_equal(StarCatalogue.concatenate(chunks).extinction.value, catalogue.extinction.value)


def test_rows_with_nan_and_without_errors_are_counted(rows, tmp_path):
    rows = list(rows)
    for row, column, text in (
        (3, "AV50", "nan"),
        (7, "AV84", rows[7]["AV16"]),
        (11, "dist50", ""),
        (12, "AV16", "nan"),
    ):
        rows[row] = rows[row] | {column: text}
    rows[7]["AV50"] = rows[7]["AV16"]
    with (tmp_path / "clusters.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    report = StarCatalogue.read(tmp_path / "clusters.csv", preset="hunt2023").report
    assert [(entry.reason.split(" (")[0], entry.rows) for entry in report.dropped] == [
        ("distance is missing", (11,)),
        ("extinction is missing", (3,)),
        ("extinction error is missing", (12,)),
        ("extinction error is not positive", (7,)),
    ]
    assert report.rows_kept == 6802


def test_a_numeric_column_of_the_real_file_with_gaps_reads_as_nan(rows):
    written = np.array([row["RV"] if row["RV"] else "nan" for row in rows])
    velocity = StarCatalogue.read(FILE, preset="hunt2023", keep=["RV"]).extra["RV"]
    assert_array_equal(np.isnan(velocity), written == "nan")
    assert np.isnan(velocity).any()
