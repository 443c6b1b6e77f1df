"""What a fit will cost in time and memory: rough formulas for two CPU cores.

mgvi is taken to fit a spectral prior, natural and svi one on inducing points. Every constant stands here, with what it
counts. A fit may take half of the estimate or, where stars are precise and the density wild, several times as much; one
that finds 20 draws too few takes twice as long. Memory is that of as many draws as it may take.
Stars that are kept one by one are passed over for each draw of the map; those that can be are compressed once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpdust.inference.preconditioner import FEWER_CELLS, MOST_CELLS
from gpdust.inference.sample_size import AUTO, FEW, most_samples
from gpdust.likelihood import MarginalLikelihood
from gpdust.model import CHUNK_BYTES, DustModel
from gpdust.prior.inducing import MATRIX_MEMORY

FLOAT_BYTES = 8.0
LIBRARIES_BYTES = 0.8e9  # what Python holds with torch and astropy loaded

# mgvi: products of the precision with a vector, each a field on the box and a sum along the rays.
PRODUCT_SECONDS = 1e-7  # of one product, per cell and per latent
PRODUCTS = 400  # of a fit with given hyperparameters
MGVI_LEARNING = 6.0  # times as long where hyperparameters are learned
CELL_COPIES = 4  # of all draws on the cells, at the widest moment
SUBSPACE = 600  # vectors of cells that the preconditioner holds
LATENT_COPIES = 60  # vectors of latents: 20 draws, directions of the conjugate gradients, the box's modes
DRAW_COPIES = 2.5  # vectors of latents for each draw beyond these

# natural: the precision as a matrix, made anew and factored at each step.
FLOPS = 5e10  # a second, of matrix products
NATURAL_STEPS = 10  # of a fit with given hyperparameters
NATURAL_LEARNING = 6.0  # times as long where hyperparameters are learned
NATURAL_COPIES = 3  # of the prior's matrix
NATURAL_SQUARES = 4  # matrices of points by points

# svi: on 14 000 cells 500 inducing points took 12 s and 1000 took 31 s; 88 s with hyperparameters of the 500 learned.
SVI_SECONDS, SVI_CELLS, SVI_INDUCING, SVI_POWER = 12.0, 14_000, 500, 1.4
SVI_LEARNING = 7.0  # times as long where hyperparameters are learned
SVI_COPIES = 6  # of the prior's matrix, or of a part of it
SVI_SQUARE_BYTES = 100.0  # per pair of inducing points

# Stars, with Gaussian noise; a Student-t or a mixture takes three to six times as long.
COMPRESSED_A_SECOND = 1e6
STAR_SECONDS, NODE_SECONDS = 1.6e-7, 9e-9  # of one draw's log-likelihood and slope: of a star, and of each of its nodes
STAR_BYTES, NODE_BYTES = 200.0, 27.0  # 0.98 GB for 10⁶ stars of 29 nodes, as 10 % distance errors have on 35 cells
# Draws that a fit looks at, with given and learned hyperparameters; the information of the stars counts as five. Where
# they are learned, natural takes 200 draws at a time. svi takes 32 at each step, and 64 for each covariance.
STAR_DRAWS = {"mgvi": (400, 800), "natural": (300, 8000), "svi": (6_000, 25_000)}

# Maps with 100 draws.
MAP_CELL_SECONDS = 1e-5  # per cell
MAP_POINT_SECONDS = 1e-8  # per cell and inducing point: a row of the prior's matrix
MAP_LATENT_SECONDS = 5e-6  # per latent of a box: the draws, and a field of each
MAP_CELL_NUMBERS = 6  # kept of each cell: three percentiles of density and of extinction
MAP_COPIES = 200  # vectors of latents of a box: the draws and their fields


@dataclass(frozen=True)
class Size:
    """How large a problem is.

    Attributes
    ----------
    cells, map_cells : int
        Of the fit and of the maps.
    latents : int
        Of the box (mgvi), or inducing points (natural, svi).
    learned : bool
        Whether the fit finds the hyperparameters.
    stars : int
    nodes : float
        Places on its ray at which each star is looked at, where stars are kept one by one; zero where their errors are
        Gaussian and given and their distances exact, so that they are compressed.
    draws : int
        That mgvi keeps, at most.
    matrix_memory : float, optional
        GB of the matrix of inducing points that may be kept; a box has none.
    """

    cells: int
    map_cells: int
    latents: int
    learned: bool = True
    stars: int = 0
    nodes: float = 0.0
    draws: int = FEW
    matrix_memory: float | None = None

    @property
    def matrix_bytes(self) -> float:
        """Of the prior's matrix, or of the blocks that it is made in again and again where it is too large to keep."""
        whole = FLOAT_BYTES * self.cells * self.latents
        kept = MATRIX_MEMORY if self.matrix_memory is None else self.matrix_memory
        return whole if whole <= 1e9 * kept else min(whole, CHUNK_BYTES)

    @classmethod
    def of(cls, model: DustModel, map_cells: int, samples: int | str = AUTO) -> Size:
        """That of a model, with maps of so many cells, and the option `samples` of its fit."""
        stars, cells = model.likelihood, math.prod(model.grid.shape)
        singly = isinstance(stars, MarginalLikelihood) and len(stars) > 0
        return cls(
            cells=cells,
            map_cells=map_cells,
            latents=model.prior.latent_size,
            learned=bool(model.prior.theta_size),
            stars=model.stars_used.used,
            nodes=max(1.0, len(stars.nodes.cell) / len(stars)) if singly else 0.0,
            draws=most_samples(samples, model.prior.latent_size, cells),
            matrix_memory=getattr(model.prior, "matrix_memory", None),
        )


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes
    ----------
    fit_seconds, map_seconds : float
    memory_bytes : float
        At its peak.
    """

    fit_seconds: float
    map_seconds: float
    memory_bytes: float

    @classmethod
    def of(cls, engine: str, size: Size) -> Cost:
        """Estimate a fit by "natural", "mgvi" or "svi", and maps."""
        seconds, fit_bytes = {"natural": _natural, "mgvi": _mgvi, "svi": _svi}[engine](size)
        star_seconds, star_bytes = _stars(size, STAR_DRAWS[engine][size.learned])
        if engine == "mgvi" and size.matrix_memory is not None:  # on inducing points, too many for a dense precision
            fit_bytes += size.matrix_bytes
        if engine == "mgvi":
            map_latent, map_copies = MAP_LATENT_SECONDS * size.latents, MAP_COPIES * size.latents
        else:
            map_latent, map_copies = MAP_POINT_SECONDS * size.map_cells * size.latents, 0
        map_bytes = FLOAT_BYTES * (MAP_CELL_NUMBERS * size.map_cells + map_copies)
        return cls(
            fit_seconds=seconds + star_seconds,
            map_seconds=MAP_CELL_SECONDS * size.map_cells + map_latent,
            memory_bytes=LIBRARIES_BYTES + star_bytes + max(fit_bytes, map_bytes),
        )

    def __str__(self) -> str:
        gib = self.memory_bytes / 2**30
        return f"about {_duration(self.fit_seconds)} for the fit, {_duration(self.map_seconds)} for maps, {gib:.1f} GiB"


def _mgvi(size: Size) -> tuple[float, float]:
    seconds = PRODUCT_SECONDS * (size.cells + size.latents) * PRODUCTS * (MGVI_LEARNING if size.learned else 1)
    subspace = SUBSPACE * (size.cells if size.cells <= MOST_CELLS else FEWER_CELLS)
    latents = (LATENT_COPIES + DRAW_COPIES * max(0, size.draws - FEW)) * size.latents
    return seconds, FLOAT_BYTES * (size.cells * size.draws * CELL_COPIES + latents + subspace)


def _natural(size: Size) -> tuple[float, float]:
    flop = 2.0 * size.cells * size.latents**2 + 1.0 * size.latents**3
    seconds = NATURAL_STEPS * flop / FLOPS * (NATURAL_LEARNING if size.learned else 1)
    return seconds, NATURAL_COPIES * size.matrix_bytes + NATURAL_SQUARES * FLOAT_BYTES * size.latents**2


def _svi(size: Size) -> tuple[float, float]:
    seconds = SVI_SECONDS * (size.cells / SVI_CELLS) * (size.latents / SVI_INDUCING) ** SVI_POWER
    seconds *= SVI_LEARNING if size.learned else 1
    return seconds, SVI_COPIES * size.matrix_bytes + SVI_SQUARE_BYTES * size.latents**2


def _stars(size: Size, draws: int) -> tuple[float, float]:
    if not size.nodes:
        return size.stars / COMPRESSED_A_SECOND, 0.0
    seconds = draws * (STAR_SECONDS + NODE_SECONDS * size.nodes)
    return size.stars * seconds, size.stars * (STAR_BYTES + NODE_BYTES * size.nodes)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
