"""The line-of-sight operator R: density on cells to extinction at their outer edges, and its adjoint."""

import torch


def integrate(density: torch.Tensor, cell_lengths: torch.Tensor) -> torch.Tensor:
    """Extinction at the outer edge of every cell, A_k = Σ_{j ≤ k} ρ_j Δd_j.

    Parameters
    ----------
    density : Tensor, shape (..., ray, cell)
        Extinction density, mag/pc.
    cell_lengths : Tensor, shape (cell,)
        Δd, pc.

    Returns
    -------
    Tensor, shape (..., ray, cell)
        Extinction, mag. Differentiable; on any device, in any floating dtype.

    Notes
    -----
    Dharmawardena et al. (2022), eq. 7.
    """
    return torch.cumsum(density * cell_lengths, dim=-1)


def adjoint(cotangent: torch.Tensor, cell_lengths: torch.Tensor) -> torch.Tensor:
    """Adjoint Rᵀ of `integrate`: (Rᵀ y)_j = Δd_j Σ_{k ≥ j} y_k.

    Parameters
    ----------
    cotangent : Tensor, shape (..., ray, cell)
        One number at every outer edge.
    cell_lengths : Tensor, shape (cell,)
        Δd, pc.

    Returns
    -------
    Tensor, shape (..., ray, cell)
    """
    return cotangent.flip(-1).cumsum(-1).flip(-1) * cell_lengths
