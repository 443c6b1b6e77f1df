"""Columns become quantities: names, units, percentiles, frames, parallaxes and presets."""

import astropy.units as u
import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from numpy.testing import assert_allclose, assert_array_equal

from gpdust.catalogue import PRESETS, StarCatalogue
from gpdust.errors import CatalogueError, MissingUnitError

UNITS = {"l": "deg", "b": "deg", "distance": "pc", "extinction": "mag"}


def plain(**changes) -> Table:
    """Three stars without units, under gpdust's names; None takes a column away."""
    columns = {
        "l": [10.0, 20.0, 30.0],
        "b": [1.0, 2.0, 3.0],
        "distance": [100.0, 200.0, 300.0],
        "extinction": [0.5, -0.1, 1.5],
        "extinction_error": [0.1, 0.2, 0.3],
    } | changes
    return Table({name: values for name, values in columns.items() if values is not None})


@pytest.mark.parametrize("name", ["l", "b", "distance", "extinction"])
def test_a_missing_unit_names_the_column_and_the_cure(name):
    units = {key: unit for key, unit in UNITS.items() if key != name}
    table = plain()
    table.rename_column(name, f"my_{name}")
    with pytest.raises(MissingUnitError, match=rf"column 'my_{name}' of the table has no unit; .*units=\{{'{name}': '"):
        StarCatalogue.from_table(table, columns={name: f"my_{name}"}, units=units)


def test_the_units_of_the_call():
    catalogue = StarCatalogue.from_table(plain(), units=UNITS | {"distance": "kpc", "extinction": u.mmag})
    assert_allclose(catalogue.distance.value, [100e3, 200e3, 300e3])
    assert_allclose(catalogue.extinction_error.value, [1e-4, 2e-4, 3e-4])  # shares the unit of its value
    assert catalogue.extinction.value[1] < 0  # a negative measurement stays


def test_units_of_file_and_call_that_differ_are_an_error():
    table = plain()
    table["distance"].unit = "kpc"
    with pytest.raises(MissingUnitError, match=r"column 'distance' .* is in 'kpc', but units= says 'pc'"):
        StarCatalogue.from_table(table, units=UNITS)
    units = UNITS | {"distance": "kpc"}
    assert_allclose(StarCatalogue.from_table(table, units=units).distance.value, [1e5, 2e5, 3e5])


def test_an_error_with_its_own_unit_keeps_it():
    table = plain(distance_error=[1.0, 2.0, 3.0])
    table["distance_error"].unit = "pc"
    catalogue = StarCatalogue.from_table(table, units=UNITS | {"distance": "kpc"})
    assert_allclose(catalogue.distance_error.value, [1, 2, 3])


def test_units_of_the_wrong_kind_or_unknown():
    with pytest.raises(MissingUnitError, match=r"column 'distance' \(distance\) .* is in 'deg'.*'pc'"):
        StarCatalogue.from_table(plain(), units=UNITS | {"distance": "deg"})
    with pytest.raises(CatalogueError, match=r"units= has 'parsnip' for 'distance', which is no unit"):
        StarCatalogue.from_table(plain(), units=UNITS | {"distance": "parsnip"})
    with pytest.raises(CatalogueError, match=r"units= has 'dist', but the names are l, b"):
        StarCatalogue.from_table(plain(), units={"dist": "pc"})


def test_a_unit_that_can_not_be_understood():
    table = plain()
    table["extinction"].unit = u.Unit("Magnitude[mag]", parse_strict="silent")
    units = {name: unit for name, unit in UNITS.items() if name != "extinction"}
    with pytest.raises(MissingUnitError, match=r"has the unit 'Magnitude\[mag\]', which can't be understood"):
        StarCatalogue.from_table(table, units=units)
    assert_allclose(StarCatalogue.from_table(table, units=UNITS).extinction.value, [0.5, -0.1, 1.5])


