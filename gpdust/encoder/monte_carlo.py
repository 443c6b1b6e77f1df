"""Cubes of extinction by Monte Carlo: stars drawn anew within their errors, to see what the errors do to a map."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpdust.catalogue import StarCatalogue
from gpdust.encoder.cube import CubeGrid
from gpdust.encoder.neighbours import ExtinctionCube, positions_in
from gpdust.errors import EncoderError
from gpdust.units import MAGNITUDE, PARSEC, as_array


def monte_carlo(
    stars: StarCatalogue,
    cube: CubeGrid,
    draws: int = 300,
    *,
    rng: np.random.Generator,
    neighbours: int | None = None,
    chunk: int = 50,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cubes of stars whose extinctions, and distances where they have errors, are drawn anew.

    Draws scatter around the measured values. Without errors of distance all draws share their neighbours; with them,
    neighbours are found anew for each.

    Parameters
    ----------
    stars : StarCatalogue
        Those outside the cube count where a draw brings them in.
    cube : CubeGrid
    draws : int
        How many; the paper takes 300.
    rng : Generator
    neighbours : int, optional
        Stars that make a cell; see `ExtinctionCube.of`.
    chunk : int
        Draws at a time.

    Yields
    ------
    extinction, information : ndarray, shape (chunk or fewer, n, n, n)
        As in `ExtinctionCube`; float32.

    Raises
    ------
    EncoderError
        If a draw has no star in the cube.

    Notes
    -----
    "3D dust maps by V-net" (MNRAS), section 4.2, draws extinctions only.
    """
    if draws < 1 or chunk < 1:
        raise EncoderError(f"Monte Carlo takes at least one draw, and one at a time; not {draws} in chunks of {chunk}")
    still = stars.distance_error is None
    if still:
        _, inside = positions_in(stars, cube, as_array(stars.distance, PARSEC, "distance"))
        stars = stars[inside]
        found = ExtinctionCube.of_catalogue(stars, cube, neighbours)
    for start in range(0, draws, chunk):
        count = min(chunk, draws - start)
        if still:
            extinctions = _drawn(*_with_errors(stars, "extinction"), count, rng)
            yield found.redrawn(extinctions), np.repeat(found.information[None], count, axis=0)
        else:
            yield _new_places(stars, cube, count, rng, neighbours)


def _new_places(
    stars: StarCatalogue, cube: CubeGrid, draws: int, rng: np.random.Generator, neighbours: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Each draw with neighbours of its own."""
    sigma = as_array(stars.extinction_error, MAGNITUDE, "extinction_error")
    cubes = []
    for _ in range(draws):
        positions, inside = positions_in(stars, cube, _positive(*_with_errors(stars, "distance"), rng))
        extinction = _drawn(*_with_errors(stars, "extinction"), 1, rng)[0]
        cubes.append(ExtinctionCube.of(positions, extinction[inside], sigma[inside], cube.cells, neighbours))
    return np.stack([x.extinction for x in cubes]), np.stack([x.information for x in cubes])


def _with_errors(stars: StarCatalogue, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column and its errors below and above; the standard error where these are not known."""
    unit = {"extinction": MAGNITUDE, "distance": PARSEC}[name]
    error = getattr(stars, f"{name}_error")
    sides = (getattr(stars, f"{name}_{side}_error") for side in ("lower", "upper"))
    return (
        as_array(getattr(stars, name), unit, name),
        *(as_array(error if side is None else side, unit, name) for side in sides),
    )


def _drawn(value: np.ndarray, lower: np.ndarray, upper: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of two halves of a Gaussian each, which keep the median and the 16th and 84th percentiles."""
    normal = rng.standard_normal((draws, len(value)))
    return value + normal * np.where(normal < 0, lower, upper)


def _positive(value: np.ndarray, lower: np.ndarray, upper: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw of each, drawn again until positive."""
    drawn = _drawn(value, lower, upper, 1, rng)[0]
    while (bad := np.flatnonzero(drawn <= 0)).size:
        drawn[bad] = _drawn(value[bad], lower[bad], upper[bad], 1, rng)[0]
    return drawn
