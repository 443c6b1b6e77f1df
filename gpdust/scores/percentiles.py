"""Scores of percentile maps: all that can be said where only the maps are at hand, and no draws."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import astropy.units as u
import numpy as np
import torch

from gpdust.errors import PosteriorError
from gpdust.los import integrate
from gpdust.posterior import PercentileMaps
from gpdust.scores.formulas import bias_and_scatter, coverage, median_and_p90, relative_error
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
        *median_and_p90(error),
        *(median_and_p90(error[dense]) if dense.any() else (None, None)),
        structure_cells=int(dense.sum()),
        cells=density.size,
        density_coverage=coverage(maps.density_values[low], maps.density_values[high], density),
        extinction_coverage=coverage(maps.extinction_values[low], maps.extinction_values[high], extinction),
        extinction_bias=bias,
        extinction_scatter=scatter,
    )


def _on_cells(maps: PercentileMaps, values: u.Quantity, unit: u.UnitBase, name: str) -> np.ndarray:
    array = as_array(values, unit, name)
    if array.shape != maps.grid.shape:
        raise PosteriorError(f"{name} has shape {array.shape}, but the maps have {maps.grid.shape} (rays, cells)")
    return array
