"""Lévy flights: particles on random walks with a power law of jumps, counted in the cells of a cube.

A walker jumps in a random direction by a length r of a Pareto law,

    P(r > s) = (s / smallest)^−exponent   for s ≥ smallest,

and leaves a particle wherever it lands. Jumps of an exponent below two add up to a Lévy-stable walk, whose particles
lie on a fractal of dimension `exponent`: clumps, strung together to filaments, with voids between them. Lengths are
fractions of the side of the cube, so a cube of more cells shows the same dust of a seed in more detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

# splitmix64 (Steele, Lea & Flood 2014, OOPSLA): a state that counts on, and a hash of it as the random number
STEP, FIRST_MIX, SECOND_MIX = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
B22, B27, B30, B31, B32, B40 = (np.uint64(bits) for bits in (22, 27, 30, 31, 32, 40))
LOW_HALF, LOW_22_BITS, ONE_BIT = np.uint64(0xFFFFFFFF), np.uint64(0x3FFFFF), np.uint64(1)
LOW_13_BITS, ONE = 0x1FFF, np.float32(1)
PER_INT32, PER_24_BITS, PER_22_BITS, PER_13_BITS = (np.float32(2.0**-bits) for bits in (31, 24, 22, 13))

# Read off tables and interpolated, a jump costs a quarter of one with a power and a direction by rejection
ANGLES, SHARES = 2**10, 2**11
EXACT_BELOW = 64  # of the shares, where the power is too steep to be interpolated
_ANGLE = 2 * np.pi * np.arange(ANGLES + 1) / ANGLES
CIRCLE = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class LevyFlights:
    """How many flights of which law fill a cube. Lengths are fractions of the side of the cube.

    The published recipe names the numbers of starts, flights and jumps, but neither exponent nor smallest jump. Ours
    are chosen by eye and by the published ranges (extinction to about 1 mag at densities to about 0.05 mag/pc): with an
    exponent of 1.3 or less a cube holds separate blobs and four fifths or more of it are empty; at 2 voids fill up and
    clumps blur. At 1.7 clumps hang together, two thirds are empty, and nine tenths of the cells that hold dust span two
    decades of density. The smallest jump is a thirtieth of a cell of 32 a side, so that clumps have an inside, and long
    enough that flights of 20 000 jumps cross the cube: four tenths of the particles stay in it. For flights of ten
    times fewer jumps it is 10^(1 / 1.7) ≈ 4 times longer, so that they reach as far.

    Parameters
    ----------
    starts : int
        Places, uniform in the cube, at which flights start.
    flights : int
        Flights from each start.
    jumps : int
        Jumps, and so particles, in a flight.
    exponent, smallest : float
        Law of the jumps. A jump is at most 2^(24 / exponent) times the smallest (float32 knows no more).
    half_height : float
        Starts lie within so much of the middle of axis 2.

    References
    ----------
    The V-net paper ("Dust V-net"), section 2.1 and appendix.
    """

    starts: int
    flights: int
    jumps: int
    exponent: float = 1.7
    smallest: float = 1e-3
    half_height: float = 0.5

    def particles(self, rng: np.random.Generator, cells: int) -> np.ndarray:
        """Count the particles of all flights in each cell of a cube; those that left it don't count.

        Parameters
        ----------
        rng : numpy.random.Generator
            Gives the starts, and each flight the seed of random numbers of its own.
        cells : int
            On a side of the cube.

        Returns
        -------
        ndarray of float32, shape (cells, cells, cells)
        """
        starts = rng.random((self.starts, 3))
        starts[:, 2] = 0.5 + self.half_height * (2 * starts[:, 2] - 1)
        seeds = rng.integers(0, 2**64, (self.starts, self.flights), dtype=np.uint64)
        lengths = self._lengths()
        counts = np.zeros((cells, cells, cells), np.float32)
        positions = np.empty((self.jumps, 3), np.float32)  # of one flight: small enough for the cache
        for start, own_seeds in zip(starts.astype(np.float32), seeds, strict=True):
            for seed in own_seeds:
                self._fly(positions, start, seed, lengths)
                _count(positions, counts)
        return counts

    def flight(self, start: np.ndarray, seed: int) -> np.ndarray:
        """Positions after each jump of one flight, float32, shape (jumps, 3)."""
        positions = np.empty((self.jumps, 3), np.float32)
        self._fly(positions, np.asarray(start, np.float32), np.uint64(seed), self._lengths())
        return positions

    def _lengths(self) -> np.ndarray:
        """Jumps that are exceeded with probability 0, 1, 2 … / SHARES, and one more as a neighbour."""
        share = np.maximum(np.arange(SHARES + 2), 1) / SHARES
        return (self.smallest * share ** (-1 / self.exponent)).astype(np.float32)

    def _fly(self, positions: np.ndarray, start: np.ndarray, seed: np.uint64, lengths: np.ndarray) -> None:
        _fly(positions, start, seed, lengths, CIRCLE, np.float32(self.smallest), np.float32(-1 / self.exponent))


@njit(cache=True, inline="always")
def _hash(state: np.uint64) -> np.uint64:
    state = (state ^ (state >> B30)) * FIRST_MIX
    state = (state ^ (state >> B27)) * SECOND_MIX
    return state ^ (state >> B31)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _fly(
    positions: np.ndarray,
    start: np.ndarray,
    state: np.uint64,
    lengths: np.ndarray,
    circle: np.ndarray,
    smallest: np.float32,
    power: np.float32,
) -> None:
    """Fill positions, shape (jumps, 3), with one flight."""
    x, y, z = start[0], start[1], start[2]
    for i in range(positions.shape[0]):
        state += STEP
        bits = _hash(state)
        up = np.float32(np.int32(bits >> B32)) * PER_INT32  # uniform in [−1, 1), as on a sphere
        low = bits & LOW_HALF
        k, part = np.int64(low >> B22), np.float32(np.int64(low & LOW_22_BITS)) * PER_22_BITS
        along_x = circle[k, 0] + part * (circle[k + 1, 0] - circle[k, 0])
        along_y = circle[k, 1] + part * (circle[k + 1, 1] - circle[k, 1])
        state += STEP
        share = np.int64((_hash(state) >> B40) + ONE_BIT)  # of 2^24: never 0, which would be a jump to infinity
        k = share >> 13
        if k < EXACT_BELOW:
            length = smallest * (np.float32(share) * PER_24_BITS) ** power
        else:
            length = lengths[k] + np.float32(share & LOW_13_BITS) * PER_13_BITS * (lengths[k + 1] - lengths[k])
        across = length * np.sqrt(ONE - up * up)
        x += along_x * across
        y += along_y * across
        z += length * up
        positions[i, 0], positions[i, 1], positions[i, 2] = x, y, z


@njit(cache=True, nogil=True)
def _count(positions: np.ndarray, counts: np.ndarray) -> None:
    """Add the particles inside the unit cube to the counts, shape (cells, cells, cells)."""
    cells, last = np.float32(counts.shape[0]), counts.shape[0] - 1
    for i in range(positions.shape[0]):
        x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
        if min(x, y, z) >= 0 and max(x, y, z) < 1:  # the product may still round up to `cells`
            counts[min(int(x * cells), last), min(int(y * cells), last), min(int(z * cells), last)] += ONE
