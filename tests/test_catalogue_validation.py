"""Unusable rows are dropped, each once, with a reason and an account."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from numpy.testing import assert_array_equal

from gpdust.catalogue import StarCatalogue, ValidationReport
from gpdust.errors import CatalogueError, MissingUnitError

GOOD = {
    "l": 10.0,
    "b": 5.0,
    "distance": 100.0,
    "distance_error": 5.0,
    "extinction": 1.0,
    "extinction_error": 0.1,
}
UNITS = {
    "l": u.deg,
    "b": u.deg,
    "distance": u.pc,
    "distance_error": u.pc,
    "extinction": u.mag,
    "extinction_error": u.mag,
}
BAD = [
    ({"l": np.nan}, "l is missing (NaN, masked or empty)"),
    ({"l": np.inf}, "l is infinite"),
    ({"b": np.nan}, "b is missing (NaN, masked or empty)"),
    ({"b": 90.5}, "latitude (b or dec) is beyond -90 to 90 deg"),
    ({"b": -91.0}, "latitude (b or dec) is beyond -90 to 90 deg"),
    ({"distance": np.nan}, "distance is missing (NaN, masked or empty)"),
    ({"distance": np.inf}, "distance is infinite"),
    ({"distance": 0.0}, "distance is not positive"),
    ({"distance": -3.0}, "distance is not positive"),
    ({"distance_error": np.nan}, "distance error is missing (NaN, masked or empty)"),
    ({"distance_error": -1.0}, "distance error is negative"),
    ({"extinction": np.nan}, "extinction is missing (NaN, masked or empty)"),
    ({"extinction": -np.inf}, "extinction is infinite"),
    ({"extinction_error": np.nan}, "extinction error is missing (NaN, masked or empty)"),
    ({"extinction_error": np.inf}, "extinction error is infinite"),
    ({"extinction_error": 0.0}, "extinction error is not positive"),
    ({"extinction_error": -0.1}, "extinction error is not positive"),
]


def stars(*changes: dict) -> dict[str, u.Quantity]:
    rows = [GOOD | change for change in changes]
    return {name: [row[name] for row in rows] * unit for name, unit in UNITS.items()}


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_each_kind_of_bad_row(change, reason):
    catalogue = StarCatalogue(**stars({}, change, {}))
    assert_array_equal(catalogue.row, [0, 2])
    (entry,) = catalogue.report.dropped
    assert (entry.reason, entry.count, entry.rows) == (reason, 1, (1,))


def test_a_distance_without_error_is_exact_and_said_to_be():
    catalogue = StarCatalogue(**stars({}, {"distance_error": 0.0}))
    assert len(catalogue) == 2
    (entry,) = catalogue.report.flagged
    assert (entry.reason, entry.rows) == ("distance error is zero (the distance counts as exact)", (1,))


def test_lower_and_upper_errors_are_errors_and_come_together():
    columns = {name: value for name, value in stars({}, {}).items() if name != "distance_error"}
    lower = {"distance_lower_error": [4, 6] * u.pc}
    catalogue = StarCatalogue(**columns, **lower, distance_upper_error=[8, 8] * u.pc)
    assert_array_equal(catalogue.distance_error.value, [6, 7])
    with pytest.raises(CatalogueError, match="distance_lower_error and distance_upper_error come together"):
        StarCatalogue(**columns, **lower)


def test_a_percentile_at_the_median_is_no_error():
    columns = {name: value for name, value in stars({}, {}, {}).items() if name != "distance_error"}
    sides = {"distance_lower_error": [5, 0, 0] * u.pc, "distance_upper_error": [5, 5, 0] * u.pc}
    catalogue = StarCatalogue(**columns, **sides)
    assert_array_equal(catalogue.row, [0, 2])
    (entry,) = catalogue.report.dropped
    assert (entry.reason, entry.rows) == ("distance error is zero on one side only", (1,))


def test_every_row_counts_once_and_counts_add_up():
    everything_wrong = dict.fromkeys(GOOD, np.nan)
    changes = [change for change, _ in BAD] + [everything_wrong, {}, {"extinction": -2.0}]
    report = StarCatalogue(**stars(*changes)).report
    assert report.rows_read == len(changes)
    assert report.rows_kept == 2  # the good one and the negative extinction
    assert sum(entry.count for entry in report.dropped) == len(changes) - 2
    first = report.dropped[0]
    assert (first.reason, first.count) == ("l is missing (NaN, masked or empty)", 2)


def test_only_the_first_rows_are_listed():
    report = StarCatalogue(**stars({}, *[{"distance": -1.0}] * 9)).report
    assert report.dropped[0].rows == (1, 2, 3, 4, 5)
    assert "9  distance is not positive: rows 1, 2, 3, 4, 5, ..." in str(report)
    assert str(report).startswith("10 rows read, 1 kept, 9 dropped (rows count from 0)")


def test_a_report_goes_into_json():
    report = StarCatalogue(**stars({}, {"distance": -1.0})).report
    assert json.loads(json.dumps(report.as_dict())) == {
        "rows_read": 2,
        "rows_kept": 1,
        "dropped": [{"reason": "distance is not positive", "count": 1, "first_rows": [1]}],
        "flagged": [],
        "notes": [],
    }


def test_a_report_that_does_not_add_up_is_a_bug():
    with pytest.raises(AssertionError, match="3 rows read != 2 kept"):
        ValidationReport(rows_read=3, rows_kept=2)


def test_strict_lists_every_kind():
    with pytest.raises(CatalogueError) as caught:
        StarCatalogue(**stars({}, {"distance": -1.0}, {"extinction": np.nan}, {"distance": -2.0}), strict=True)
    message = str(caught.value)
    assert "2  distance is not positive: rows 1, 3" in message
    assert "1  extinction is missing (NaN, masked or empty): row 2" in message
    assert "rows count from 0" in message
    assert len(StarCatalogue(**stars({}, {}), strict=True)) == 2


def test_no_usable_star_says_why():
    with pytest.raises(CatalogueError, match=r"(?s)no usable star.*2  distance is not positive: rows 0, 1"):
        StarCatalogue(**stars({"distance": -1.0}, {"distance": 0.0}))


def test_chunks_may_be_empty_but_not_all(tmp_path):
    changes = [{"distance": -1.0}, {"distance": -1.0}, {}, {"distance": -1.0}]
    QTable(stars(*changes)).write(tmp_path / "stars.fits")
    chunks = list(StarCatalogue.read_chunks(tmp_path / "stars.fits", rows=2))
    assert [len(chunk) for chunk in chunks] == [0, 1]
    assert_array_equal(chunks[1].row, [2])
    joined = StarCatalogue.concatenate(chunks)
    assert joined.report.dropped[0].rows == (0, 1, 3)
    QTable(stars(*changes[:2])).write(tmp_path / "bad.fits")
    with pytest.raises(CatalogueError, match="no usable star"):
        list(StarCatalogue.read_chunks(tmp_path / "bad.fits", rows=1))
    with pytest.raises(CatalogueError, match=r"strict=True:\n2 rows read, 0 kept, 2 dropped"):
        list(StarCatalogue.read_chunks(tmp_path / "stars.fits", rows=2, strict=True))


def test_masked_values_are_missing():
    table = QTable(stars({}, {}, {}))
    table["extinction"] = Masked(table["extinction"], mask=[False, True, False])
    table["distance"] = MaskedColumn([100, 200, 300], mask=[False, False, True], unit="pc")  # integers
    catalogue = StarCatalogue.from_table(table)
    assert_array_equal(catalogue.row, [0])
    assert [entry.rows for entry in catalogue.report.dropped] == [(2,), (1,)]


def test_text_that_means_missing_and_text_that_means_nothing():
    table = Table(QTable(stars({}, {}, {}, {})))
    table.replace_column("extinction", MaskedColumn(["1.5", "nan", " ", "-0.5"], unit="mag"))
    catalogue = StarCatalogue.from_table(table)
    assert_array_equal(catalogue.row, [0, 3])
    assert_array_equal(catalogue.extinction.value, [1.5, -0.5])
    table["extinction"][2] = "?!"
    with pytest.raises(CatalogueError, match=r"column 'extinction' .* first in row 2 \(counting from 0\): '\?!'"):
        StarCatalogue.from_table(table)


def test_a_median_outside_its_percentiles_is_dropped():
    table = QTable(stars({}, {}, {}))
    table["p16"], table["p84"] = [0.9, 1.1, 0.8] * u.mag, [1.2, 1.3, 1.0] * u.mag
    catalogue = StarCatalogue.from_table(table, columns={"extinction_error": ("p16", "p84")})
    assert_array_equal(catalogue.row, [0, 2])
    assert catalogue.report.dropped[0].reason == "extinction is outside its own 16th to 84th percentile"


def test_arguments_need_units_and_one_length():
    given = stars({}, {})
    with pytest.raises(MissingUnitError, match="distance has no unit"):
        StarCatalogue(**given | {"distance": [1.0, 2.0]})
    with pytest.raises(CatalogueError, match=r"b has shape \(1,\), but l has \(2,\)"):
        StarCatalogue(**given | {"b": [1.0] * u.deg})
    with pytest.raises(CatalogueError, match=r"ruwe has shape \(3,\)"):
        StarCatalogue(**given, extra={"ruwe": np.ones(3)})
