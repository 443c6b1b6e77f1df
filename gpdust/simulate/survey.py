"""Mock surveys: stars drawn in a true density, measured with errors."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from gpdust.catalogue import StarCatalogue
from gpdust.errors import ConfigError
from gpdust.grid import Region
from gpdust.simulate.density import TrueDensity
from gpdust.simulate.errormodel import ErrorModel
from gpdust.simulate.positions import distance_limits, uniform_positions
from gpdust.simulate.streams import stream
from gpdust.simulate.truth import GridTruth
from gpdust.simulate.visibility import MagnitudeLimit
from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array, as_float, as_quantity

TRUTH_SHAPE = (100, 100, 115)  # cells of the paper's simulation
SMALLEST_BATCH = 10_000
SMALLEST_FRACTION = 1e-3  # of the stars drawn that must be seen, or drawing would take for ever


@dataclass(frozen=True, eq=False)
class MockSurvey:
    """A catalogue of simulated stars, and what is true of them.

    Attributes
    ----------
    catalogue : StarCatalogue
        What the survey measured.
    true_distance, true_extinction : Quantity, shape (stars,)
        pc and mag, in the order of the catalogue.
    truth : GridTruth
        The density that the stars were seen through.
    """

    catalogue: StarCatalogue
    true_distance: u.Quantity
    true_extinction: u.Quantity
    truth: GridTruth


def mock_survey(
    truth: GridTruth | TrueDensity,
    region: Region,
    n_stars: int,
    seed: int,
    *,
    errors: ErrorModel | None = None,
    scale_height: u.Quantity | None = None,
    limit: MagnitudeLimit | None = None,
    shape: tuple[int, int, int] = TRUTH_SHAPE,
    band: str = "",
    quantity: str = "A",
    reference: str = "mock survey",
) -> MockSurvey:
    """Observe stars in a true density.

    Parameters
    ----------
    truth : GridTruth or TrueDensity
        The dust. A `TrueDensity` is sampled on `region.grid(shape)`.
    region : Region
        Where the stars are, its padding behind the far end included. Where the region has no foreground cells, there
        is no dust in front of it.
    n_stars : int
        Stars in the catalogue, all of them usable.
    seed : int
        Decides everything. Larger surveys of one seed begin with the stars of smaller ones.
    errors : ErrorModel, optional
        10 % of the true extinction and exact distances by default. The reported errors are those that the
        measurements were drawn with. Measured distances may lie outside the region.
    scale_height : Quantity, optional
        Makes the number density of stars fall as exp(−|z| / scale_height); uniform in space by default.
    limit : MagnitudeLimit, optional
        Leaves out stars that are too faint; all are seen by default.
    shape : (n_l, n_b, n_distance)
        Cells of the truth, where a `TrueDensity` is given.
    band, quantity, reference : str
        Words for the catalogue.

    Returns
    -------
    MockSurvey

    Raises
    ------
    ConfigError
        If `n_stars` is not positive, or hardly any star can be seen.
    GridError
        If the region sticks out of the grid of the truth.
    """
    if n_stars < 1:
        raise ConfigError(f"a mock survey needs at least one star, not {n_stars}")
    if isinstance(truth, TrueDensity):
        truth = GridTruth.sample(truth, region.grid(shape))
    errors = errors or ErrorModel()
    l, b, distance, extinction = _draw_stars(truth, region, n_stars, seed, scale_height, limit)
    sigma = errors.extinction_error(extinction)
    measured = errors.measure_distance(distance, stream(seed, "distances"))
    catalogue = StarCatalogue(
        l=l * DEGREE,
        b=b * DEGREE,
        distance=measured * PARSEC,
        distance_error=errors.distance_fraction * distance * PARSEC if errors.distance_fraction else None,
        extinction=(extinction + sigma * stream(seed, "extinctions").standard_normal(n_stars)) * MAGNITUDE,
        extinction_error=sigma * MAGNITUDE,
        band=band,
        quantity=quantity,
        reference=reference,
        strict=True,  # a star left out would part the catalogue from its truth
    )
    return MockSurvey(catalogue, as_quantity(distance, PARSEC), as_quantity(extinction, MAGNITUDE), truth)


def _draw_stars(
    truth: GridTruth,
    region: Region,
    n: int,
    seed: int,
    scale_height: u.Quantity | None,
    limit: MagnitudeLimit | None,
) -> np.ndarray:
    """Draw stars uniform in space and keep each with its probability, until there are n.

    Returns l, b (deg), distance (pc) and extinction (mag), shape (4, n).
    """
    positions, selection = stream(seed, "positions"), stream(seed, "selection")
    batches, drawn, kept = [], 0, 0
    while kept < n:
        l, b, distance = uniform_positions(region, max(n, SMALLEST_BATCH), positions)
        stars = SkyCoord(l=l * DEGREE, b=b * DEGREE, distance=distance * PARSEC, frame="galactic")
        extinction = as_array(truth.extinction_at(stars), MAGNITUDE, "extinction")
        probability = np.ones(l.size)
        if scale_height is not None:
            probability *= _disc(region, b, distance, as_float(scale_height, PARSEC, "scale_height"))
        if limit is not None:
            probability *= limit.probability(distance, extinction)
        chosen = selection.random(l.size) < probability
        batches.append(np.stack([l, b, distance, extinction])[:, chosen])
        drawn, kept = drawn + l.size, kept + np.count_nonzero(chosen)
        if kept < SMALLEST_FRACTION * drawn:
            raise ConfigError(f"only {kept} of {drawn} stars can be seen; raise the magnitude limit or scale_height")
    return np.concatenate(batches, axis=1)[:, :n]


def _disc(region: Region, b: np.ndarray, distance: np.ndarray, scale_height: float) -> np.ndarray:
    """Number density of an exponential disc, relative to the densest place in the region."""
    if not scale_height > 0:
        raise ConfigError(f"scale_height must be positive, not {scale_height} pc")
    b_limits = np.deg2rad(as_array(region.b, DEGREE, "b"))
    lowest = 0.0 if np.prod(b_limits) <= 0 else distance_limits(region)[0] * np.sin(np.abs(b_limits).min())
    height = np.abs(distance * np.sin(np.deg2rad(b)))
    return np.exp(-(height - lowest) / scale_height)