def test_words_come_from_the_call_the_preset_or_the_file():
    table = plain()
    table.meta = {"BAND": "G", "quantity": "A_G", "REFERENC": "P&#233;rez 2021"}
    catalogue = StarCatalogue.from_table(table, units=UNITS)
    assert (catalogue.band, catalogue.quantity, catalogue.reference) == ("G", "A_G", "Pérez 2021")
    catalogue = StarCatalogue.from_table(table, units=UNITS, band="V", quantity="A_V", reference="Me 2024")
    assert (catalogue.band, catalogue.quantity, catalogue.reference) == ("V", "A_V", "Me 2024")
    assert repr(catalogue) == "<StarCatalogue of 3 stars, A_V (V)>"


def test_a_wrong_column_names_the_nearest():
    table = plain(dist_p50=[1.0, 2.0, 3.0])
    with pytest.raises(CatalogueError, match=r"the table has no column 'dist50'; did you mean 'dist_p50'"):
        StarCatalogue.from_table(table, columns={"distance": "dist50"}, units=UNITS)
    with pytest.raises(CatalogueError, match=r"no column 'zzz'; it has 'l', 'b'"):
        StarCatalogue.from_table(table, keep=["zzz"], units=UNITS)


def test_absent_quantities_say_what_is_needed():
    with pytest.raises(CatalogueError, match=r"needs l and b, or ra and dec"):
        StarCatalogue.from_table(plain(b=None), units=UNITS)
    with pytest.raises(CatalogueError, match=r"needs a distance or a parallax"):
        StarCatalogue.from_table(plain(distance=None), units=UNITS)
    with pytest.raises(CatalogueError, match=r"needs an extinction: .*columns=\{'extinction': "):
        StarCatalogue.from_table(plain(extinction=None), units=UNITS)
    with pytest.raises(CatalogueError, match=r"needs the error of the extinction"):
        StarCatalogue.from_table(plain(extinction_error=None), units=UNITS)


def test_percentiles_give_sigma_and_both_sides():
    table = plain(extinction_error=None, a16=[0.4, -0.4, 1.0], a84=[0.8, 0.1, 1.7])
    table["d16"], table["d84"] = [90.0, 180.0, 260.0], [120.0, 230.0, 350.0]
    columns = {"extinction_error": ["a16", "a84"], "distance_error": ("d16", "d84")}
    catalogue = StarCatalogue.from_table(table, columns=columns, units=UNITS)
    assert_allclose(catalogue.extinction_error.value, [0.2, 0.25, 0.35])
    assert_allclose(catalogue.extinction_lower_error.value, [0.1, 0.3, 0.5])
    assert_allclose(catalogue.extinction_upper_error.value, [0.3, 0.2, 0.2])
    assert_allclose(catalogue.distance_error.value, [15, 25, 45])
    assert_allclose(catalogue.distance_lower_error.value, [10, 20, 40])
    assert_allclose(catalogue.distance_upper_error.value, [20, 30, 50])
    single = StarCatalogue.from_table(plain(), units=UNITS)
    assert single.extinction_lower_error is None
    assert single.distance_error is None


def test_a_pair_for_something_else_is_refused():
    with pytest.raises(CatalogueError, match=r"\['l', 'b'\] for 'distance'; it takes one column"):
        StarCatalogue.from_table(plain(), columns={"distance": ["l", "b"]}, units=UNITS)


def test_equatorial_columns_become_galactic():
    centre = SkyCoord(l=[0, 90, 120] * u.deg, b=[0, 10, -60] * u.deg, frame="galactic").icrs
    table = plain(l=None, b=None, ra=centre.ra.deg, dec=centre.dec.deg)
    catalogue = StarCatalogue.from_table(table, units=UNITS | {"ra": "deg", "dec": "deg"})
    assert_allclose(np.sin(np.deg2rad(catalogue.l.value - [0, 90, 120])), 0, atol=1e-12)
    assert_allclose(catalogue.b.value, [0, 10, -60], atol=1e-9)


def test_impossible_declinations_are_dropped_not_raised():
    table = plain(l=None, b=None, ra=[10.0, 20.0, np.nan], dec=[5.0, 95.0, 5.0])
    catalogue = StarCatalogue.from_table(table, units=UNITS | {"ra": "deg", "dec": "deg"})
    assert_array_equal(catalogue.row, [0])
    assert [(e.count, e.rows) for e in catalogue.report.dropped] == [(1, (2,)), (1, (1,))]


