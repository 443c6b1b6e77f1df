"""The boundary between Quantities and numbers: nothing is guessed, nothing is lost."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import Distance, Longitude
from astropy.table import MaskedColumn
from astropy.utils.masked import Masked
from numpy.testing import assert_allclose, assert_array_equal

from gpdust.errors import MissingUnitError
from gpdust.units import DEGREE, DENSITY, PARSEC, as_array, as_float, as_quantity, as_tensor


@pytest.mark.parametrize("value", [3, 3.0, [1, 2], np.arange(3.0), None, "three parsec"])
def test_a_missing_unit_is_an_error_that_names_the_argument(value):
    with pytest.raises(MissingUnitError, match="my_length"):
        as_array(value, PARSEC, "my_length")


def test_a_wrong_unit_is_an_error_that_names_argument_and_units():
    with pytest.raises(MissingUnitError, match=r"my_length.*'deg'.*'pc'"):
        as_array(3 * u.deg, PARSEC, "my_length")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.2 * u.kpc, PARSEC, 200.0),
        ([1, 2] * u.kpc, PARSEC, [1000, 2000]),
        ([1 * u.pc, 2 * u.kpc], PARSEC, [1, 2000]),
        (np.pi * u.rad, DEGREE, 180.0),
        (Longitude(370 * u.deg), DEGREE, 10.0),
        (Distance(parallax=10 * u.mas), PARSEC, 100.0),
        (2 * u.mag / u.kpc, DENSITY, 0.002),
        (np.array([1, 2], dtype=np.float32) * u.pc, PARSEC, [1, 2]),
    ],
)
def test_quantities_are_converted_to_float64(value, unit, expected):
    array = as_array(value, unit, "x")
    assert array.dtype == np.float64
    assert_allclose(array, expected, rtol=1e-14)


@pytest.mark.parametrize(
    "masked",
    [
        Masked([1.0, 2.0] * u.pc, mask=[False, True]),
        MaskedColumn([1.0, 2.0], mask=[False, True], unit="pc"),
    ],
    ids=["Masked", "MaskedColumn"],
)
def test_masked_entries_become_nan(masked):
    assert_array_equal(as_array(masked, PARSEC, "x"), [1, np.nan])


def test_a_single_number_is_asked_for_where_an_array_is_given():
    assert as_float(2 * u.kpc, PARSEC, "x") == 2000
    with pytest.raises(ValueError, match="x must be a single number"):
        as_float([1, 2] * u.pc, PARSEC, "x")


@pytest.mark.parametrize("wrap", [np.asarray, torch.tensor])
def test_numbers_go_out_and_come_back_unchanged(wrap):
    numbers = np.random.default_rng(0).random((2, 3))
    quantity = as_quantity(wrap(numbers), DENSITY)
    assert quantity.unit == DENSITY
    assert_array_equal(as_array(quantity, DENSITY, "x"), numbers)


def test_a_tensor_has_float64_and_follows_no_later_change_of_the_quantity():
    points = np.arange(6.0).reshape(2, 3) * u.pc
    tensor = as_tensor(points, PARSEC, "x")
    points[:] = 0 * u.pc
    assert tensor.dtype == torch.float64
    assert_array_equal(tensor, np.arange(6.0).reshape(2, 3))


def test_a_read_only_quantity_becomes_a_tensor_without_a_warning():
    points = np.broadcast_to(np.arange(3.0), (2, 3)) * u.pc
    points.flags.writeable = False
    assert as_tensor(points, PARSEC, "x").shape == (2, 3)
