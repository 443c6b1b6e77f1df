"""Predicted against observed extinctions: whether the map fits the stars, and errors have the right size."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from matplotlib.axes import Axes
from scipy.stats import norm

from gpdust.errors import PosteriorError
from gpdust.plot.panels import single_panel
from gpdust.units import MAGNITUDE, as_array

SIZE = (5.0, 3.6)
REACH = 5.0  # robust standard deviations on either side that a histogram shows


def plot_residuals(predicted: u.Quantity, observed: u.Quantity, *, axes: Axes | None = None) -> Axes:
    """Draw a histogram of predicted minus observed extinction.

    The legend gives the median and half the range from the 16th to the 84th percentile, a robust σ.

    Parameters
    ----------
    predicted, observed : Quantity, shape (stars,)
        Extinctions.
    axes : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Raises
    ------
    PosteriorError
        If the shapes differ, or no residual is finite.
    """
    residuals = _difference(predicted, observed)
    axes = single_panel(axes, SIZE)
    middle, spread = robust_moments(residuals)
    reach = REACH * (spread or 1.0)
    _histogram(axes, residuals, (middle - reach, middle + reach), " mag", density=False)
    axes.axvline(0, ymax=0.76, color="black", linewidth=0.8)  # ends below the legend
    axes.set(xlabel="predicted − observed extinction / mag", ylabel="stars per bin")
    axes.legend(frameon=False, loc="upper left")
    return axes


def plot_standardised_residuals(
    predicted: u.Quantity, observed: u.Quantity, error: u.Quantity, *, axes: Axes | None = None
) -> Axes:
    """Draw a histogram of (predicted − observed) / error, with the unit normal that it should follow.

    Parameters
    ----------
    predicted, observed, error : Quantity, shape (stars,)
        Extinctions and the standard errors of their difference.
    axes : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Raises
    ------
    PosteriorError
        If the shapes differ, an error is not positive, or no residual is finite.
    """
    errors = as_array(error, MAGNITUDE, "error")
    if (errors <= 0).any():
        raise PosteriorError(f"{np.count_nonzero(errors <= 0)} errors are not positive")
    residuals = _difference(predicted, observed, errors)
    axes = single_panel(axes, SIZE)
    _histogram(axes, residuals, (-REACH, REACH), "", density=True)
    grid = np.linspace(-REACH, REACH, 201)
    axes.plot(grid, norm.pdf(grid), color="black", linewidth=1.2, label="unit normal")
    axes.set(xlabel="(predicted − observed) / error", ylabel="probability density")
    axes.legend(frameon=False, loc="upper left")
    return axes


def robust_moments(values: np.ndarray) -> tuple[float, float]:
    """Median, and half the range from the 16th to the 84th percentile: outliers move neither."""
    low, middle, high = np.percentile(values, [16, 50, 84])
    return float(middle), float((high - low) / 2)


def _difference(predicted: u.Quantity, observed: u.Quantity, errors: np.ndarray | float = 1.0) -> np.ndarray:
    model, data = as_array(predicted, MAGNITUDE, "predicted"), as_array(observed, MAGNITUDE, "observed")
    shapes = {model.shape, data.shape} | ({np.shape(errors)} if np.ndim(errors) else set())
    if len(shapes) > 1:
        raise PosteriorError(f"predictions, observations and errors must be one per star, but have shapes {shapes}")
    residuals = (model - data) / errors
    finite = residuals[np.isfinite(residuals)]
    if not finite.size:
        raise PosteriorError("no residual is finite")
    return finite


def _histogram(axes: Axes, values: np.ndarray, limits: tuple[float, float], unit: str, density: bool) -> None:
    bins = np.linspace(*limits, int(np.clip(np.sqrt(values.size), 12, 60)) + 1)
    middle, spread = robust_moments(values)
    outside = int(np.count_nonzero((values < limits[0]) | (values > limits[1])))
    shown = f"{values.size} stars" + f", {outside} beyond the axis" * bool(outside)
    label = f"{shown}\nmedian {middle:.2g}{unit}, robust σ {spread:.2g}{unit}"
    weights = np.full(values.size, 1 / (values.size * (bins[1] - bins[0])) if density else 1.0)
    axes.hist(values, bins, weights=weights, color="C0", alpha=0.6, label=label)
    axes.set_xlim(*limits)
    axes.margins(y=0.35)  # room for the legend