@pytest.mark.parametrize("frame", ["fk5", "fk4", "galactic", "barycentrictrueecliptic"])
def test_coordinate_columns_in_any_frame(tmp_path, frame):
    galactic = SkyCoord(l=[1, 2, 359] * u.deg, b=[3, -4, 5] * u.deg, frame="galactic")
    table = QTable(plain(l=None, b=None))
    table["where"] = galactic.transform_to(frame)
    table.write(tmp_path / "stars.ecsv")
    units = {"distance": "pc", "extinction": "mag"}
    catalogue = StarCatalogue.read(tmp_path / "stars.ecsv", columns={"coordinate": "where"}, units=units)
    assert_allclose(catalogue.l.value, [1, 2, 359], atol=1e-9)
    assert_allclose(catalogue.b.value, [3, -4, 5], atol=1e-9)
    assert_allclose(catalogue.coordinates.separation(galactic).deg, 0, atol=1e-9)
    assert_allclose(catalogue.coordinates.distance.pc, [100, 200, 300])


def test_coordinate_columns_in_chunks_of_fits(tmp_path):
    table = QTable(plain(l=None, b=None))
    table["where"] = SkyCoord(l=[1, 2, 359] * u.deg, b=[3, -4, 5] * u.deg, frame="galactic").icrs
    table.write(tmp_path / "stars.fits")
    units = {"distance": "pc", "extinction": "mag"}
    chunks = StarCatalogue.read_chunks(tmp_path / "stars.fits", 2, columns={"coordinate": "where"}, units=units)
    assert_allclose(np.concatenate([chunk.l.value for chunk in chunks]), [1, 2, 359], atol=1e-9)


def test_positions_and_distances_are_given_once():
    table = plain(ra=[1.0, 2, 3], dec=[1.0, 2, 3], parallax=[1.0, 2, 3])
    with pytest.raises(CatalogueError, match=r"position twice: l/b and ra/dec"):
        StarCatalogue.from_table(table, columns={"l": "l", "ra": "ra", "dec": "dec"}, units=UNITS)
    with pytest.raises(CatalogueError, match=r"both a distance and a parallax"):
        StarCatalogue.from_table(table, columns={"distance": "distance", "parallax": "parallax"}, units=UNITS)


def test_parallaxes_become_distances():
    table = plain(distance=None, parallax=[10.0, 2.0, 0.4], parallax_error=[0.1, 0.2, 0.2])
    catalogue = StarCatalogue.from_table(table, units=UNITS | {"parallax": "mas"})
    assert_allclose(catalogue.distance.value, [100, 500, 2500])
    assert_allclose(catalogue.distance_error.value, [1, 50, 1250])
    (weak,) = catalogue.report.flagged
    assert (weak.count, weak.rows) == (1, (2,))
    assert "1 kept although parallax is less than 5 times its error" in catalogue.summary()
    assert catalogue.measured == "parallax"


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "vot", "parquet", "hdf5"])
def test_that_distances_were_made_of_parallaxes_is_written_and_read(tmp_path, suffix):
    table = plain(distance=None, parallax=[10.0, 2.0, 0.4], parallax_error=[0.1, 0.2, 0.2])
    catalogue, path = StarCatalogue.from_table(table, units=UNITS | {"parallax": "mas"}), tmp_path / f"stars.{suffix}"
    catalogue[:2].write(path)
    again = StarCatalogue.read(path)
    assert again.measured == "parallax"
    assert_allclose(again.distance_error.value, catalogue.distance_error.value[:2])
    others = StarCatalogue.from_table(plain(distance_error=[1.0, 2.0, 3.0]), units=UNITS)
    assert others.measured == "distance"
    with pytest.raises(CatalogueError, match="distances and of parallaxes"):
        StarCatalogue.concatenate([catalogue, others])


def test_distances_that_the_caller_names_are_no_parallaxes():
    table = plain(parallax=[10.0, 2.0, 0.4])
    assert StarCatalogue.from_table(table, units=UNITS).measured == "distance"
    table.meta["measured"] = "by eye"
    assert StarCatalogue.from_table(table, units=UNITS).measured == "distance"
    table.meta["measured"] = "parallax"
    named = StarCatalogue.from_table(table, columns={"distance": "distance"}, units=UNITS)
    assert named.measured == "distance"


