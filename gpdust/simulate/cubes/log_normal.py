"""Log-normal dust: ln ρ a Gaussian process, drawn by Fourier transform on a box so large that its edges don't meet.

A box drawn by Fourier transform is periodic: its opposite faces touch. The cube is cut from a box that is longer by
four length scales, over which the kernel falls below 1 %, so that opposite faces of the cube don't know of each other.
The box being a torus, it can also be turned around along z without a seam before the cube is cut from it.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

PADDING = 4.0  # length scales


def log_normal_density(
    rng: np.random.Generator, cells: int, length_scale: float, amplitude: float, centred: bool = True
) -> np.ndarray:
    """Density of dust whose logarithm is a Gaussian process with a Matérn-3/2 kernel and mean zero.

    The published recipe speaks of a Gaussian process and names no kernel. Matérn-3/2 has rough clouds, as dust does,
    and is the kernel that gpdust's maps start from.

    Parameters
    ----------
    rng : numpy.random.Generator
    cells : int
        On a side of the cube; even.
    length_scale : float
        Of the kernel, in cells.
    amplitude : float
        Standard deviation of ln ρ.
    centred : bool
        Bring the densest height to the middle of axis 2. "The value of Z that corresponds to the highest dust density"
        is read as the boundary between the two planes that hold most dust together.

    Returns
    -------
    ndarray of float32, shape (cells, cells, cells)
        In units of the median density.

    References
    ----------
    The V-net paper ("Dust V-net"), section 2.1.
    """
    size = fft.next_fast_len(cells + int(np.ceil(PADDING * length_scale)), real=True)
    density = np.exp(amplitude * _gaussian_process(rng, size, length_scale)[:cells, :cells])
    if centred:
        planes = density.mean((0, 1), dtype=np.float64)
        densest = int(np.argmax(planes + np.roll(planes, 1)))  # the plane above the boundary
        density = np.roll(density, cells // 2 - densest, axis=2)
    return np.ascontiguousarray(density[:, :, :cells])


def _gaussian_process(rng: np.random.Generator, size: int, length_scale: float) -> np.ndarray:
    """One draw of unit variance on a torus of size³ nodes, float32."""
    white = fft.rfftn(rng.standard_normal((size, size, size), dtype=np.float32))
    white *= np.sqrt(_spectrum(size, length_scale)).astype(np.float32)
    return fft.irfftn(white, s=(size, size, size))


def _spectrum(size: int, length_scale: float) -> np.ndarray:
    """Power of each mode of a real transform, whose mean over all size³ modes is one."""
    wave = 2 * np.pi * fft.fftfreq(size)
    half = 2 * np.pi * fft.rfftfreq(size)
    squared = wave[:, None, None] ** 2 + wave[:, None] ** 2 + half**2
    power = (3 / length_scale**2 + squared) ** -3.0  # Matérn-3/2 (Rasmussen & Williams 2006, eq. 4.15), unnormalised
    stands_for = np.full(half.size, 2.0)  # modes: itself and its complex conjugate,
    stands_for[0] = 1
    if size % 2 == 0:
        stands_for[-1] = 1  # but for those that are their own
    return power * (size**3 / (power * stands_for).sum())
