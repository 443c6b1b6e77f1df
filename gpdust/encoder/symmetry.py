"""The symmetries of a cube that leave the Sun where it is: more cubes to learn from, for nothing."""

from __future__ import annotations

from itertools import product

import numpy as np

from gpdust.errors import EncoderError

#: (swap y and z, flip y, flip z), done in this order.
Symmetry = tuple[bool, bool, bool]

_MIRRORS: tuple[Symmetry, ...] = tuple((False, y, z) for y, z in product((False, True), repeat=2))

#: The symmetries by name, the identity first. The Sun stands before the middle of the face at depth zero, so that they
#: are those of the square face: eight where the medium prefers no plane, but only the mirror images in y and z where z
#: is Galactic Z and dust thins out along it.
SYMMETRIES: dict[str, tuple[Symmetry, ...]] = {
    "none": _MIRRORS[:1],
    "mirror": _MIRRORS,
    "square": (*_MIRRORS, *((True, y, z) for _, y, z in _MIRRORS)),
}


def check_symmetry(name: str) -> None:
    """Raise EncoderError if there are no symmetries of this name."""
    if name not in SYMMETRIES:
        raise EncoderError(f"there is no symmetry {name!r}; there are {', '.join(SYMMETRIES)}")


def transform(cube: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """Apply one symmetry.

    Parameters
    ----------
    cube : ndarray, shape (..., depth, y, z)
        Density, before it is observed: noise and gaps have symmetries of their own.
    symmetry : Symmetry

    Returns
    -------
    ndarray, shape (..., depth, y, z)
        Contiguous.
    """
    swap, flip_y, flip_z = symmetry
    if swap:
        cube = np.swapaxes(cube, -2, -1)
    if flip_y:
        cube = np.flip(cube, -2)
    if flip_z:
        cube = np.flip(cube, -1)
    return np.ascontiguousarray(cube)


def transform_at_random(cube: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """Apply one of the symmetries of a name, each as often as the others.

    Raises
    ------
    EncoderError
        If there are none of this name.
    """
    check_symmetry(name)
    symmetries = SYMMETRIES[name]
    return transform(cube, symmetries[rng.integers(len(symmetries))])
