"""The posterior of a fit: the prior and a Gaussian of its whitened latents; everything else is drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import astropy.units as u
import gpytorch
import numpy as np
import torch
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from gpdust.catalogue import StarCatalogue
from gpdust.errors import PosteriorError
from gpdust.grid import RayGrid
from gpdust.inference import StoppingReport, Trace
from gpdust.likelihood import StarTreatment
from gpdust.los import integrate
from gpdust.posterior.estimate import Estimate
from gpdust.posterior.maps import PercentileMaps
from gpdust.posterior.mass import total_mass
from gpdust.posterior.percentiles import percentile_maps
from gpdust.posterior.predict import predict, star_positions
from gpdust.posterior.query import query
from gpdust.posterior.residual import ray_chunks, residual_noise
from gpdust.posterior.spread import FullSpread, Spread
from gpdust.posterior.stars import star_table
from gpdust.posterior.storage import read_posterior, write_posterior
from gpdust.prior import InducingGP, SpectralGP
from gpdust.prior.fields import Fields
from gpdust.units import DENSITY, MAGNITUDE, as_quantity

ROUNDING = 1e-9  # of a distance


@dataclass(frozen=True)
class Posterior:
    """A Gaussian over the whitened latent v, and the prior that turns v into density anywhere.

    Attributes
    ----------
    prior : InducingGP or SpectralGP
    theta : Tensor, shape (P,)
        Standardised hyperparameters.
    mean : Tensor, shape (M,)
        Posterior mean of v.
    spread : FullSpread or DrawnSpread
        Its covariance, by a square root (natural, svi) or by draws (mgvi).
    grid : RayGrid
        The grid of the fit.
    theta_covariance : Tensor, shape (P, P)
        Approximate (Laplace) covariance of θ.
    report : StoppingReport, trace : Trace
        How the fit went.
    meta : dict
        Band, quantity, reference, seed, version.
    treatment : StarTreatment
        How stars were treated, with the noise that the fit has learned.
    noise_table : str
        Learned parameters of the noise with approximate errors and priors, a line each.
    """

    prior: InducingGP | SpectralGP
    theta: torch.Tensor
    mean: torch.Tensor
    spread: Spread
    grid: RayGrid
    theta_covariance: torch.Tensor
    report: StoppingReport
    trace: Trace
    meta: dict = field(default_factory=dict)
    treatment: StarTreatment = field(default_factory=StarTreatment)
    noise_table: str = ""

    @property
    def hyperparameters(self) -> dict[str, float]:
        """Hyperparameters by name, in physical units (see `Posterior.hyperparameter_table`)."""
        return self.prior.hyperparameters.report(self.theta)

    def hyperparameter_table(self) -> str:
        """Hyperparameters with units, approximate errors and priors, a line each."""
        listed = self.prior.hyperparameters
        errors = listed.errors(self.theta, self.theta_covariance) if len(self.theta_covariance) else {}
        lines = []
        for parameter in listed:
            known = f"{errors[parameter.name]:.2g}" if parameter.name in errors else "unknown"
            error = f" ± {known}" if parameter.learned else " (fixed)"
            value = f"{self.hyperparameters[parameter.name]:.4g}{error} {parameter.unit}"
            lines.append(f"{parameter.name:18} {value:28} prior: {parameter.describe_prior()}")
        return "\n".join(lines)

    @property
    def scale(self) -> torch.Tensor:
        """A square root of the covariance of v, shape (M, M), where the engine has one.

        Raises
        ------
        PosteriorError
            For mgvi, which has draws instead: `spread.draws`.
        """
        if isinstance(self.spread, FullSpread):
            return self.spread.scale
        raise PosteriorError("this posterior is known by its draws (posterior.spread.draws), not by a covariance")

    def draw_latents(self, count: int, seed: int = 0) -> torch.Tensor:
        """Joint draws of v, shape (count, M).

        From natural and svi any number of independent draws. mgvi has kept some (the option `samples`): up to that many
        are those; if more are asked for, all are random combinations of them, a little wider since these are few.
        """
        return self.mean + self.spread.draw(count, seed)

    def fields(self, count: int, seed: int = 0) -> Fields:
        """Joint draws of the log-density, to be read at any points."""
        return self.prior.fields(self.draw_latents(count, seed), self.theta)

    def sample(self, grid: RayGrid | None = None, count: int = 100, seed: int = 0) -> tuple[u.Quantity, u.Quantity]:
        """Joint draws of density and extinction on a grid.

        Parameters
        ----------
        grid : RayGrid, optional
            The grid of the fit by default. Foreground and background cells are drawn too.
        count : int
            Number of draws.
        seed : int
            Same seed, same draws, on any grid.

        Returns
        -------
        density : Quantity, shape (count, ray, cell)
            mag/pc.
        extinction : Quantity, shape (count, ray, cell)
            At the outer edges, mag.
        """
        chunks = list(self.sample_chunks(grid or self.grid, count, seed))
        density = torch.cat([density for _, density, _ in chunks], dim=1)
        extinction = torch.cat([extinction for _, _, extinction in chunks], dim=1)
        return as_quantity(density, DENSITY), as_quantity(extinction, MAGNITUDE)

    def sample_chunks(
        self, grid: RayGrid, count: int, seed: int = 0
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Joint draws a few rays at a time: rays, density and extinction, shapes (count, rays, cell).

        All chunks of a draw share one v, so that cells stay correlated across chunks; the draws do not depend on how
        rays are cut into chunks. Extinction counts from the near end of the fit, where it is zero, wherever the grid
        begins.
        """
        fields = self.fields(count, seed)
        whole, in_front = self._from_the_near_end(grid)
        lengths = torch.from_numpy(np.diff(np.maximum(whole.edges, self.grid.edges[0])))
        for rays in ray_chunks(whole, max(count, self.prior.row_width)):
            points = torch.from_numpy(whole.cell_points(rays)).reshape(-1, 3)
            noise = None
            if fields.has_residual:
                noise = residual_noise(range(rays.start, rays.stop), count, whole.n_cells, seed).flatten(1)
            density = fields.density(points, noise).unflatten(-1, (-1, whole.n_cells))
            yield rays, density[..., in_front:], integrate(density, lengths)[..., in_front:]

    def _from_the_near_end(self, grid: RayGrid) -> tuple[RayGrid, int]:
        """A grid with the cells of the fit in front of it, whose dust its extinction holds too, and their number."""
        front = self.grid.edges[self.grid.edges < (1 - ROUNDING) * grid.edges[0]]
        return (grid.with_edges(np.concatenate([front, grid.edges])), len(front)) if len(front) else (grid, 0)

    def percentiles(
        self,
        percentiles: Sequence[float] = (16, 50, 84),
        grid: RayGrid | None = None,
        samples: int = 100,
        seed: int = 0,
        progress: bool = False,
    ) -> PercentileMaps:
        """Percentile maps of density and extinction; see `gpdust.posterior.percentiles`."""
        return percentile_maps(self, percentiles, grid or self.grid, samples, seed, progress)

    def query(self, coordinates: SkyCoord, samples: int = 100, seed: int = 0) -> tuple[Estimate, Estimate]:
        """Density and extinction at given places; see `gpdust.posterior.query`."""
        return query(self, coordinates, samples, seed)

    def covers(self, stars: StarCatalogue) -> np.ndarray:
        """Which stars lie on the grid of the fit, boolean, shape (stars,)."""
        return star_positions(self, stars).inside

    def predict(self, stars: StarCatalogue, samples: int = 100, seed: int = 0) -> Estimate:
        """Extinction of stars at their distances; see `gpdust.posterior.predict`."""
        return predict(self, stars, samples, seed)

    def star_table(self, stars: StarCatalogue, samples: int = 20, seed: int = 0) -> QTable:
        """What the map says of each star: distance, extinction, residual; see `gpdust.posterior.stars`."""
        return star_table(self, stars, samples, seed)

    def mass(self, grid: RayGrid | None = None, **options) -> Estimate:
        """Total mass of gas and dust; see `gpdust.posterior.mass`."""
        return total_mass(self, grid or self.grid, **options)

    def save(self, path: str | PathLike) -> Path:
        """Write the posterior to a folder, atomically and without pickle; see `gpdust.posterior.storage`."""
        return write_posterior(self, path)

    @classmethod
    def load(cls, path: str | PathLike, kernel: gpytorch.kernels.Kernel | None = None) -> Posterior:
        """Read a posterior from a folder; `kernel` is needed for a kernel class that is not GPyTorch's own."""
        return cls(**read_posterior(path, kernel))

    def __repr__(self) -> str:
        return f"Posterior({self.prior}, {self.grid!r}, {self.report})"