def test_parallaxes_that_are_not_positive_are_dropped_as_such():
    table = plain(distance=None, parallax=[10.0, -2.0, 0.0], parallax_error=[0.1, 0.2, 0.2])
    catalogue = StarCatalogue.from_table(table, units=UNITS | {"parallax": "mas"})
    assert_array_equal(catalogue.row, [0])
    assert [(e.reason, e.count) for e in catalogue.report.dropped] == [("parallax is not positive", 2)]


def test_vector_columns():
    table = plain(distance=None)
    table["vector"] = np.arange(15.0).reshape(3, 5) + 1
    columns = {"distance": "vector[4]"}
    catalogue = StarCatalogue.from_table(table, columns=columns, units=UNITS, keep=["vector[0]", "vector"])
    assert_allclose(catalogue.distance.value, [5, 10, 15])
    assert_allclose(catalogue.extra["vector[0]"], [1, 6, 11])
    assert catalogue.extra["vector"].shape == (3, 5)
    with pytest.raises(CatalogueError, match=r"'vector' of the table has no element 5"):
        StarCatalogue.from_table(table, columns={"distance": "vector[5]"}, units=UNITS)
    with pytest.raises(CatalogueError, match=r"is a vector of shape \(5,\); say which element: 'vector\[0\]'"):
        StarCatalogue.from_table(table, columns={"distance": "vector"}, units=UNITS)


def test_zhang2023_files(tmp_path):
    rng = np.random.default_rng(2)
    estimate, error = rng.uniform(1, 2, (7, 5)), rng.uniform(0.01, 0.02, (7, 5))
    with h5py.File(tmp_path / "stellar_params_catalog_00.h5", "w") as file:
        file["ra"], file["dec"] = rng.uniform(0, 360, 7), rng.uniform(-90, 90, 7)
        file["stellar_params_est"], file["stellar_params_err"] = estimate.astype("f4"), error.astype("f4")
        file["quality_flags"] = np.arange(7, dtype="u1")
        file["stellar_params_icov"] = np.zeros((7, 15), "f4")
    options = {"preset": "zhang2023", "keep": ["quality_flags"]}
    catalogue = StarCatalogue.read(tmp_path / "stellar_params_catalog_00.h5", **options)
    assert_allclose(catalogue.distance.value, 1000 / estimate[:, 4], rtol=1e-6)
    assert_allclose(catalogue.extinction.value, estimate[:, 3], rtol=1e-6)
    assert_allclose(catalogue.extinction_error.value, error[:, 3], rtol=1e-6)
    assert catalogue.quantity == "E (ZGR23)"
    assert catalogue.measured == "parallax"
    assert_array_equal(catalogue.extra["quality_flags"], np.arange(7))
    chunks = StarCatalogue.read_chunks(tmp_path / "stellar_params_catalog_00.h5", rows=3, **options)
    assert_array_equal(StarCatalogue.concatenate(chunks).distance.value, catalogue.distance.value)


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"zhang2023"}))
def test_presets_read_their_columns(name):
    preset = PRESETS[name]
    pair = {"distance_error": ([90.0, 180.0], [120.0, 230.0]), "extinction_error": ([0.9, 1.9], [1.2, 2.3])}
    value = {"l": [1.0, 2.0], "b": [3.0, 4.0], "distance": [100.0, 200.0], "extinction": [1.0, 2.0]}
    table = Table()
    for key, column in preset.columns.items():
        for single, data in zip(column, pair[key], strict=True) if key in pair else [(column, value[key])]:
            table[single.upper()] = data  # presets do not mind the case
    catalogue = StarCatalogue.from_table(table, preset=name)
    scale = u.Unit(preset.units["distance"]).to(u.pc)
    assert_allclose(catalogue.distance.value, np.array([100, 200]) * scale)
    assert_allclose(catalogue.distance_error.value, np.array([15, 25]) * scale)
    assert_allclose(catalogue.extinction_error.value, [0.15, 0.2])
    assert (catalogue.band, catalogue.quantity, catalogue.reference) == (preset.band, preset.quantity, preset.reference)


