"""What a fit will cost in time and memory: rough formulas, measured on two CPU cores.

The time of a fit goes as cells · M^1.32 and the memory as cells · M, where M counts the inducing points. On 14 000
cells, M = 500 took 60 s and M = 1000 took 150 s; a fit may take twice or half of that, as it converges. The maps take
time for the draws of every cell, and for its row of the prior's matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpdust.model import BASIS_BYTES

LIBRARIES_BYTES = 0.8e9  # what Python holds with torch and astropy loaded
COPIES = 6  # of the prior's matrix, or of a part of it, at the widest moment of a step
MAP_CELL_SECONDS, MAP_POINT_SECONDS = 1e-5, 1e-8  # per map cell with 100 draws, and per cell and inducing point


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
    def of(cls, cells: int, inducing: int, map_cells: int) -> Cost:
        """Estimate a fit of some cells with some inducing points, and maps of some more cells."""
        basis = min(8.0 * cells * inducing, BASIS_BYTES)
        return cls(
            fit_seconds=60 * (cells / 14_000) * (inducing / 500) ** 1.32,
            map_seconds=map_cells * (MAP_CELL_SECONDS + MAP_POINT_SECONDS * inducing),
            memory_bytes=LIBRARIES_BYTES + COPIES * basis + 100.0 * inducing**2 + 6 * 8.0 * map_cells,
        )

    def __str__(self) -> str:
        gib = self.memory_bytes / 2**30
        return f"about {_duration(self.fit_seconds)} for the fit, {_duration(self.map_seconds)} for maps, {gib:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
