"""The prior on all cells of a model at given hyperparameters, whatever its kind, a few rays at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch

from gpdust.model import LN10, DustModel
from gpdust.prior import LinearMap

GRAPH_NUMBERS = 4_000_000  # of all latents that a gradient is taken of at once
COVARIANCE_NUMBERS = 600_000  # of all latents that are held at once: they stay in the caches
STEP = 1e-4  # of a standardised hyperparameter; a difference this fine is exact enough for a metric


class PriorOnCells:
    """φ = offset + B v on all cells, with the residual of the prior averaged over (see `DustModel.mean_log_density`).

    Parameters
    ----------
    model : DustModel
    theta : Tensor, shape (P,)
        Standardised hyperparameters.
    """

    def __init__(self, model: DustModel, theta: torch.Tensor) -> None:
        self.model, self.theta = model, theta
        self._basis = model.basis(model.prior, theta)
        self.offset = torch.cat([self._offset(linear_map) for _, linear_map in self.maps()])

    def maps(self) -> Iterator[tuple[slice, LinearMap]]:
        """Cells (a slice) and the prior on them, a few rays at a time, without gradient."""
        n = self.model.grid.n_cells
        with torch.no_grad():
            for rays, linear_map in self.model.maps(self.model.prior, self.theta, self._basis):
                yield slice(rays.start * n, rays.stop * n), linear_map

    def apply(self, latent: torch.Tensor) -> torch.Tensor:
        """B v: (..., latent) to (..., cells)."""
        return _joined([linear_map.apply(latent) for _, linear_map in self.maps()])

    def adjoint(self, cotangent: torch.Tensor) -> torch.Tensor:
        """Bᵀ y: (..., cells) to (..., latent)."""
        total = None
        for cells, linear_map in self.maps():
            part = linear_map.adjoint(cotangent[..., cells])
            total = part if total is None else total.add_(part)
        return total

    @cached_property
    def covariance(self) -> torch.Tensor:
        """K = B Bᵀ, dex², shape (cells, cells): for few cells."""
        at_once = max(1, COVARIANCE_NUMBERS // self.model.prior.latent_size)
        covariance = torch.empty(len(self.offset), len(self.offset), dtype=torch.float64)
        for cells, linear_map in self.maps():
            for some in torch.arange(cells.stop - cells.start).split(at_once):
                rows = linear_map.rows(slice(int(some[0]), int(some[-1]) + 1))
                covariance[cells][some] = self.apply(rows)
        return covariance

    def log_density(self, latent: torch.Tensor) -> torch.Tensor:
        """φ, with half the variance of the residual: (..., latent) to (..., cells)."""
        return self.apply(latent).add_(self.offset)

    def theta_derivatives(self, latent: torch.Tensor) -> torch.Tensor:
        """∂φ/∂θ at fixed v, shape (P, cells); by differences."""
        here = self.log_density(latent)
        steps = STEP * torch.eye(len(self.theta), dtype=self.theta.dtype)
        rows = torch.empty(len(self.theta), len(here), dtype=here.dtype)
        for row, step in zip(rows, steps, strict=True):
            row.copy_(_joined([self._log_density(m, latent) for m in self._maps_at(self.theta + step)]))
        return rows.sub_(here).div_(STEP)

    def root_derivatives(
        self, latents: torch.Tensor, cotangents: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """∂B v and ∂Bᵀ y by one entry of θ after another; by differences.

        Parameters
        ----------
        latents : Tensor, shape (batch, latent)
            v.
        cotangents : Tensor, shape (batch, cells)
            y.

        Yields
        ------
        forward : Tensor, shape (batch, cells)
        backward : Tensor, shape (batch, latent)
        """
        forward, backward, n = self.apply(latents), self.adjoint(cotangents), self.model.grid.n_cells
        for step in STEP * torch.eye(len(self.theta), dtype=self.theta.dtype):
            parts, total = [], -backward
            with torch.no_grad():
                for rays, linear_map in self.model.maps(self.model.prior, self.theta + step):
                    parts.append(linear_map.apply(latents))
                    total += linear_map.adjoint(cotangents[:, rays.start * n : rays.stop * n])
            yield (_joined(parts) - forward).div_(STEP), total.div_(STEP)

    @cached_property
    def _growth(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        return self.model.prior.theta_growth(self.theta, STEP)

    def theta_latents(self, latent: torch.Tensor) -> torch.Tensor | None:
        """P with B p = ∂φ/∂θ at fixed v, shape (P, latent); none where the prior's latents don't scale one by one."""
        return None if self._growth is None else self._growth[0] * latent + self._growth[1]

    def same_field(self, latent: torch.Tensor, new_theta: torch.Tensor) -> torch.Tensor:
        """Latents that make at other hyperparameters the same φ as these do here; see `theta_latents`."""
        return self.model.prior.same_field(latent, self.theta, new_theta)

    def theta_volume(self, information: torch.Tensor) -> torch.Tensor:
        """Σ ∂ ln B / ∂θ times what the stars know of each latent, shape (latent,): Occam's factor, shape (P,)."""
        return self._growth[0] @ information

    def theta_gradient(self, latents: torch.Tensor, cotangents: torch.Tensor, of_offset: torch.Tensor) -> torch.Tensor:
        """∂/∂θ of Σ ⟨cotangent, B v⟩ and ⟨cotangent, offset⟩ at fixed v, shape (P,).

        Parameters
        ----------
        latents : Tensor, shape (batch, latent)
            v.
        cotangents : Tensor, shape (batch, cells)
            Of B v.
        of_offset : Tensor, shape (cells,)
            That of the offset.
        """
        gradient = torch.zeros_like(self.theta)
        n = self.model.grid.n_cells
        for rays in self.model.ray_chunks:
            theta = self.theta.clone().requires_grad_()
            linear_map = self.model.prior.at(self.model.points(rays), theta)
            here = slice(rays.start * n, rays.stop * n)
            some = cotangents[:, here]
            total = (of_offset[here] * self._offset(linear_map)).sum()
            rows = max(1, GRAPH_NUMBERS // max(latents.shape[-1], some.shape[-1]))  # a graph of all would be large
            for few, their in zip(latents.split(rows), some.split(rows), strict=True):
                total = total + (linear_map.apply(few) * their).sum()
            gradient += torch.autograd.grad(total, theta)[0]
        return gradient

    def _maps_at(self, theta: torch.Tensor) -> Iterator[LinearMap]:
        with torch.no_grad():
            for _, linear_map in self.model.maps(self.model.prior, theta):
                yield linear_map

    def _log_density(self, linear_map: LinearMap, latent: torch.Tensor) -> torch.Tensor:
        return linear_map.apply(latent) + self._offset(linear_map)

    @staticmethod
    def _offset(linear_map: LinearMap) -> torch.Tensor:
        return linear_map.mean + linear_map.step + 0.5 * LN10 * linear_map.residual_variance


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
