"""Percentile maps, streamed: all draws of a few rays at a time, never all draws of all rays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from gpdust.errors import PosteriorError
from gpdust.grid import RayGrid
from gpdust.posterior.maps import PercentileMaps

if TYPE_CHECKING:
    from gpdust.posterior.posterior import Posterior


def percentile_maps(
    posterior: Posterior,
    percentiles: Sequence[float],
    grid: RayGrid,
    samples: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> PercentileMaps:
    """Percentiles of density and extinction in every cell of a grid.

    Parameters
    ----------
    posterior : Posterior
    percentiles : sequence of float
        0–100.
    grid : RayGrid
        Foreground cells, if any, count in the extinction and are cut off from the maps, as is background padding.
    samples : int
        Joint draws. The draws are exact; more of them make the percentiles smoother.
    seed : int
    progress : bool
        Show a bar with the time left.

    Returns
    -------
    PercentileMaps

    Raises
    ------
    PosteriorError
        If a percentile lies outside 0–100, or there is no draw.
    """
    wanted = tuple(sorted(float(percentile) for percentile in percentiles))
    if not wanted or wanted[0] < 0 or wanted[-1] > 100:
        raise PosteriorError(f"percentiles must lie between 0 and 100, got {list(percentiles)}")
    if samples < 1:
        raise PosteriorError(f"maps need at least one sample, got {samples}")
    inner = grid.interior_cells
    shape = (len(wanted), grid.n_rays, inner.stop - inner.start)
    density, extinction = np.empty(shape), np.empty(shape)
    with tqdm(total=grid.n_rays, unit="ray", desc="maps", disable=not progress, dynamic_ncols=True) as bar:
        for rays, density_draws, extinction_draws in posterior.sample_chunks(grid, samples, seed):
            density[:, rays] = _percentiles(density_draws[..., inner], wanted)
            extinction[:, rays] = _percentiles(extinction_draws[..., inner], wanted)
            bar.update(rays.stop - rays.start)
    meta = {**posterior.meta, "samples": samples, "maps_seed": seed}
    return PercentileMaps(grid.interior if grid.has_margins else grid, wanted, density, extinction, meta)


def _percentiles(draws: torch.Tensor, percentiles: tuple[float, ...]) -> np.ndarray:
    """Percentiles along the first axis, shape (percentile, ...).

    Of n draws, the k-th smallest is the percentile k / (n + 1): so many of other draws lie below it on average, and an
    interval holds what it says however few draws it is made from (Weibull 1939; between them linear).
    """
    ordered = torch.movedim(draws, 0, -1).clone(memory_format=torch.contiguous_format)
    ordered.numpy().sort(axis=-1)  # in place; ten times as fast as torch, which keeps track of places
    count = ordered.shape[-1]
    position = (torch.tensor(percentiles, dtype=draws.dtype) / 100 * (count + 1) - 1).clamp(0, count - 1)
    below = position.floor().long()
    above = position.ceil().long()
    mixed = torch.lerp(ordered[..., below], ordered[..., above], position - below)
    return torch.movedim(mixed, -1, 0).numpy()
