"""The cases of the benchmark suite: a truth, stars, a grid, and what a fit knows of the prior when it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np

import gpdust
from gpdust.prior import SampledVolume, SpectralGP
from gpdust.prior.kernels import build_kernel
from gpdust.scores import STRUCTURE
from gpdust.simulate import (
    GridTruth,
    clump_density,
    mock_catalogues,
    mock_survey,
    prior_truth,
    sheet_density,
    wide_range_density,
)
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION

DENSITY = u.mag / u.pc
HELD_OUT_SEED = 1_000_000  # added to a seed: stars that no fit sees
FINE = 3 * u.pc  # between nodes of a truth whose prior is to be learned: the kernel itself, whatever box the fit has
PRIORS = ("spectral", "inducing")
Prior = gpdust.InducingGP | SpectralGP


@dataclass(frozen=True)
class PriorSettings:
    """A prior in words: kernels of a sum with their length scales (pc) and amplitudes (dex), and the mean (mag/pc)."""

    length_scale: tuple[float, ...] = (30.0,)
    amplitude: tuple[float, ...] = (0.2,)
    kernel: str = "matern32"
    mean_density: float = BACKGROUND

    def build(self, kind: str, learn: bool, inducing: int, box_spacing: u.Quantity | None = None) -> Prior:
        """The prior, spectral or on inducing points."""
        mean, kernels = self.mean_density * DENSITY, [self.kernel] * len(self.amplitude)
        if kind == "spectral":
            return SpectralGP(kernels, self.length_scale * u.pc, self.amplitude, mean, learn, box_spacing)
        parts = [
            build_kernel(self.kernel, [scale] * 3, amplitude)
            for scale, amplitude in zip(self.length_scale, self.amplitude, strict=True)
        ]
        return gpdust.InducingGP(sum(parts[1:], start=parts[0]), inducing, mean_density=mean, learn=learn)


@dataclass(frozen=True)
class Case:
    """One line of the suite.

    Attributes
    ----------
    title : str
        What the tables call it.
    density : callable, optional
        Seed → true density. Without one the truth is drawn from `drawn_from`, on the cells of the fit.
    drawn_from : PriorSettings, optional
    start : PriorSettings, optional
        Where a fit that learns its hyperparameters starts; without it they are given: those of `drawn_from`.
    stars, held_out : int
        How many are fitted, and how many are not. All have 10 % errors and exact distances.
    shape, truth_shape : (n_l, n_b, n_distance)
        Cells of the fit; cells of the truth, on which maps are scored.
    structure : float
        True density from which a cell counts as dense structure, mag/pc.
    noise : gpdust.GaussianNoise, optional
        Where the scatter starts that is learned on top of the stars' errors; without it these are right.
    chunk : int, optional
        Makes and reads so many stars at a time, for those that do not fit into memory.
    draws : int
        Joint draws that are scored.
    """

    title: str
    density: Callable[[int], gpdust.simulate.TrueDensity] | None = None
    drawn_from: PriorSettings | None = None
    start: PriorSettings | None = PriorSettings()
    stars: int = 120_000
    held_out: int = 5_000
    shape: tuple[int, int, int] = (20, 20, 35)
    truth_shape: tuple[int, int, int] = (100, 100, 115)
    structure: float = STRUCTURE.value
    noise: gpdust.GaussianNoise | None = None
    chunk: int | None = None
    draws: int = 100

    def quick(self) -> Case:
        """The same, so small that it says nothing but that it runs."""
        size = {"held_out": 200, "shape": (5, 5, 7), "truth_shape": (10, 10, 14), "draws": 50}
        chunk = 1_000 if self.chunk else None
        return replace(self, stars=min(self.stars, 2_000) // (1 if self.stars > 2_000 else 5), chunk=chunk, **size)

    @property
    def treatment(self) -> gpdust.StarTreatment | None:
        """What a fit makes of the stars' errors, if it does not just believe them."""
        return gpdust.StarTreatment(noise=self.noise, learn=self.noise.names) if self.noise else None

    @property
    def given(self) -> bool:
        """Whether the truth is drawn from the very prior of the fit, whose hyperparameters are given."""
        return self.start is None

    def problem(self, seed: int, kind: str, inducing: int) -> Problem:
        """Truth, stars, grid and prior for one seed."""
        grid = CLUMP_REGION.grid(self.shape)
        settings = self.drawn_from if self.given else self.start
        prior = settings.build(kind, not self.given, inducing)
        if self.density is not None:
            truth_grid = CLUMP_REGION.grid(self.truth_shape, b_spacing="uniform")
            truth = GridTruth.sample(self.density(seed), truth_grid)
        else:
            source = prior if self.given else self.drawn_from.build("spectral", False, inducing, FINE)
            source = source.placed(SampledVolume(grid, np.zeros(grid.shape, dtype=np.int64)), seed)
            truth = prior_truth(source, grid, seed)
            prior = source if self.given else prior
        held_out = mock_survey(truth, CLUMP_REGION, self.held_out, seed + HELD_OUT_SEED).catalogue
        return Problem(truth, self._catalogues(truth, seed), held_out, grid, prior)

    def _catalogues(self, truth: GridTruth, seed: int) -> Iterator[gpdust.StarCatalogue]:
        if self.chunk:
            yield from mock_catalogues(truth, CLUMP_REGION, self.stars, seed, chunk=self.chunk)
        else:
            yield mock_survey(truth, CLUMP_REGION, self.stars, seed).catalogue


@dataclass(frozen=True)
class Problem:
    """What a fit is given, and what it is scored against; `catalogues` are made as they are read."""

    truth: GridTruth
    catalogues: Iterator[gpdust.StarCatalogue]
    held_out: gpdust.StarCatalogue
    grid: gpdust.SphericalGrid
    prior: Prior


MATERN = PriorSettings((30.0,), (0.3,))
TWO_SCALES = PriorSettings((80.0, 15.0), (0.25, 0.2))
OFF = PriorSettings((20.0,), (0.2,), mean_density=1e-3)  # where a fit starts that is to find MATERN
OFF_TWO = PriorSettings((60.0, 20.0), (0.2, 0.2), mean_density=1e-3)

RANGE = Case(
    "densities over 4 dex",
    wide_range_density,
    start=PriorSettings((30.0,), (0.8,), mean_density=1e-4),
    shape=(24, 24, 42),
    structure=1e-3,
)

CASES = {
    "clumps": Case("simulated clumps", clump_density),
    "matern-given": Case("Matérn truth, its prior given", drawn_from=MATERN, start=None),
    "matern": Case("Matérn truth, prior learned", drawn_from=MATERN, start=OFF),
    "two-scale-given": Case("two-scale truth, its prior given", drawn_from=TWO_SCALES, start=None),
    "two-scale": Case("two-scale truth, prior learned", drawn_from=TWO_SCALES, start=OFF_TWO),
    "sheets": Case(
        "thin sheets and filaments", sheet_density, start=PriorSettings((20.0,), (0.3,)), shape=(28, 28, 56)
    ),
    "range": RANGE,
    "range-scatter": replace(
        RANGE, title="the same, scatter learned", noise=gpdust.GaussianNoise(extra=0.01, proportional=0.05)
    ),
    "sparse": Case("sparse stars, clumps", clump_density, stars=2_000),
    "dense": Case("dense stars, clumps", clump_density, stars=10_000_000, chunk=250_000, shape=(32, 32, 56)),
}
