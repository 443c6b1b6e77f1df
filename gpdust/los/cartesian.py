"""Exact extinction of Cartesian cubes of density: path lengths of straight rays from the Sun through cubic cells.

A cube is n³ cells; axis 0 runs away from the Sun, which sits in the centre of the near face, at (0, n/2, n/2) in units
of cells. Rays are followed on the fly, once for a batch of cubes, so nothing is kept between calls.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.autograd.function import FunctionCtx

from gpdust.errors import EncoderError
from gpdust.los.walk import follow_rays

BATCH = 64  # cubes that share one walk along the rays: more save little, and leave the processor's cache


def cube_extinction(density: torch.Tensor, cell_length: float) -> torch.Tensor:
    """Extinction at the centre of every cell of a cube, E(r) = ∫ ρ ds from the Sun to r, exact for constant cells.

    Parameters
    ----------
    density : Tensor, shape (..., n, n, n)
        Extinction density, mag/pc; axes (depth, y, z). float32 or float64.
    cell_length : float
        Side of a cell, pc.

    Returns
    -------
    Tensor, shape (..., n, n, n)
        Extinction, mag. Differentiable, twice too; computed by the processor whatever the device.

    Raises
    ------
    EncoderError
        If the last three dimensions make no cube, or numbers are neither float32 nor float64.
    """
    return extinction_at(density, cell_centres(density.shape[-1]), cell_length).reshape(density.shape)


def extinction_at(density: torch.Tensor, points: np.ndarray, cell_length: float) -> torch.Tensor:
    """Extinction at any points of a cube.

    A ray that runs exactly between cells is shared equally by those beside it; one along the near face lies in the
    first cells.

    Parameters
    ----------
    density : Tensor, shape (..., n, n, n)
        Extinction density, mag/pc; float32 or float64.
    points : ndarray, shape (m, 3)
        In units of cells, between 0 and n.
    cell_length : float
        Side of a cell, pc.

    Returns
    -------
    Tensor, shape (..., m)
        Extinction, mag. Differentiable in the density.

    Raises
    ------
    EncoderError
        If a point lies outside the cube, or the density makes no cube.
    """
    cells = _side(density)
    points = checked_points(points, cells)
    values = density.reshape(math.prod(density.shape[:-3]), cells**3)
    return _RayIntegral.apply(values, points, cells, cell_length, False).reshape(*density.shape[:-3], len(points))


def extinction_at_adjoint(cotangent: torch.Tensor, points: np.ndarray, cells: int, cell_length: float) -> torch.Tensor:
    """Adjoint of `extinction_at`: one number at every point, to the cells that its ray goes through.

    Parameters
    ----------
    cotangent : Tensor, shape (..., m)
    points : ndarray, shape (m, 3)
        In units of cells.
    cells : int
        Cells a side, n.
    cell_length : float
        pc.

    Returns
    -------
    Tensor, shape (..., n, n, n)
    """
    points = checked_points(points, cells)
    values = cotangent.reshape(math.prod(cotangent.shape[:-1]), len(points))
    return _RayIntegral.apply(values, points, cells, cell_length, True).reshape(*cotangent.shape[:-1], *(cells,) * 3)


def cube_extinction_adjoint(cotangent: torch.Tensor, cell_length: float) -> torch.Tensor:
    """Adjoint of `cube_extinction`, shapes (..., n, n, n) to (..., n, n, n)."""
    cells = _side(cotangent)
    return extinction_at_adjoint(cotangent.flatten(-3), cell_centres(cells), cells, cell_length)


def cell_centres(cells: int) -> np.ndarray:
    """Centres of the cells of a cube in units of cells, shape (n³, 3)."""
    return np.stack(np.meshgrid(*(np.arange(cells) + 0.5,) * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def checked_points(points: np.ndarray, cells: int) -> np.ndarray:
    """Check that all points lie in the cube, faces included, and give them as float64.

    Raises
    ------
    EncoderError
        Naming the first that does not.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise EncoderError(f"points in a cube have shape (m, 3): depth, y, z in cells; these have {points.shape}")
    outside = np.flatnonzero(~((points >= 0) & (points <= cells)).all(axis=1))
    if outside.size:
        place = ", ".join(f"{x:g}" for x in points[outside[0]])
        raise EncoderError(
            f"{outside.size} of {len(points)} points lie outside the cube of {cells} cells a side, the first "
            f"(number {outside[0]}) at ({place}) cells; drop them, or take a larger cube"
        )
    return points


def _side(density: torch.Tensor) -> int:
    shape = tuple(density.shape)
    if len(shape) < 3 or len(set(shape[-3:])) != 1 or shape[-1] < 1:
        raise EncoderError(f"a cube of density has shape (..., n, n, n), not {shape}")
    return shape[-1]


class _RayIntegral(torch.autograd.Function):
    """Cells (batch, n³) to points (batch, m), or transposed; each is the other's derivative."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, values: torch.Tensor, points: np.ndarray, cells: int, cell_length: float, transposed: bool
    ) -> torch.Tensor:
        ctx.ray = points, cells, cell_length, transposed
        if values.dtype not in (torch.float32, torch.float64):
            raise EncoderError(f"cubes are float32 or float64, not {values.dtype}")
        numbers = values.detach().cpu().numpy()
        result = np.empty((len(numbers), cells**3 if transposed else len(points)), numbers.dtype)
        for start in range(0, len(numbers), BATCH):
            batch = np.ascontiguousarray(numbers[start : start + BATCH].T)
            sums = np.zeros((result.shape[1], batch.shape[1]), batch.dtype)
            follow_rays(points, cells, batch, sums, batch.dtype.type(cell_length), transposed)
            result[start : start + BATCH] = sums.T
        return torch.from_numpy(result).to(values.device)

    @staticmethod
    def backward(ctx: FunctionCtx, cotangent: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        points, cells, cell_length, transposed = ctx.ray
        return _RayIntegral.apply(cotangent, points, cells, cell_length, not transposed), None, None, None, None
