"""Density from a cube of extinction by non-negative forward substitution: cell after cell, away from the Sun."""

from __future__ import annotations

import numpy as np
import torch

from gpdust.encoder.neighbours import SMALLEST_VARIANCE
from gpdust.errors import EncoderError
from gpdust.los.cartesian import cell_centres
from gpdust.los.walk import substitute


def forward_substitution(extinction: torch.Tensor, information: torch.Tensor, cell_length: float) -> torch.Tensor:
    """Density, cell by cell from the Sun outwards, that explains the extinction at the cell centres.

    Parameters
    ----------
    extinction, information : Tensor, shape (..., n, n, n)
        mag and mag⁻²; see `ExtinctionCube`. Axes (depth, y, z), the Sun in the centre of the near face.
    cell_length : float
        pc.

    Returns
    -------
    Tensor, shape (..., n, n, n)
        mag/pc, nowhere negative; dtype and device of the extinction. Not differentiable.

    Raises
    ------
    EncoderError
        If the two are no cubes of the same shape.

    Notes
    -----
    The ray to a cell's centre goes through cells nearer to the Sun only, so that E = A ρ is triangular: the density of
    a cell is what the cells before it leave over, divided by its own path. These equations are ill-conditioned: solved
    plainly, they multiply the rounding errors of float32 to more than the density. What keeps these in check is that no
    density is negative: an error can't swing to the other side and grow. Where the extinction has a variance
    σ² = 1 / information − 10⁻⁴ (what equation 5 of the V-net paper adds is taken off again), the density of the cell is
    the mean of a Gaussian about zero with the mean density of the cube for its standard deviation, given what is left.
    """
    if extinction.shape != information.shape or extinction.ndim < 3 or len(set(extinction.shape[-3:])) != 1:
        raise EncoderError(
            "extinction and information are cubes of one shape (..., n, n, n), "
            f"not {tuple(extinction.shape)} and {tuple(information.shape)}"
        )
    n = extinction.shape[-1]
    points = cell_centres(n)
    distance = np.linalg.norm(points - (0, n / 2, n / 2), axis=1)
    values, known = (_columns(cube, n) for cube in (extinction, information))
    weight = known * distance[:, None] ** 2 + np.finfo(np.float64).tiny
    typical = (weight * values / distance[:, None]).sum(axis=0) / weight.sum(axis=0)  # mag a cell
    with np.errstate(divide="ignore"):
        ridge = np.maximum(1 / known - SMALLEST_VARIANCE, 0) / np.maximum(typical, np.finfo(np.float32).eps) ** 2
    density = np.zeros_like(values)
    substitute(points, np.argsort(distance, kind="stable"), n, values, ridge, density)
    return torch.from_numpy(density.T.copy()).reshape(extinction.shape).to(extinction) / cell_length


def _columns(cubes: torch.Tensor, n: int) -> np.ndarray:
    """Cells by cubes, float64."""
    return np.ascontiguousarray(cubes.detach().cpu().double().reshape(-1, n**3).numpy().T)
