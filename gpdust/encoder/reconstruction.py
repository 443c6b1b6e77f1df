"""Image space reconstruction: a guess of the density made to agree with the stars, cell by cell, without a prior."""

from __future__ import annotations

import torch

from gpdust.inference.response import Response
from gpdust.los import adjoint, integrate

UPDATES = 10  # more of them fit the noise
MOST = 3.0  # times as dense, or a third as dense, in one update


def image_space_reconstruction(log_density: torch.Tensor, response: Response) -> tuple[torch.Tensor, torch.Tensor]:
    """A density after some multiplicative updates by what the stars say of it.

    For stars with exact distances ρ ← ρ · Rᵀh / RᵀWA, a factor that is one where they fit. For others h − WA and W
    change with the density.

    Parameters
    ----------
    log_density : Tensor, shape (cells,)
        Dex.
    response : Response

    Returns
    -------
    log_density : Tensor, shape (cells,)
    seen : Tensor of bool, shape (cells,)
        Whether a star tells anything of the cell.

    References
    ----------
    Daube-Witherspoon & Muehllehner (1986), IEEE Trans. Med. Imaging 5, 61.
    """
    density = response.density(log_density)
    seen = torch.zeros_like(density, dtype=torch.bool)
    for _ in range(UPDATES):
        extinction = integrate(density, response.lengths)
        _, slope = response.likelihood.log_likelihood_and_slope(extinction)
        weighed = response.likelihood.information(extinction).product(extinction)
        wanted, known = adjoint(slope, response.lengths), adjoint(weighed, response.lengths)
        seen = known > 0
        factor = 1 + wanted / torch.where(seen, known, 1.0)
        density = density * torch.where(seen, factor, 1.0).clamp(1 / MOST, MOST)
    return density.flatten(-2).log10(), seen.flatten(-2)
