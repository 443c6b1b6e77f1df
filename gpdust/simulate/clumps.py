"""The simulated clumps of Dharmawardena et al. (2022): the benchmark that gpdust measures itself by."""

import astropy.units as u
import numpy as np

from gpdust.grid import Region
from gpdust.grid.coordinates import cartesian
from gpdust.simulate.components import GaussianClump, UniformDensity
from gpdust.simulate.density import SumDensity
from gpdust.simulate.errormodel import ErrorModel
from gpdust.simulate.positions import uniform_positions
from gpdust.simulate.streams import stream
from gpdust.simulate.survey import MockSurvey, mock_survey
from gpdust.simulate.truth import GridTruth
from gpdust.units import DENSITY, PARSEC

CLUMP_REGION = Region(l=(50, 90) * u.deg, b=(-10, 10) * u.deg, distance=(180, 500) * u.pc)
CLUMP_SHAPE = (100, 100, 115)
BACKGROUND = 1.6e-3  # mag/pc
N_CLUMPS = 3
SIGMA_RANGE = (10, 25)  # pc
PEAK_RANGE = (3, 10)  # times the background


def clump_density(seed: int) -> SumDensity:
    """Three Gaussian clumps at random on a uniform background of 1.6e-3 mag/pc.

    The paper leaves the sizes and peaks of its clumps open. Our choice: centres uniform in the volume, standard
    deviations uniform in 10–25 pc, and peaks uniform in 3–10 times the background.

    Parameters
    ----------
    seed : int
        The same seed gives the same clumps.

    Returns
    -------
    SumDensity
        The background, then the clumps.

    References
    ----------
    Dharmawardena et al. (2022), A&A 658, A166, section 3.
    """
    generator = stream(seed, "density")
    l, b, distance = uniform_positions(CLUMP_REGION, N_CLUMPS, generator)
    centres = cartesian(np.deg2rad(l), np.deg2rad(b), distance)
    sigmas = generator.uniform(*SIGMA_RANGE, N_CLUMPS)
    peaks = BACKGROUND * generator.uniform(*PEAK_RANGE, N_CLUMPS)
    clumps = [
        GaussianClump(centre * PARSEC, sigma * PARSEC, peak * DENSITY)
        for centre, sigma, peak in zip(centres, sigmas, peaks, strict=True)
    ]
    return SumDensity(UniformDensity(BACKGROUND * DENSITY), *clumps)


def simulated_clumps(seed: int, n_stars: int = 120_000, noise: float = 0.1) -> MockSurvey:
    """Observe `clump_density` as the paper does.

    The truth has 100 × 100 × 115 cells, uniform in l, b and d, in l = 50…90°, b = −10…10°, d = 180–500 pc, and there
    is no dust in front of it. Stars are uniform in space, with exact distances.

    Parameters
    ----------
    seed : int
        Decides clumps, stars and noise, each on its own: the clumps do not change with `n_stars` or `noise`.
    n_stars : int
        Number of stars.
    noise : float
        Standard error of an extinction over its true value.

    Returns
    -------
    MockSurvey

    References
    ----------
    Dharmawardena et al. (2022), A&A 658, A166, section 3.
    """
    truth = GridTruth.sample(clump_density(seed), CLUMP_REGION.grid(CLUMP_SHAPE, b_spacing="uniform"))
    reference = f"simulated clumps after Dharmawardena et al. 2022, seed {seed}"
    return mock_survey(truth, CLUMP_REGION, n_stars, seed, errors=ErrorModel(noise), reference=reference)
