"""Choosing stars, splitting, joining and describing a catalogue."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpdust.catalogue import StarCatalogue
from gpdust.errors import CatalogueError, MissingUnitError


@pytest.fixture
def catalogue() -> StarCatalogue:
    """Eight stars, 45 deg apart from l = -5 deg."""
    n = 8
    return StarCatalogue(
        l=(np.arange(n) * 45 - 5) * u.deg,
        b=np.linspace(-35, 35, n) * u.deg,
        distance=np.arange(1, n + 1) * 100 * u.pc,
        distance_error=np.full(n, 30) * u.pc,
        extinction=np.linspace(-0.1, 3.4, n) * u.mag,
        extinction_error=np.linspace(0.1, 0.8, n) * u.mag,
        band="547 nm",
        quantity="A0",
        reference="Someone 2020",
        extra={"ruwe": np.arange(n) / 4},
    )


def test_longitudes_are_wrapped(catalogue):
    assert_allclose(catalogue.l.value, [355, 40, 85, 130, 175, 220, 265, 310])
    tiny = StarCatalogue(
        l=[-1e-15, 720] * u.deg, b=[0, 0] * u.deg, distance=[1, 1] * u.pc, extinction=[1, 1] * u.mag,
        extinction_error=[1, 1] * u.mag,
    )  # fmt: skip
    assert_array_equal(tiny.l.value, [0, 0])


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        ((30, 90), [1, 2]),
        ((350, 45), [0, 1]),
        ((-10, 45), [0, 1]),
        ((310, 355), [0, 7]),  # closed at both ends
        ((0, 360), range(8)),
        ((-180, 180), range(8)),
        ((180, -180 + 360), []),
        ((90, 30), [0, 3, 4, 5, 6, 7]),
    ],
)
def test_longitude_ranges_may_cross_zero(catalogue, limits, rows):
    assert_array_equal(catalogue.select(l=limits * u.deg).row, list(rows))


def test_cuts_combine(catalogue):
    assert_array_equal(catalogue.select(distance=(0.25 * u.kpc, 600 * u.pc)).row, [2, 3, 4, 5])
    assert_array_equal(catalogue.select(b=(-30, 0) * u.deg).row, [1, 2, 3])
    assert_array_equal(catalogue.select(extinction=(-1, 0.5) * u.mag).row, [0, 1])
    chosen = catalogue.select(
        l=(0, 300) * u.deg, distance=(200, 700) * u.pc, mask=catalogue.extra["ruwe"] < 1.4, b=(-90, 90) * u.deg
    )
    assert_array_equal(chosen.row, [1, 2, 3, 4, 5])
    assert_array_equal(chosen.extra["ruwe"], [0.25, 0.5, 0.75, 1.0, 1.25])
    assert (chosen.band, chosen.quantity, chosen.report) == ("547 nm", "A0", catalogue.report)


def test_quality_cuts(catalogue):
    assert_array_equal(catalogue.select(max_distance_error_fraction=0.1).row, [2, 3, 4, 5, 6, 7])
    assert_array_equal(catalogue.select(max_extinction_error=0.35 * u.mag).row, [0, 1, 2])


def test_impossible_cuts(catalogue):
    with pytest.raises(CatalogueError, match="distance is upside down: 600 is above 200 pc"):
        catalogue.select(distance=(600, 200) * u.pc)
    with pytest.raises(CatalogueError, match=r"b must be a range of two numbers"):
        catalogue.select(b=3 * u.deg)
    with pytest.raises(MissingUnitError, match="distance has no unit"):
        catalogue.select(distance=(1, 2))
    with pytest.raises(CatalogueError, match="mask must be 8 booleans, not int64"):
        catalogue.select(mask=np.arange(8))
    bare = StarCatalogue(
        **{name: getattr(catalogue, name) for name in ("l", "b", "distance", "extinction", "extinction_error")}
    )
    with pytest.raises(CatalogueError, match="no distance errors"):
        bare.select(max_distance_error_fraction=0.1)


def test_indexing(catalogue):
    assert_array_equal(catalogue[2:4].row, [2, 3])
    assert_array_equal(catalogue[[5, 1]].distance.value, [600, 200])
    assert_array_equal(catalogue[catalogue.distance > 650 * u.pc].row, [6, 7])
    assert len(catalogue[-1]) == 1
    assert len(catalogue[:0]) == 0
    with pytest.raises(IndexError):
        catalogue[np.ones(5, dtype=bool)]


def test_a_masked_mask_chooses_no_star_that_it_does_not_know(catalogue):
    quality = np.ma.array([0.5] * 4 + [0.9] * 4, mask=[True] * 4 + [False] * 4)
    assert_array_equal(catalogue[quality < 0.95].row, catalogue.select(mask=quality < 0.95).row)
    assert_array_equal(catalogue[quality < 0.95].row, [4, 5, 6, 7])
    assert_array_equal(catalogue[np.ma.array([3, 1])].row, [3, 1])
    with pytest.raises(CatalogueError, match="masked"):
        catalogue[np.ma.array([3, 1], mask=[True, False])]


def test_a_catalogue_does_not_change(catalogue):
    with pytest.raises(ValueError, match="read-only"):
        catalogue.distance[0] = 1 * u.pc
    with pytest.raises(ValueError, match="read-only"):
        catalogue.row[0] = 1
    with pytest.raises(AttributeError):
        catalogue.distance = 1 * u.pc
    with pytest.raises(TypeError):
        catalogue.extra["new"] = 1
    given = np.array([1.0, 2.0])
    own = StarCatalogue(
        l=given * u.deg, b=given * u.deg, distance=u.Quantity(given, u.pc, copy=False), extinction=given * u.mag,
        extinction_error=given * u.mag,
    )  # fmt: skip
    given[0] = 7.0
    assert own.distance.value[0] == 1.0


def test_split_is_reproducible_and_complete(catalogue):
    train, held_out = catalogue.split(0.25, seed=3)
    assert (len(train), len(held_out)) == (6, 2)
    assert_array_equal(np.sort(np.concatenate([train.row, held_out.row])), np.arange(8))
    assert_array_equal(catalogue.split(0.25, seed=3)[1].row, held_out.row)
    others = [tuple(catalogue.split(0.25, seed=seed)[1].row) for seed in range(10)]
    assert len(set(others)) > 1
    with pytest.raises(CatalogueError, match="fraction must lie between 0 and 1"):
        catalogue.split(25, seed=3)


def test_concatenate(catalogue):
    joined = StarCatalogue.concatenate([catalogue[:3], catalogue[3:]])
    assert_array_equal(joined.distance.value, catalogue.distance.value)
    assert joined.report.rows_read == 16  # each part stands for its whole file
    other = StarCatalogue.from_table(catalogue.to_table(), quantity="A_G")
    with pytest.raises(CatalogueError, match="A0 in band '547 nm' and A_G in band '547 nm'"):
        StarCatalogue.concatenate([catalogue, other])
    with pytest.raises(CatalogueError, match="only some of the catalogues to join have ruwe"):
        StarCatalogue.concatenate([catalogue, StarCatalogue.from_table(catalogue.to_table(), keep=[])])
    with pytest.raises(CatalogueError, match="no catalogue to join"):
        StarCatalogue.concatenate([])


def test_to_table(catalogue):
    table = catalogue.to_table()
    assert table["distance"].unit == u.pc
    assert table.meta == {"band": "547 nm", "quantity": "A0", "reference": "Someone 2020", "keep": "ruwe"}


def test_summary(catalogue):
    assert catalogue[1:].summary().splitlines() == [
        "7 stars from Someone 2020, selected out of 8 usable ones",
        "  region      l = 40.00 to 310.00 deg, b = -25.00 to 35.00 deg",
        "  distance    200 to 800 pc, median 500 pc",
        "  extinction  A0 (547 nm): 0.4 to 3.4 mag, median 1.9 mag, 0.0% negative",
        "  errors      median 0.5 mag in extinction, 6.00% in distance",
        "  rows        8 read, 8 usable, 0 dropped",
    ]
    assert "12.5% negative" in catalogue.summary()
    part = catalogue.select(l=(350, 45) * u.deg).summary()
    assert "2 stars from Someone 2020, selected out of 8 usable ones" in part
    assert "l = 355.00 to 40.00 deg" in part
    assert "0 stars" in catalogue[:0].summary()


def test_summary_says_what_was_dropped():
    catalogue = StarCatalogue(
        l=[1, 2, 3] * u.deg, b=[1, 2, 3] * u.deg, distance=[1, -2, 3] * u.pc, extinction=[1, 2, np.nan] * u.mag,
        extinction_error=[1, 1, 1] * u.mag,
    )  # fmt: skip
    assert "3 read, 1 usable, 2 dropped" in catalogue.summary()
    assert "1 dropped: distance is not positive" in catalogue.summary()
    assert "distances have none" in catalogue.summary()
