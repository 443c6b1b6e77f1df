"""Density from a cube of extinction by finite differences along the line of sight: what needs no network."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from gpdust.errors import EncoderError
from gpdust.los.cartesian import cell_centres

Cube = TypeVar("Cube", np.ndarray, torch.Tensor)


def finite_difference(extinction: Cube, cell_length: float) -> Cube:
    """Density at cell centres from the change of extinction away from the Sun.

    Parameters
    ----------
    extinction : ndarray or Tensor, shape (..., n, n, n)
        At cell centres, mag; axes (depth, y, z), the Sun in the centre of the near face.
    cell_length : float
        Side of a cell, pc.

    Returns
    -------
    ndarray or Tensor, shape (..., n, n, n)
        mag/pc, as the extinction's kind, dtype and device; negative where extinction falls outwards. Differentiable.

    Raises
    ------
    EncoderError
        If the last three dimensions make no cube.

    Notes
    -----
    What is differenced is the mean density up to a cell, m = E / r, since ρ = d(m r)/dr = m + r · ∇m. It has no cusp at
    the Sun as E has, where E(0) = 0 is built in, and the densities a + b · r come out exactly. ∇m is by central
    differences of the cells next to each, and by three cells at the faces. Against smooth densities with structure of
    12, 6 and 3 cells this errs by 1, 4 and 19 % of their standard deviation, where the difference to E one cell
    nearer on the ray, interpolated, errs by 13, 22 and 49 %, and central ones on the ray by 12, 17 and 30 %, mostly at
    the faces. With noise of 2 % in every cell, however, the latter (0.34, 0.29, 0.43) beat this (0.73, 0.51, 0.70).
    """
    if isinstance(extinction, np.ndarray):
        return finite_difference(torch.tensor(extinction), cell_length).numpy()  # a copy: arrays may be read-only
    shape = tuple(extinction.shape)
    if len(shape) < 3 or len(set(shape[-3:])) != 1 or shape[-1] < 1:
        raise EncoderError(f"a cube of extinction has shape (..., n, n, n), not {shape}")
    cells = shape[-1]
    from_sun = torch.from_numpy(cell_centres(cells) - (0, cells / 2, cells / 2)).to(extinction)
    mean = extinction / (cell_length * torch.linalg.vector_norm(from_sun, dim=1).reshape(shape[-3:]))
    if cells == 1:
        return mean
    slopes = torch.gradient(mean, dim=(-3, -2, -1), edge_order=min(2, cells - 1))
    parts = from_sun.T.reshape(3, *shape[-3:])
    return mean + sum(part * slope for part, slope in zip(parts, slopes, strict=True))
