"""How well a map meets a known truth: errors, coverage, bias and scatter, by stated formulas.

Every cell counts once, whatever its volume, as in the benchmark of Dharmawardena et al. (2022).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import astropy.units as u
import numpy as np
import torch

from gpdust.errors import PosteriorError
from gpdust.los import integrate
from gpdust.posterior import PercentileMaps
from gpdust.units import DENSITY, MAGNITUDE, as_array, as_float

STRUCTURE = 3.2e-3 * DENSITY  # twice the background of the simulated clumps


@dataclass(frozen=True)
class DensityScores:
    """What `density_scores` returns; plain numbers.

    Attributes
    ----------
    error_median, error_p90 : float
        Median and 90th percentile over cells of the relative error |ρ − ρ_true| / ρ_true of the median density.
    structure_error_median, structure_error_p90 : float or None
        The same over cells of dense structure only; None where there are none.
    structure_cells, cells : int
        How many cells those are, and all.
    density_coverage, extinction_coverage : float
        Fraction of cells whose true value lies between the 16th and the 84th percentile: 0.68 for honest errors.
    extinction_bias, extinction_scatter : float
        Mean and standard deviation over cells of A − A_true at the cells' outer edges, of the median A, mag.
    """

    error_median: float
    error_p90: float
    structure_error_median: float | None
    structure_error_p90: float | None
    structure_cells: int
    cells: int
    density_coverage: float
    extinction_coverage: float
    extinction_bias: float
    extinction_scatter: float

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the scores by name, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            ("relative density error", f"median {self.error_median:.1%}, 90th percentile {self.error_p90:.1%}"),
            (f"  in {self.structure_cells} dense cells", "there are none"),
            ("68 % interval holds", f"density {self.density_coverage:.0%}, extinction {self.extinction_coverage:.0%}"),
            ("extinction", f"bias {self.extinction_bias:+.4f} mag, scatter {self.extinction_scatter:.4f} mag"),
        ]
        if self.structure_cells:
            dense = f"median {self.structure_error_median:.1%}, 90th percentile {self.structure_error_p90:.1%}"
            lines[1] = (lines[1][0], dense)
        return "\n".join(f"{name:28} {value}" for name, value in lines)


def density_scores(
    maps: PercentileMaps,
    truth_density: u.Quantity,
    truth_extinction: u.Quantity | None = None,
    structure: u.Quantity = STRUCTURE,
) -> DensityScores:
    """Score percentile maps against a true density.

    Parameters
    ----------
    maps : PercentileMaps
        With the percentiles 16, 50 and 84.
    truth_density : Quantity, shape (ray, cell)
        Positive, on the cells of the maps.
    truth_extinction : Quantity, shape (ray, cell), optional
        From the Sun to the outer edges of the cells. By default the integral of the true density from the near end of
        the maps, which is right where there is no dust in front of it.
    structure : Quantity
        A cell with at least this true density counts as dense structure.

    Returns
    -------
    DensityScores

    Raises
    ------
    PosteriorError
        If a shape does not fit, a true density is not positive, or the maps lack a percentile.
    """
    density = _on_cells(maps, truth_density, DENSITY, "truth_density")
    if not (density > 0).all():
        raise PosteriorError("truth_density must be positive everywhere: errors are relative to it")
    if truth_extinction is None:
        extinction = integrate(torch.from_numpy(density), torch.from_numpy(maps.grid.cell_lengths)).numpy()
    else:
        extinction = _on_cells(maps, truth_extinction, MAGNITUDE, "truth_extinction")
    low, median, high = (maps.index(percentile) for percentile in (16, 50, 84))
    error = relative_error(maps.density_values[median], density)
    dense = density >= as_float(structure, DENSITY, "structure")
    bias, scatter = bias_and_scatter(maps.extinction_values[median], extinction)
    return DensityScores(
        *_median_and_p90(error),
        *(_median_and_p90(error[dense]) if dense.any() else (None, None)),
        structure_cells=int(dense.sum()),
        cells=density.size,
        density_coverage=coverage(maps.density_values[low], maps.density_values[high], density),
        extinction_coverage=coverage(maps.extinction_values[low], maps.extinction_values[high], extinction),
        extinction_bias=bias,
        extinction_scatter=scatter,
    )


def relative_error(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Relative error of arrays of one shape: the modulus of (estimate − truth) / truth."""
    return np.abs(estimate - truth) / truth


def coverage(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> float:
    """Fraction of places where low ≤ truth ≤ high, of arrays of one shape."""
    return float(np.mean((low <= truth) & (truth <= high)))


def bias_and_scatter(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of estimate − truth."""
    difference = estimate - truth
    return float(np.mean(difference)), float(np.std(difference))


def crps(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of draws: E|X − y| − ½ E|X − X′|, in the unit of the truth y.

    Parameters
    ----------
    samples : ndarray, shape (draws, ...)
        At least two draws X; X′ is another draw than X, so that the score does not depend on how many there are.
    truth : ndarray, shape (...)

    Returns
    -------
    ndarray, shape (...)
        Smaller is better; for a single certain value it is the absolute error.
    """
    n = len(samples)
    ordered = np.sort(samples, axis=0)
    rank = np.arange(1, n + 1).reshape(-1, *[1] * (samples.ndim - 1))
    # The mean of |X − X′| over pairs, from sorted draws.
    between = 2 * np.sum((2 * rank - n - 1) * ordered, axis=0) / (n * (n - 1))
    return np.mean(np.abs(samples - truth), axis=0) - between / 2


def _median_and_p90(values: np.ndarray) -> tuple[float, float]:
    median, p90 = np.percentile(values, [50, 90])
    return float(median), float(p90)


def _on_cells(maps: PercentileMaps, values: u.Quantity, unit: u.UnitBase, name: str) -> np.ndarray:
    array = as_array(values, unit, name)
    if array.shape != maps.grid.shape:
        raise PosteriorError(f"{name} has shape {array.shape}, but the maps have {maps.grid.shape} (rays, cells)")
    return array
