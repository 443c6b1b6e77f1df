"""What the stars say of the log-density on the cells: energy, gradient and Gauss–Newton metric, ray by ray."""

from __future__ import annotations

import torch

from gpdust.inference.star_metric import AveragedMetric, PlainMetric
from gpdust.los import adjoint, integrate
from gpdust.model import LN10, DustModel


class Response:
    """−log L as a function of φ, log10 density on all cells, which lie ray after ray.

    Parameters
    ----------
    model : DustModel
    """

    def __init__(self, model: DustModel) -> None:
        self.statistics = model.statistics
        self.shape = model.grid.shape
        self.lengths = torch.from_numpy(model.grid.cell_lengths)

    def energy(self, log_density: torch.Tensor) -> torch.Tensor:
        """−log L, nats: (..., cells) to (...)."""
        return -self.statistics.log_likelihood(self._extinction(log_density))

    def energy_and_gradient(self, log_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """−log L and its derivative by φ: (..., cells) to (...) and (..., cells)."""
        density = torch.exp(LN10 * log_density).unflatten(-1, self.shape)
        extinction = integrate(density, self.lengths)
        residual = self.statistics.precision_product(extinction) - self.statistics.weighted
        gradient = LN10 * density * adjoint(residual, self.lengths)
        return -self.statistics.log_likelihood(extinction), gradient.flatten(-2)

    def metric(self, log_density: torch.Tensor) -> PlainMetric:
        """The metric at one log-density, shape (cells,), or at the root mean square of draws, shape (draws, cells)."""
        slope = self._slope(log_density)
        return PlainMetric(slope if log_density.ndim == 1 else slope.square().mean(0).sqrt(), self.statistics)

    def averaged_metric(self, log_densities: torch.Tensor) -> AveragedMetric:
        """The metric averaged over draws, shape (draws, cells)."""
        return AveragedMetric(self._slope(log_densities), self.statistics)

    def _slope(self, log_density: torch.Tensor) -> torch.Tensor:
        return (LN10 * self.lengths) * torch.exp(LN10 * log_density).unflatten(-1, self.shape)

    def _extinction(self, log_density: torch.Tensor) -> torch.Tensor:
        return integrate(torch.exp(LN10 * log_density).unflatten(-1, self.shape), self.lengths)
