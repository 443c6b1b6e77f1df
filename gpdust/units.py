"""The one boundary between Quantities (outside) and plain numbers (inside).

Angles are degrees and distances parsec at the public surface. Inside, arrays are plain float64 numbers in the units
named here: degrees, parsec, magnitudes and magnitudes per parsec. No other module turns a Quantity into a number.
"""

import astropy.units as u
import numpy as np
import torch

from gpdust.errors import MissingUnitError

DEGREE = u.deg
PARSEC = u.pc
MAGNITUDE = u.mag
DENSITY = u.mag / u.pc


def as_array(value: object, unit: u.UnitBase, name: str) -> np.ndarray:
    """Turn a Quantity into a float64 array of plain numbers.

    Parameters
    ----------
    value : Quantity, array_like of Quantity, or Longitude, Latitude, Distance
        What the user gave. Masked entries become NaN.
    unit : Unit
        The unit of the result.
    name : str
        What to call the value in an error.

    Returns
    -------
    ndarray
        float64, same shape.

    Raises
    ------
    MissingUnitError
        If the value has no unit, or one that can't be converted.
    """
    masked = np.ma.getmask(value)  # a MaskedColumn loses its mask when it becomes a Quantity
    if not hasattr(value, "unit"):
        try:
            value = u.Quantity(value)
        except TypeError:
            raise MissingUnitError(f"{name} is not a number with a unit: {value!r}") from None
        if value.unit == u.dimensionless_unscaled:
            raise MissingUnitError(f"{name} has no unit; give it as a Quantity, for example {name} * u.Unit('{unit}')")
    try:
        converted = u.Quantity(value).to_value(unit)
    except u.UnitConversionError:
        raise MissingUnitError(f"{name} is in '{value.unit}', which can't be turned into '{unit}'") from None
    array = np.asarray(np.ma.filled(converted, np.nan), dtype=np.float64)
    return np.where(masked, np.nan, array) if masked is not np.ma.nomask else array


def as_float(value: object, unit: u.UnitBase, name: str) -> float:
    """Turn a scalar Quantity into a float in `unit`; see `as_array`."""
    array = as_array(value, unit, name)
    if array.ndim:
        raise ValueError(f"{name} must be a single number, not an array of shape {array.shape}")
    return float(array)


def as_tensor(value: object, unit: u.UnitBase, name: str) -> torch.Tensor:
    """Turn a Quantity into a float64 tensor in `unit`; see `as_array`."""
    return torch.from_numpy(np.ascontiguousarray(as_array(value, unit, name)))


def as_quantity(numbers: torch.Tensor | np.ndarray | float, unit: u.UnitBase) -> u.Quantity:
    """Give plain numbers, in a tensor or an array, their unit back."""
    if isinstance(numbers, torch.Tensor):
        numbers = numbers.detach().cpu().numpy()
    return u.Quantity(numbers, unit, copy=None)
