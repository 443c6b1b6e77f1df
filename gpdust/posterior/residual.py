"""The independent residual of the prior in joint draws: the same noise however a grid is cut into chunks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gpdust.grid import RayGrid

CHUNK_BYTES = 128e6


def residual_noise(rays: Sequence[int], count: int, n_cells: int, seed: int) -> torch.Tensor:
    """Standard normal noise, shape (count, rays, cells), from a stream of each ray's own.

    Earlier draws of a ray (an index on its grid) do not depend on how many follow, nor any ray on which others are
    drawn with it.
    """
    noise = np.empty((count, len(rays), n_cells))
    for position, ray in enumerate(rays):
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, ray + 1], dtype=np.uint64)))
        noise[:, position] = generator.standard_normal((count, n_cells))
    return torch.from_numpy(noise)


def ray_chunks(grid: RayGrid, width: int) -> list[slice]:
    """Runs of rays of which an array (cells, width) stays small."""
    step = max(1, int(CHUNK_BYTES // (grid.n_cells * width * 8)))
    return [slice(start, min(start + step, grid.n_rays)) for start in range(0, grid.n_rays, step)]
