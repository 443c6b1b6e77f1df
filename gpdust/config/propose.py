"""Region, grid and prior for a catalogue of which nothing is known yet: starting points, not truths."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np

from gpdust.catalogue import StarCatalogue
from gpdust.config.cost import Cost, Size
from gpdust.errors import ConfigError
from gpdust.grid import RayGrid, Region
from gpdust.inference.sample_size import AUTO, most_samples
from gpdust.likelihood import StarTreatment
from gpdust.prior import SampledVolume, SpectralGP
from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array

TAIL = 1.0  # per cent of the stars left out on either side of the region
ALL_ROUND = 330.0  # deg: so long a stretch of longitude is taken for the whole circle
MOST_INDUCING, LEAST_INDUCING, STARS_PER_INDUCING = 1000, 50, 10  # of the other kind of prior, for its cost
MOST_CELLS, STARS_PER_CELL = 30_000, 2.5  # of the fit
CELLS_PER_LENGTH = 3.0  # the length scale to start from, in cells
KERNEL, AMPLITUDE = "matern32", 0.2
MAP_CELLS_PER_CELL = 3  # along each axis
MOST_MAP_CELLS = 1_000_000
MOST_SINGLE = 1_000_000  # stars that a fit may look at one by one, as learning their scatter takes
COUNTED = 1000  # stars whose nodes are counted for the cost
FALLBACK_DENSITY = 1e-3  # mag/pc


@dataclass(frozen=True)
class Proposal:
    """Sections of a configuration, as plain values.

    Attributes
    ----------
    sections : dict
        Without [catalogue].
    stars : int
        How many stars the region holds.
    costs : dict of str to Cost or str
        By prior and engine, in words; the first is what is proposed. Words where the engine can't fit as proposed.
    """

    sections: dict[str, dict]
    stars: int
    costs: dict[str, Cost | str]

    def estimates(self) -> list[str]:
        """A line for each cost."""
        width = max(map(len, self.costs))
        return [f"{words:{width}}  {cost}" for words, cost in self.costs.items()]


def propose(
    stars: StarCatalogue,
    l: tuple[float, float] | None = None,
    b: tuple[float, float] | None = None,
    distance: tuple[float, float] | None = None,
) -> Proposal:
    """Propose a fit of a catalogue.

    Parameters
    ----------
    stars : StarCatalogue
    l, b : (float, float), optional
        Region, deg; around the stars by default.
    distance : (float, float), optional
        pc.

    Returns
    -------
    Proposal
        A spectral prior, whose cost hardly grows with detail. Cells: one for some stars. Length scale: some cells.
        Mean density: the slope of extinction with distance.

    Raises
    ------
    ConfigError
        If the region holds no star.
    """
    region = _region(stars, l, b, distance)
    inside = stars.select(l=region.l, b=region.b, distance=region.distance)
    if not len(inside):
        raise ConfigError(f"the region holds none of the stars of the catalogue, which is this:\n{stars.summary()}")
    shape, length_scale = _grid(region, len(inside))
    map_shape = _map_shape(shape)
    near = as_array(region.distance, PARSEC, "distance")[0]
    west, east = as_array(region.l, DEGREE, "l").tolist()
    sections = {
        "region": {
            "l": [west, east - 360 if east > 360 > east - west else east],
            "b": as_array(region.b, DEGREE, "b").tolist(),
            "distance": as_array(region.distance, PARSEC, "distance").tolist(),
            "foreground_cells": "auto" if near > 0 else 0,
            **_background(inside, region.distance[1]),
        },
        "grid": {"shape": list(shape)},
        "prior": {
            "kind": "spectral",
            "kernel": KERNEL,
            "length_scale": length_scale,
            "amplitude": AMPLITUDE,
            "mean_density": mean_density(inside),
            "learn": True,
        },
        "likelihood": _likelihood(inside),
        "fit": {"engine": "auto", "seed": 0},
        "maps": {"shape": list(map_shape), "percentiles": [16, 50, 84], "samples": 100},
    }
    foreground = region.foreground_cells_for(shape[2]) if near > 0 else 0
    grid = replace(region, foreground_cells=foreground).grid(shape)
    costs = _costs(inside, sections["likelihood"], grid, map_shape, length_scale)
    return Proposal(sections, len(inside), costs)


def longitudes(l: np.ndarray) -> tuple[float, float]:
    """Return the shortest stretch of longitude (deg) that holds 98 % of the stars; it may cross 0/360."""
    ordered = np.sort(l % 360)
    held = max(1, math.ceil((1 - 2 * TAIL / 100) * ordered.size))
    ends = np.concatenate([ordered, ordered + 360])[held - 1 : held - 1 + ordered.size]
    first = int(np.argmin(ends - ordered))
    west, east = math.floor(ordered[first]), math.ceil(ends[first])
    if east - west > ALL_ROUND:
        return 0.0, 360.0
    if east == west:
        west, east = west - 1, east + 1
    return float(west), float(east if east <= 360 else east - 360)


def mean_density(stars: StarCatalogue) -> float:
    """Slope of the extinction with distance between the nearer and the farther half of the stars, mag/pc."""
    d = as_array(stars.distance, PARSEC, "distance")
    a = as_array(stars.extinction, MAGNITUDE, "extinction")
    far = d > np.median(d)
    slopes = [np.median(a) / np.median(d)]
    if far.any() and (gap := np.median(d[far]) - np.median(d[~far])) > 0:
        slopes.insert(0, (np.median(a[far]) - np.median(a[~far])) / gap)
    return next((float(f"{slope:.2g}") for slope in slopes if slope > 0), FALLBACK_DENSITY)


def _region(stars: StarCatalogue, l: object, b: object, distance: object) -> Region:
    if l is None:
        l = longitudes(as_array(stars.l, DEGREE, "l"))
    if b is None:
        low, high = np.percentile(as_array(stars.b, DEGREE, "b"), [TAIL, 100 - TAIL])
        b = max(-90.0, math.floor(low)), min(90.0, math.ceil(high))
        b = b if b[1] > b[0] else (max(-90.0, b[0] - 1), min(90.0, b[0] + 1))
    if distance is None:
        near, far = np.percentile(as_array(stars.distance, PARSEC, "distance"), [TAIL, 100 - TAIL])
        step = 10.0 ** math.floor(math.log10(far) - 1)
        distance = math.floor(near / step) * step, (math.floor(far / step) + 1) * step
    return Region(u.Quantity(l, DEGREE), u.Quantity(b, DEGREE), u.Quantity(distance, PARSEC))


def _background(stars: StarCatalogue, far: u.Quantity) -> dict[str, float]:
    """Padding behind the far end for stars that may lie in it, as a number that can be looked at."""
    return {} if stars.distance_error is None else {"background": StarTreatment().padding(stars, far).to_value(PARSEC)}


def _likelihood(stars: StarCatalogue) -> dict[str, object]:
    """Learned scatter: stated errors are seldom all there is; distances are summed over where they have errors.

    Part of that scatter is due to cells that are coarser than the dust, and grows with it.
    """
    scatter: float | str = "learn" if len(stars) <= MOST_SINGLE else 0.0
    proposed: dict[str, object] = {"extra_scatter": scatter, "proportional_scatter": scatter}
    if stars.distance_error is not None:
        proposed = {"distance": "marginal", "distance_prior": StarTreatment().distance_prior(stars), **proposed}
    return proposed


def _inducing(n_stars: int) -> int:
    wanted = int(np.clip(n_stars / STARS_PER_INDUCING, LEAST_INDUCING, MOST_INDUCING))
    return round(wanted, -1) if wanted > 100 else wanted


def _grid(region: Region, n_stars: int) -> tuple[tuple[int, int, int], float]:
    """Cells and length scale (pc) for a region."""
    l, b = (np.deg2rad(as_array(angle, DEGREE, "angle")) for angle in (region.l, region.b))
    near, far = as_array(region.distance, PARSEC, "distance")
    volume = (l[1] - l[0]) * (np.sin(b[1]) - np.sin(b[0])) * (far**3 - near**3) / 3
    wanted = min(MOST_CELLS, n_stars / STARS_PER_CELL)
    middle = ((near**3 + far**3) / 2) ** (1 / 3)  # half of the volume is farther
    width = (l[1] - l[0]) * np.cos(np.clip(b.mean(), -1.2, 1.2))
    cells = np.array([width * middle, (b[1] - b[0]) * middle, far - near])
    # Cells across the sight may be longer: stars tell more about where along it the dust is.
    cells[:2] /= math.sqrt(2)
    cells *= (wanted / np.prod(cells)) ** (1 / 3)
    shape = tuple(int(max(4, round(n))) for n in cells)
    return shape, float(f"{CELLS_PER_LENGTH * (volume / math.prod(shape)) ** (1 / 3):.2g}")


def _costs(
    stars: StarCatalogue,
    likelihood: dict[str, object],
    grid: RayGrid,
    map_shape: tuple[int, int, int],
    length_scale: float,
) -> dict[str, Cost | str]:
    """What the proposed prior and those on inducing points would cost on the same cells."""
    proposed = SpectralGP(KERNEL, length_scale * PARSEC).placed(SampledVolume(grid, np.zeros(grid.shape)))
    inducing, learned = _inducing(len(stars)), likelihood["extra_scatter"] == "learn"
    singly = learned or likelihood.get("distance") == "marginal"
    nodes, cells = _nodes(stars, grid) if singly else 0.0, math.prod(grid.shape)

    def cost(engine: str, latents: int) -> Cost:
        draws = most_samples(AUTO, latents, cells)
        return Cost.of(engine, Size(cells, math.prod(map_shape), latents, True, len(stars), nodes, draws))

    points = f'kind = "inducing" with {inducing} points, engine = '
    return {
        'kind = "spectral", engine = "mgvi" (proposed)': cost("mgvi", proposed.latent_size),
        f'{points}"natural"': cost("natural", inducing),
        f'{points}"svi"': "can't learn scatter: set both to numbers" if learned else cost("svi", inducing),
    }


def _nodes(stars: StarCatalogue, grid: RayGrid) -> float:
    """At how many distances a fit looks at each star, about: counted for some of them."""
    some = stars[np.linspace(0, len(stars) - 1, min(COUNTED, len(stars))).astype(int)]
    likelihood = StarTreatment().star_by_star(some, grid)
    return max(1.0, len(likelihood.nodes.cell) / max(1, len(likelihood)))


def _map_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    shrink = min(1.0, (MOST_MAP_CELLS / math.prod(MAP_CELLS_PER_CELL * n for n in shape)) ** (1 / 3))
    return tuple(max(n, int(MAP_CELLS_PER_CELL * n * shrink)) for n in shape)
