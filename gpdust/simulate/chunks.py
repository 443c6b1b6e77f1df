"""Mock surveys too large for memory: the same stars-in-dust, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpdust.catalogue import StarCatalogue
from gpdust.errors import ConfigError
from gpdust.grid import Region
from gpdust.simulate.survey import mock_survey
from gpdust.simulate.truth import GridTruth

CHUNK_STARS = 250_000


def mock_catalogues(
    truth: GridTruth, region: Region, n_stars: int, seed: int, *, chunk: int = CHUNK_STARS, **options
) -> Iterator[StarCatalogue]:
    """Observe stars in a true density, chunk by chunk; a `DustModel` reads the chunks as they come.

    Parameters
    ----------
    truth : GridTruth
        The dust.
    region : Region
        Where the stars are.
    n_stars : int
        Of all chunks together.
    seed : int
        Decides everything. Each chunk has random numbers of its own, and other ones than `mock_survey` of this seed.
    chunk : int
        Stars in a chunk; the last may have fewer.
    **options
        As for `mock_survey`.

    Yields
    ------
    StarCatalogue

    Raises
    ------
    ConfigError
        If a number is not positive.
    """
    if n_stars < 1 or chunk < 1:
        raise ConfigError(f"there must be at least one star, and one in a chunk, not {n_stars} and {chunk}")
    chunks = -(-n_stars // chunk)
    seeds = np.random.SeedSequence([seed, chunk]).generate_state(chunks, np.uint64)
    for number, own_seed in enumerate(seeds.tolist()):
        count = min(chunk, n_stars - number * chunk)
        yield mock_survey(truth, region, count, own_seed, **options).catalogue