def test_presets_yield_to_the_call_and_to_the_units_of_the_file():
    table = plain(l=None, b=None)
    table.rename_columns(["distance", "extinction"], ["dist_p50", "A0_p50"])
    table["A0_p16"], table["A0_p84"] = [0.4, -0.2, 1.4], [0.6, 0.0, 1.6]
    table["x"], table["y"] = [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]
    table["dist_p50"].unit = "kpc"
    own = {"preset": "fouesneau2022", "units": {"l": "deg", "b": "deg"}}
    catalogue = StarCatalogue.from_table(table, columns={"l": "x", "b": "y"}, band="550 nm", **own)
    assert_allclose(catalogue.distance.value, [1e5, 2e5, 3e5])
    assert catalogue.band == "550 nm"
    assert "read without distance errors: there is no column 'dist_p16' or 'dist_p84'" in catalogue.report.notes
    with pytest.raises(CatalogueError, match=r"needs the error of the extinction"):  # A0's is not that of another
        StarCatalogue.from_table(table, columns={"l": "x", "b": "y", "extinction": "A0_p84"}, **own)
    with pytest.raises(CatalogueError, match=r"no preset 'gaia'; there are fouesneau2022"):
        StarCatalogue.from_table(table, preset="gaia")


def test_the_unit_of_a_preset_is_not_that_of_another_column():
    table = plain(dist50=[0.1, 0.2, 0.3])
    columns = {"l": "l", "b": "b", "extinction": "extinction", "extinction_error": "extinction_error"}
    units = {"l": "deg", "b": "deg", "extinction": "mag"}
    own = StarCatalogue.from_table(table, preset="starhorse", columns=columns | {"distance": "dist50"}, units=units)
    assert_allclose(own.distance.value, [100, 200, 300])  # the preset's column, if called by its name
    table["dist16"], table["dist84"] = [0.09, 0.19, 0.29], [0.12, 0.22, 0.32]
    own = StarCatalogue.from_table(table, preset="starhorse", columns=columns | {"distance": "dist50"}, units=units)
    assert_allclose(own.distance_error.value, 15)
    with pytest.raises(MissingUnitError, match="'distance' of the table has no unit"):
        StarCatalogue.from_table(table, preset="starhorse", columns=columns | {"distance": "distance"}, units=units)


def test_errors_belong_to_their_values():
    table = plain(
        parallax=[9.0, 5.0, 3.0], e_parallax=[0.1, 0.1, 0.1], other=[110.0, 210.0, 310.0], distance_error=[1.0] * 3
    )
    for side in ("lower", "upper"):
        table[f"extinction_{side}_error"] = 0.05
    table["A2"], table["e_A2"] = [1.0, 2.0, 3.0], [0.5, 0.5, 0.5]
    units = UNITS | {"parallax": "mas"}
    assert_allclose(StarCatalogue.from_table(table, units=units).distance_error.value, 1)
    assert StarCatalogue.from_table(table, columns={"distance": "other"}, units=units).distance_error is None
    for columns in ({"extinction": "A2", "extinction_error": "e_A2"}, {"extinction_error": "e_A2"}):
        catalogue = StarCatalogue.from_table(table, columns=columns, units=units)
        assert catalogue.extinction_lower_error is None
        assert_allclose(catalogue.extinction_error.value, 0.5)
    with pytest.raises(CatalogueError, match="gives parallax_error, but the table is read by its distance"):
        StarCatalogue.from_table(table, columns={"parallax_error": "e_parallax"}, units=units)
    with pytest.raises(CatalogueError, match="gives distance_error, but the table is read by its parallax"):
        StarCatalogue.from_table(table, columns={"parallax": "parallax", "distance_error": "other"}, units=units)


def test_a_frame_with_two_columns_of_one_name():
    frame = pd.concat([plain().to_pandas(), plain().to_pandas()[["b"]]], axis=1)
    with pytest.raises(CatalogueError, match="several columns of one name: b"):
        StarCatalogue.from_table(frame, units=UNITS)
