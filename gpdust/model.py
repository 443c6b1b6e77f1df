"""Prior + grid + likelihood: the joint density of stars and dust, for Pyro and for gpdust's own engines."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator

import astropy.units as u
import pyro
import pyro.distributions as dist
import torch
from torch.utils.checkpoint import checkpoint

from gpdust.catalogue import StarCatalogue
from gpdust.errors import CatalogueError, ConfigError
from gpdust.grid import RayGrid
from gpdust.grid.coarsen import coarsen
from gpdust.likelihood import (
    ExtinctionStatistics,
    MarginalLikelihood,
    Noise,
    StarLikelihood,
    StarReport,
    StarTreatment,
)
from gpdust.likelihood.foreground import NearestStars
from gpdust.los import integrate
from gpdust.prior import InducingGP, LinearMap, SampledVolume, SpectralGP
from gpdust.prior.foreground import ForegroundStep
from gpdust.prior.interpolation import Interpolation
from gpdust.units import DEGREE, DENSITY, MAGNITUDE, PARSEC, as_array, as_float

LN10 = math.log(10.0)
CHUNK_BYTES = 256e6  # of one block of the prior's matrix; autograd holds several times as much
MIN_WIDTH = 128  # columns


class DustModel:
    """The posterior density of log-dust-density, up to normalisation.

    Parameters
    ----------
    stars : StarCatalogue or iterable of StarCatalogue
        The data. An iterable of chunks (see `StarCatalogue.read_chunks`) is read once, a piece at a time.
    grid : RayGrid
        Where the density is integrated.
    prior : InducingGP or SpectralGP
        Its inducing points are placed over the volume that the stars sample, or its box around the grid.
    seed : int
        For the placement.
    treatment : StarTreatment, optional
        What to do with uncertain distances, outliers and underestimated errors.
    foreground_density : Quantity, optional
        Mean density of the dust in front of the region, for a grid with foreground cells. By default that which the
        stars nearest to the region ask for.

    Attributes
    ----------
    likelihood : StarLikelihood
        The stars; where their distances are exact, compressed: no step of a fit depends on how many they were.
    stars_used : StarReport
        How many are used, and why others are not.
    free_noise : FreeNoise
        What a fit learns of the stars' noise.
    notes : list of str
        What else a user should know of how the data are used.

    Raises
    ------
    CatalogueError
        If some chunks have distances and others parallaxes, and the treatment does not say what all have.
    """

    def __init__(
        self,
        stars: StarCatalogue | Iterable[StarCatalogue],
        grid: RayGrid,
        prior: InducingGP | SpectralGP,
        seed: int = 0,
        treatment: StarTreatment | None = None,
        foreground_density: u.Quantity | None = None,
    ) -> None:
        self.grid = grid
        self.treatment = treatment or StarTreatment()
        self.free_noise = self.treatment.free_noise
        self.meta: dict[str, str] = {}
        self._star_notes: list[str] = []
        self._nearest = NearestStars(grid.edges[grid.interior_cells.start])
        self._read([stars] if isinstance(stars, StarCatalogue) else stars)
        if self.stars_used.cut:
            self._star_notes.append(
                f"{self.stars_used.cut} stars of the region have over a quarter of their probability beyond its far "
                "end, where no cells are: the last ones take up the dust behind them. Give the region background"
            )
        self._cell_lengths = torch.from_numpy(grid.cell_lengths)
        self._place(prior, seed, foreground_density)

    def _read(self, chunks: Iterable[StarCatalogue]) -> None:
        parts, seen, asked = [], 0, self.treatment.measured
        self.stars_used = StarReport()
        for chunk in chunks:
            if not seen:
                self.treatment = self.treatment.for_stars(chunk, self.grid)
            if asked is None and len(chunk) and chunk.measured != self.treatment.measured:
                raise CatalogueError(
                    "some stars have distances and others parallaxes, whose errors are of two kinds: fit one of them, "
                    "or say what all have with StarTreatment(measured=...)"
                )
            likelihood, report = self.treatment.likelihood(chunk, self.grid, seen)
            parts.append(likelihood)
            self.stars_used += report
            on_sky = self.grid.locate_rays(as_array(chunk.l, DEGREE, "l"), as_array(chunk.b, DEGREE, "b")) >= 0
            columns = as_array(chunk.distance, PARSEC, "distance"), as_array(chunk.extinction, MAGNITUDE, "extinction")
            self._nearest.add(*(column[on_sky] for column in columns))
            self._star_notes = self._star_notes or self.treatment.notes(chunk)
            self.meta = {"band": chunk.band, "quantity": chunk.quantity, "reference": chunk.reference}
            seen += len(chunk)
        if parts and isinstance(parts[0], MarginalLikelihood):
            self.likelihood: StarLikelihood = MarginalLikelihood.total(parts)
        else:
            self.likelihood = ExtinctionStatistics.total(self.grid.shape, parts)

    def _place(self, prior: InducingGP | SpectralGP, seed: int, foreground_density: u.Quantity | None) -> None:
        """Give a prior its place among the stars, and say what a user should know of that."""
        self.notes = list(self._star_notes)
        volume = SampledVolume(self.grid, self.likelihood.counts.numpy())
        self.prior = self._with_foreground(prior, foreground_density).placed(volume, seed)
        self.notes += self.prior.notes()
        self._interpolations: dict[int, Interpolation] = {}

    def _with_foreground(self, prior: InducingGP | SpectralGP, given: u.Quantity | None) -> InducingGP | SpectralGP:
        """The prior with a mean of its own in front of the region, where the grid has cells there."""
        if not self.grid.interior_cells.start or prior.foreground is not None:
            if given is not None:
                why = (
                    "the prior has one already" if prior.foreground else "the grid has no cells in front of the region"
                )
                self.notes.append(f"foreground_density is not used: {why}")
            return prior
        nearest, mean = self._nearest, 10 ** float(prior.hyperparameters.physical(None)[-1])
        density = nearest.foreground_density(mean) if given is None else as_float(given, DENSITY, "foreground_density")
        if not density > 0:
            raise ConfigError(f"foreground_density must be positive, got {given}")
        found = "from the nearest stars" if given is None else "as given"
        self.notes.append(
            f"foreground: {density:.2g} mag/pc on average ({found}), {density * nearest.near:.2g} mag up to the region"
        )
        return prior.with_foreground(ForegroundStep(nearest.near, math.log10(density / mean)))

    def with_prior(
        self, prior: InducingGP | SpectralGP, seed: int = 0, foreground_density: u.Quantity | None = None
    ) -> DustModel:
        """The same stars, which are not read again, with another prior; see `DustModel`."""
        model = copy.copy(self)
        model._place(prior, seed, foreground_density)
        return model

    def with_noise(self, noise: Noise) -> DustModel:
        """The same with other noise of the stars."""
        model = copy.copy(self)
        model.likelihood = self.likelihood.with_noise(noise)
        return model

    # Chunks of rays: the likelihood is a sum over rays, so that memory need not grow with the grid.

    @property
    def ray_chunks(self) -> list[slice]:
        """Runs of rays whose block of the prior's matrix stays small."""
        if isinstance(self.prior, SpectralGP):
            return [slice(0, self.grid.n_rays)]  # no matrix: a field on the box serves all cells at once
        # Beside the prior's matrix stand particles × cells, and cells × cells of each ray in the metric.
        width = max(self.prior.latent_size, self.grid.n_cells, MIN_WIDTH)
        ray_bytes = self.grid.n_cells * width * 8
        step = max(1, int(CHUNK_BYTES // ray_bytes))
        return [slice(start, min(start + step, self.grid.n_rays)) for start in range(0, self.grid.n_rays, step)]

    def points(self, rays: slice) -> torch.Tensor | Interpolation:
        """Cell centres of some rays, pc, shape (rays · cells, 3), in the form that the prior works with."""
        if not isinstance(self.prior, SpectralGP):
            return torch.from_numpy(self.grid.cell_points(rays)).reshape(-1, 3)
        if rays.start not in self._interpolations:
            centres = torch.from_numpy(self.grid.cell_points(rays)).reshape(-1, 3)
            self._interpolations[rays.start] = self.prior.interpolation(centres)
        return self._interpolations[rays.start]

    def coarsened(self, cells: int) -> DustModel:
        """The same data and prior on about so many cells, with nodes of the box as far apart as these are large."""
        coarsening = coarsen(self.grid, cells)
        coarse = copy.copy(self)
        coarse.grid = coarsening.grid
        coarse.likelihood = self.likelihood.coarsened(self.grid, coarsening)
        coarse._cell_lengths = torch.from_numpy(coarse.grid.cell_lengths)
        coarse._interpolations = {}
        if isinstance(self.prior, SpectralGP):
            wider = max(1.0, coarse.grid.typical_cell / max(self.prior.box.spacing))
            coarse.prior = self.prior.with_box(self.prior.box.coarser(wider))
        return coarse

    def with_errors_times(self, factor: float) -> DustModel:
        """The same, with all errors of the stars so many times as large."""
        model = copy.copy(self)
        model.likelihood = self.likelihood.with_errors_times(factor)
        return model

    def basis(self, prior: InducingGP, theta: torch.Tensor | None) -> list[LinearMap] | None:
        """The prior on all cells, chunk by chunk, without gradient; None where it is not to be kept in memory."""
        if isinstance(prior, InducingGP):
            numbers = self.grid.n_rays * self.grid.n_cells * prior.latent_size
            if 8e-9 * numbers > prior.matrix_memory:
                return None
        with torch.no_grad():
            return [linear_map for _, linear_map in self.maps(prior, theta)]

    def maps(
        self, prior: InducingGP, theta: torch.Tensor | None, basis: list[LinearMap] | None = None
    ) -> Iterator[tuple[slice, LinearMap]]:
        """Rays and the prior on them, chunk by chunk, from a basis or made afresh."""
        for index, rays in enumerate(self.ray_chunks):
            yield rays, basis[index] if basis is not None else prior.at(self.points(rays), theta)

    def mean_log_density(self, latent: torch.Tensor, linear_map: LinearMap) -> torch.Tensor:
        """log10 of the density given v, averaged over the residual of the prior, shape (..., cells).

        The mean of 10^(φ + s ε) is 10^(φ + ½ ln 10 s²). The residual is independent from cell to cell, so that along a
        ray its mean counts and its scatter averages out.
        """
        return linear_map.log_density(latent) + 0.5 * LN10 * linear_map.residual_variance

    def density(self, latent: torch.Tensor, linear_map: LinearMap) -> torch.Tensor:
        """Density given v, averaged over the residual of the prior, mag/pc, shape (..., ray, cell)."""
        return torch.exp(LN10 * self.mean_log_density(latent, linear_map)).unflatten(-1, (-1, self.grid.n_cells))

    def log_likelihood(
        self,
        latent: torch.Tensor,
        theta: torch.Tensor | None = None,
        basis: list[LinearMap] | None = None,
        prior: InducingGP | None = None,
    ) -> torch.Tensor:
        """Log-likelihood of all stars.

        Parameters
        ----------
        latent : Tensor, shape (..., latent)
            v.
        theta : Tensor, shape (theta_size,), optional
            Standardised hyperparameters; not used where `basis` is given.
        basis : list of LinearMap, optional
            What `basis` returned, to save making the prior's matrix again.
        prior : InducingGP, optional
            In place of the model's own: with inducing points elsewhere.

        Returns
        -------
        Tensor, shape (...,)
        """
        prior = prior or self.prior
        chunks = self.ray_chunks

        def of_chunk(latent: torch.Tensor, rays: slice, make_map: Callable[[], LinearMap]) -> torch.Tensor:
            extinction = integrate(self.density(latent, make_map()), self._cell_lengths)
            return self.likelihood[rays].log_likelihood(extinction)

        total = torch.zeros(latent.shape[:-1], dtype=latent.dtype) - self.likelihood.constant
        for index, rays in enumerate(chunks):
            if basis is not None:
                part = of_chunk(latent, rays, lambda index=index: basis[index])
            elif len(chunks) == 1 or not torch.is_grad_enabled():
                part = of_chunk(latent, rays, lambda rays=rays: prior.at(self.points(rays), theta))
            else:  # made again on the way back, so that no more than one block is ever held
                part = checkpoint(
                    lambda latent, theta, points, rays=rays: of_chunk(
                        latent, rays, lambda: prior.with_points(points).at(self.points(rays), theta)
                    ),
                    latent,
                    theta,
                    prior.points,
                    use_reentrant=False,
                )
            total = total + part
        return total

    def pyro_model(
        self,
        particles: int,
        tempering: float = 1.0,
        basis: list[LinearMap] | None = None,
        prior: InducingGP | None = None,
    ) -> None:
        """The generative model for Pyro: θ, one whitened latent site v, and the likelihood of all stars.

        Parameters
        ----------
        particles : int
            Joint draws of v in one go; each has weight 1 / particles.
        tempering : float
            Power of the likelihood.
        basis, prior
            As for `log_likelihood`.
        """
        theta = None
        if self.prior.theta_size:
            standard = torch.zeros(self.prior.theta_size, dtype=torch.float64)
            theta = pyro.sample("hyperparameters", dist.Normal(standard, 1.0).to_event(1))
        with pyro.plate("particles", particles), pyro.poutine.scale(scale=1 / particles):
            standard = torch.zeros(self.prior.latent_size, dtype=torch.float64)
            latent = pyro.sample("latent", dist.Normal(standard, 1.0).to_event(1))
            pyro.factor("stars", tempering * self.log_likelihood(latent, theta, basis, prior))
