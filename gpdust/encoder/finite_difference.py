"""Density from a cube of extinction by finite differences along the line of sight: what needs no network."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from gpdust.errors import EncoderError
from gpdust.los.cartesian import cell_centres

SMOOTHING = 1.5  # cells: standard deviation of the smoothing
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
    mean = extinction / (cell_length * _distance(cells)).to(extinction)
    return _outwards(mean)


def smooth_difference(extinction: torch.Tensor, information: torch.Tensor, cell_length: float) -> torch.Tensor:
    """The same of the mean density up to a cell smoothed over its neighbours, for noisy cubes.

    Each cell counts by what is known of its mean density, information · r².

    Parameters
    ----------
    extinction, information : Tensor, shape (..., n, n, n)
        mag and mag⁻²; see `ExtinctionCube`.
    cell_length : float
        pc.

    Returns
    -------
    Tensor, shape (..., n, n, n)
        mag/pc.
    """
    cells = extinction.shape[-1]
    length = (cell_length * _distance(cells)).to(extinction)
    weight = information * length**2 + torch.finfo(extinction.dtype).tiny
    return _outwards(_blurred(weight * extinction / length) / _blurred(weight))


def _distance(cells: int) -> torch.Tensor:
    """Distance of cell centres from the Sun in cells, shape (n, n, n)."""
    return torch.linalg.vector_norm(_from_sun(cells), dim=0)


def _from_sun(cells: int) -> torch.Tensor:
    """Positions of cell centres from the Sun in cells, shape (3, n, n, n)."""
    return torch.from_numpy(cell_centres(cells) - (0, cells / 2, cells / 2)).T.reshape(3, cells, cells, cells)


def _outwards(mean: torch.Tensor) -> torch.Tensor:
    """M + r · ∇m of a mean density m, shape (..., n, n, n)."""
    cells = mean.shape[-1]
    if cells == 1:
        return mean
    slopes = torch.gradient(mean, dim=(-3, -2, -1), edge_order=min(2, cells - 1))
    return mean + sum(part * slope for part, slope in zip(_from_sun(cells).to(mean), slopes, strict=True))


def _blurred(values: torch.Tensor) -> torch.Tensor:
    """Sums over neighbours with the weights of a Gaussian of SMOOTHING cells, shape (..., n, n, n)."""
    reach = round(3 * SMOOTHING)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=values.dtype) / SMOOTHING) ** 2)
    blurred = values.reshape(-1, 1, *values.shape[-3:])
    for axis in range(3):
        shape, padding = [1, 1, 1], [0, 0, 0]
        shape[axis], padding[axis] = len(kernel), reach
        blurred = torch.nn.functional.conv3d(blurred, kernel.reshape(1, 1, *shape), padding=padding)
    return blurred.reshape(values.shape)
