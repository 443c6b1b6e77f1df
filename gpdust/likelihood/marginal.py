"""The likelihood of stars with uncertain distances or robust noise: each star summed out by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from gpdust.errors import CatalogueError, GridError
from gpdust.grid import RayGrid
from gpdust.grid.coarsen import Coarsening
from gpdust.likelihood.differentiable import LogLikelihood
from gpdust.likelihood.information import Blocks
from gpdust.likelihood.likelihood import StarLikelihood
from gpdust.likelihood.measured_stars import MeasuredStars, StarReport
from gpdust.likelihood.nodes import NodeOptions, Nodes
from gpdust.likelihood.noise import GaussianNoise, Noise
from gpdust.likelihood.star_information import information_pass
from gpdust.likelihood.star_pass import StarArrays, log_likelihood_pass, noise_pass
from gpdust.likelihood.star_results import StarResults, star_results
from gpdust.likelihood.statistics import ExtinctionStatistics
from gpdust.los import StarPositions

MOST_PER_CELL = 20  # stars of a coarser grid
CUT = 0.25  # share of a star beyond the far end from which on it counts as cut off there


@dataclass(frozen=True, eq=False)
class MarginalLikelihood(StarLikelihood):
    """log L = Σ_i log ∫ p_i(d) N(A_i − A(d)) dd, of extinctions at cell edges.

    Within a cell (or an equal part of one) a star's extinction scatters about its mean, which adds to the variance of
    the noise. Distances without error are one node of a star, and exact.

    Attributes
    ----------
    distance_edges : ndarray, shape (cells + 1,)
        Of the grid, pc.
    n_rays : int
    stars : MeasuredStars
        Those that are used, sorted by ray.
    ray : ndarray of int, shape (stars,)
        Their rays.
    nodes : Nodes
        Where they may be.
    noise : Noise
    options : NodeOptions
        How the nodes were made.
    report : StarReport
        How many stars were used, and why others were not.
    """

    distance_edges: np.ndarray
    n_rays: int
    stars: MeasuredStars
    ray: np.ndarray
    nodes: Nodes
    noise: Noise
    options: NodeOptions
    report: StarReport

    @classmethod
    def from_stars(
        cls, grid: RayGrid, stars: MeasuredStars, noise: Noise | None = None, options: NodeOptions | None = None
    ) -> MarginalLikelihood:
        """Integrate the distances of stars over the cells of their rays.

        Parameters
        ----------
        grid : RayGrid
            With columns that a star can lie in.
        stars : MeasuredStars
        noise : Noise, optional
            Gaussian by default.
        options : NodeOptions, optional
        """
        return cls._on_rays(grid, stars, grid.locate_rays(stars.l, stars.b), noise, options)

    @classmethod
    def _on_rays(
        cls, grid: RayGrid, stars: MeasuredStars, ray: np.ndarray, noise: Noise | None, options: NodeOptions | None
    ) -> MarginalLikelihood:
        options = (options or NodeOptions()).chosen(grid, stars.distances.best, stars.extinction, stars.lower_error)
        sorted_ray = np.argsort(ray, kind="stable")
        chosen = sorted_ray[np.sum(ray < 0) :]
        nodes = Nodes.from_distances(grid, stars.distances[chosen], stars.l[chosen], stars.b[chosen], options)
        share = 1 - nodes.near - (nodes.far if options.beyond is None else 0)
        usable = (share >= options.least_share) & (np.diff(nodes.start) > 0)
        too_near = int(np.sum(~usable & (nodes.near > nodes.far)))
        too_far = int(np.sum(~usable)) - too_near
        nodes, used = nodes[np.flatnonzero(usable)], chosen[usable]
        within = stars.distances.best[used] <= grid.edges[grid.interior_cells.stop]
        report = StarReport(
            used=len(used),
            outside=len(stars) - len(chosen),
            too_near=too_near,
            too_far=too_far,
            bounds=int(np.sum(nodes.far > 0.5)) if options.beyond is not None else 0,
            cut=int(np.sum(within & (nodes.far > CUT))),
            dropped=float(nodes.dropped.max(initial=0)),
        )
        return cls(grid.edges, grid.n_rays, stars[used], ray[used], nodes, noise or GaussianNoise(), options, report)

    @classmethod
    def total(cls, parts: Iterable[MarginalLikelihood]) -> MarginalLikelihood:
        """Chunks of stars as one.

        Raises
        ------
        CatalogueError
            If there are none, or they differ in grid, noise or options.
        """
        parts = list(parts)
        if not parts:
            raise CatalogueError("there are no chunks of stars to add up")
        first = max(parts, key=len)  # an empty chunk does not know how many parts suit the others
        for part in parts:
            same_grid = part.n_rays == first.n_rays and np.array_equal(part.distance_edges, first.distance_edges)
            if not (same_grid and part.noise == first.noise and (part.options == first.options or not len(part))):
                raise CatalogueError("chunks of stars must share their grid, noise and options to be added up")
        ray = np.concatenate([part.ray for part in parts])
        order = np.argsort(ray, kind="stable")
        return replace(
            first,
            stars=MeasuredStars.concatenate(part.stars for part in parts)[order],
            ray=ray[order],
            nodes=Nodes.concatenate([part.nodes for part in parts])[order],
            report=sum((part.report for part in parts), start=StarReport()),
        )

    def __add__(self, other: MarginalLikelihood) -> MarginalLikelihood:
        return self.total([self, other])

    def __getitem__(self, rays: slice) -> MarginalLikelihood:
        """The stars of some rays, on these rays alone; the report counts only them."""
        chosen = np.arange(self.n_rays)[rays]
        place = np.full(self.n_rays, -1)
        place[chosen] = np.arange(len(chosen))
        ray = place[self.ray]
        order = np.argsort(ray, kind="stable")[np.sum(ray < 0) :]
        stars, nodes, report = self.stars[order], self.nodes[order], StarReport(used=len(order))
        return replace(self, n_rays=len(chosen), stars=stars, ray=ray[order], nodes=nodes, report=report)

    def coarsened(self, grid: RayGrid, coarsening: Coarsening) -> MarginalLikelihood:
        """The same stars on a coarser grid; `grid` is the one that they are on.

        Where cells hold more than MOST_PER_CELL of them, every n-th star is left out: a grid that a fit starts from
        knows less than they do, and each star costs.
        """
        if (grid.n_rays, len(grid.edges)) != (self.n_rays, len(self.distance_edges)):
            raise GridError(f"the stars lie on a grid of {self.shape} cells, not on {grid}")
        everyone = replace(self.options, least_share=0.0)
        cells = coarsening.grid.n_rays * coarsening.grid.n_cells
        some = slice(None, None, max(1, self.n_stars // (MOST_PER_CELL * cells)))
        ray = coarsening.group[self.ray[some]]
        coarse = self._on_rays(coarsening.grid, self.stars[some], ray, self.noise, everyone)
        return replace(coarse, options=self.options, report=replace(self.report, used=coarse.n_stars))

    def with_noise(self, noise: Noise) -> MarginalLikelihood:
        """The same stars with other noise."""
        return replace(self, noise=noise)

    def with_errors_times(self, factor: float) -> MarginalLikelihood:
        """The same stars with their noise stretched: errors, added scatter and the width of bad stars."""
        return replace(self, stars=self.stars.with_errors_times(factor), noise=self.noise.times(factor))

    def compressed(self) -> StarLikelihood:
        """Sums over the stars of each cell, where their distances are exact and their noise is Gaussian.

        Learned scatter keeps the stars apart, for it to move; between its steps a fit need not see them.
        """
        stars, nodes = self.stars, self.nodes
        plain = type(self.noise) is GaussianNoise and np.array_equal(stars.lower_error, stars.upper_error)
        exact = len(nodes.cell) == len(self) and not nodes.variance.any() and np.all(nodes.cell < self.shape[1])
        if not (plain and exact):
            return self
        positions = StarPositions(self.ray, nodes.cell.astype(np.int64), nodes.fraction.astype(float))
        scatter = self.noise.extra**2 + (self.noise.proportional * stars.local_extinction) ** 2
        error = np.sqrt(stars.lower_error**2 + scatter)
        return ExtinctionStatistics.from_stars(self.shape, positions, stars.extinction, error)

    def scattering_as(self, extinction: torch.Tensor) -> MarginalLikelihood:
        """The same stars, predicted: their scatter is a share of the map's extinction, not of what neighbours measured.

        A fit may not do so (see `Noise`), but a prediction should know nothing of the measurements that it is for.

        Parameters
        ----------
        extinction : Tensor, shape (draws, rays, cells)
            At the outer edges of the cells, mag. A star's is the mean over draws and over its distances.
        """
        if not self.noise.proportional or not self.n_stars:
            return self
        nodes, mean = self.nodes, self._draws(extinction).mean(0)
        edges = np.column_stack([np.zeros(len(mean)), mean, mean[:, -1]])
        count = np.diff(nodes.start)
        ray, inner, outer = np.repeat(self.ray, count), nodes.cell, nodes.cell + 1
        seen = edges[ray, inner] + nodes.fraction * (edges[ray, outer] - edges[ray, inner])
        local = np.add.reduceat(nodes.weight * seen, nodes.start[:-1])
        return replace(self, stars=replace(self.stars, local_extinction=local))

    @property
    def shape(self) -> tuple[int, int]:
        """(rays, cells)."""
        return self.n_rays, len(self.distance_edges) - 1

    def __len__(self) -> int:
        return len(self.stars)

    @property
    def n_stars(self) -> int:
        """Number of stars used."""
        return len(self.stars)

    @cached_property
    def counts(self) -> torch.Tensor:
        """Expected number of stars per cell before they see a map, shape (rays, cells)."""
        n_cells = self.shape[1]
        on_grid = self.nodes.cell < n_cells
        cell = np.repeat(self.ray, np.diff(self.nodes.start)) * n_cells + self.nodes.cell
        sums = np.bincount(cell[on_grid], self.nodes.weight[on_grid], minlength=self.n_rays * n_cells)
        return torch.from_numpy(sums.astype(float).reshape(self.shape))

    @cached_property
    def arrays(self) -> StarArrays:
        """The stars and their nodes for compiled passes."""
        nodes, stars = self.nodes, self.stars
        return StarArrays(
            np.searchsorted(self.ray, np.arange(self.n_rays + 1)),
            nodes.start,
            nodes.cell,
            nodes.weight,
            nodes.fraction,
            nodes.variance,
            stars.extinction,
            stars.lower_error**2,
            stars.upper_error**2,
            stars.local_extinction,
            stars.number,
            float(self.options.beyond or 0.0),
        )

    def _draws(self, extinction: torch.Tensor) -> np.ndarray:
        """Extinction as an array, shape (draws, rays, cells)."""
        if extinction.shape[-2:] != self.shape:
            raise GridError(f"extinction of shape {tuple(extinction.shape)} does not end in (rays, cells) {self.shape}")
        return np.ascontiguousarray(extinction.detach().cpu().double().reshape(-1, *self.shape).numpy())

    def log_likelihood(self, extinction: torch.Tensor) -> torch.Tensor:
        """Log-likelihood of all stars, nats; differentiable once.

        Parameters
        ----------
        extinction : Tensor, shape (..., rays, cells)
            At the outer edges of the cells, mag.

        Returns
        -------
        Tensor, shape (...,)
            −∞ where no place is left for a star, as beyond an infinite extinction.
        """
        if torch.is_grad_enabled() and extinction.requires_grad:
            return LogLikelihood.apply(extinction, self.log_likelihood_and_slope)
        value, _ = log_likelihood_pass(self.arrays, self.noise.numbers(), self._draws(extinction), False)
        return torch.from_numpy(value.sum(-1)).to(extinction).reshape(extinction.shape[:-2])

    def log_likelihood_of_each(self, extinction: torch.Tensor) -> np.ndarray:
        """Log-likelihood of every star by itself, nats.

        Parameters
        ----------
        extinction : Tensor, shape (draws, rays, cells)
            At the outer edges of the cells, mag.

        Returns
        -------
        ndarray, shape (draws, stars)
            In the order of `stars`.
        """
        alone = replace(self, n_rays=len(self), ray=np.arange(len(self)))
        of_stars = (draw[None, self.ray] for draw in self._draws(extinction))
        return np.stack([log_likelihood_pass(alone.arrays, self.noise.numbers(), one, False)[0][0] for one in of_stars])

    def log_likelihood_and_slope(self, extinction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-likelihood, shape (...,), and ∂log L / ∂A, mag⁻¹, shape (..., rays, cells)."""
        value, slope = log_likelihood_pass(self.arrays, self.noise.numbers(), self._draws(extinction), True)
        value = torch.from_numpy(value.sum(-1)).to(extinction).reshape(extinction.shape[:-2])
        return value, torch.from_numpy(slope).to(extinction).reshape(extinction.shape)

    def slope(self, extinction: torch.Tensor) -> torch.Tensor:
        """∂log L / ∂A, mag⁻¹, shape (..., rays, cells)."""
        return self.log_likelihood_and_slope(extinction)[1]

    def noise_slope(self, extinction: torch.Tensor) -> torch.Tensor:
        """Derivative of log L by `noise.parameters()`, shape (..., parameters)."""
        found = noise_pass(self.arrays, self.noise.numbers(), self._draws(extinction)).sum(1)
        return torch.from_numpy(self.noise.slope(*found.T)).to(extinction).reshape(*extinction.shape[:-2], -1)

    def information(self, extinction: torch.Tensor, quantiles: int = 1) -> Blocks:
        """Expected Fisher information on the extinctions at outer edges, mag⁻².

        Parameters
        ----------
        extinction : Tensor, shape (rays, cells)
        quantiles : int
            Of each star's distance at which it is simulated.

        Returns
        -------
        Blocks
            Nothing from one ray to another.
        """
        (draw,) = self._draws(extinction)
        found = information_pass(self.arrays, self.noise.numbers(), draw, quantiles)
        return Blocks(torch.from_numpy(found).to(extinction))

    def misfit(self, extinction: torch.Tensor) -> float:
        """Half the range from the 16th to the 84th percentile of the stars' standardised residuals."""
        if not self.n_stars:
            return 0.0
        low, high = np.percentile(self.star_results(extinction[None]).residual, [16, 84])
        return float(high - low) / 2

    def tensors(self) -> dict[str, torch.Tensor]:
        """All numbers that log L depends on."""
        stars, nodes = self.stars, self.nodes
        arrays = {
            "extinction": stars.extinction,
            "lower_error": stars.lower_error,
            "upper_error": stars.upper_error,
            "local_extinction": stars.local_extinction,
            "ray": self.ray,
            "node_start": nodes.start,
            "cell": nodes.cell,
            "weight": nodes.weight,
            "fraction": nodes.fraction,
            "variance": nodes.variance,
            "noise": self.noise.parameters(),
        }
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def star_results(self, extinction: torch.Tensor) -> StarResults:
        """What draws of extinction, shape (draws, rays, cells), say of each star."""
        draws = self._draws(extinction)
        return star_results(self.arrays, self.noise.numbers(), draws, self.distance_edges, self.options.parts)
