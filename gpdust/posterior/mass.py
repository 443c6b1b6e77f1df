"""Mass from extinction density."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
import torch

from gpdust.errors import PosteriorError
from gpdust.grid import RayGrid
from gpdust.posterior.estimate import Estimate
from gpdust.units import as_float, as_quantity

if TYPE_CHECKING:
    from gpdust.posterior.posterior import Posterior

DUST_OPACITY = 26000 * u.cm**2 / u.g  # extinction at 547 nm per mass of dust: Draine (2003)
GAS_TO_DUST = 124.0  # Draine (2003)
VISUAL = ("A0", "AV", "A", "")  # extinctions at 541 to 550 nm, which differ by two percent, and those of no name
MAG_TO_OPTICAL_DEPTH = math.log(10) / 2.5


def total_mass(
    posterior: Posterior,
    grid: RayGrid,
    opacity: u.Quantity | None = None,
    gas_to_dust: float = GAS_TO_DUST,
    samples: int = 100,
    seed: int = 0,
) -> Estimate:
    """Mass of gas and dust in the interior of a grid.

    Parameters
    ----------
    posterior : Posterior
    grid : RayGrid
        Foreground and background cells do not count.
    opacity : Quantity, optional
        Extinction cross-section per mass of dust in the catalogue's band. By default that at 547 nm, for catalogues of
        A0 or A_V, or that do not say what they are of.
    gas_to_dust : float
        Ratio of their masses; 0 gives the mass of the dust alone.
    samples, seed : int

    Returns
    -------
    Estimate
        Solar masses.

    Raises
    ------
    PosteriorError
        If the catalogue is of another extinction and no opacity is given.

    Notes
    -----
    Dharmawardena et al. (2022), eq. 9, but integrated over volume: every cell counts at its own distance, where the
    paper puts all extinction at the far end of the region and so overestimates the mass.
    """
    if opacity is None:
        _require_visual(posterior)
        opacity = DUST_OPACITY
    per_volume = MAG_TO_OPTICAL_DEPTH / as_float(opacity, u.pc**2 / u.Msun, "opacity") * (1 + gas_to_dust)
    volumes = torch.from_numpy(grid.cell_volumes)
    inner = grid.interior_cells
    total = np.zeros(samples)
    for rays, density, _ in posterior.sample_chunks(grid, samples, seed):
        total += (density * volumes[rays])[..., inner].sum((-1, -2)).numpy()
    return Estimate(as_quantity(total * per_volume, u.Msun))


def _require_visual(posterior: Posterior) -> None:
    quantity, band = (posterior.meta.get(name, "") for name in ("quantity", "band"))
    if re.sub(r"[\W_]", "", quantity).upper() not in VISUAL:
        raise PosteriorError(
            f"the map is one of {quantity}{f' ({band})' * bool(band)}, and the opacity that is known is that of A0 and "
            "A_V: give mass(opacity=...), the extinction cross-section per mass of dust in that band, such as "
            "26000 * u.cm**2 / u.g at 547 nm"
        )
