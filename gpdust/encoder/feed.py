"""What a V-net is fed with: simulated cubes, turned, observed and scaled, in an order that a seed decides.

All that is random about a cube comes from (seed, epoch, index) alone, whoever makes it and when. So a training that
was stopped sees what it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from gpdust.encoder.options import TrainingOptions
from gpdust.encoder.scaling import scale_density, scale_inputs
from gpdust.encoder.symmetry import transform_at_random
from gpdust.encoder.trust import Trust

Observe = Callable[[np.ndarray, float, np.random.Generator], tuple[np.ndarray, np.ndarray]]
Batch = tuple[Tensor, Tensor]
Item, Made = TypeVar("Item"), TypeVar("Made")

ORDER, TURN, TRAINING, VALIDATION, SURVEY = range(5)  # what a random number is for
CHECKED = 200  # validation cubes on which the accuracy is measured
SURVEYED = 1000  # training cubes that decide where the net starts and what it is trusted with


class Library(Protocol):
    """Simulated densities, in memory or on disk."""

    recipe: str
    seed: int
    cells: int
    cell_length: float

    def __len__(self) -> int: ...

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Return densities in mag/pc, float32, shape (..., n, n, n)."""

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices for training, validation and test."""


@dataclass(frozen=True)
class Feed:
    """Batches of scaled inputs and densities.

    Attributes
    ----------
    library : Library
    options : TrainingOptions
    observe : callable
        (density, cell length, generator) -> (extinction in mag, information in mag⁻²), each of shape (n, n, n). It is
        called from several threads at once where there are `workers`.
    """

    library: Library
    options: TrainingOptions
    observe: Observe

    def steps(self, training: Sequence[int]) -> int:
        """Steps of an epoch."""
        return max(len(training) // self.options.batch, 1)

    def training(self, indices: np.ndarray, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch, from the batch `start` on; another order, other noise and symmetries each epoch."""
        size, seed = self.options.batch, self.options.seed
        order = np.random.default_rng([seed, ORDER, epoch, 0]).permutation(indices)
        batches = [order[step * size : (step + 1) * size] for step in range(start, self.steps(indices))]
        return ahead(lambda batch: self._batch(batch, TRAINING, epoch), batches, self.options.workers)

    def validation(self, indices: np.ndarray) -> Iterator[Batch]:
        """Batches of the validation cubes, the same whenever they are made."""
        size = self.options.batch
        batches = [indices[start : start + size] for start in range(0, len(indices), size)]
        return ahead(lambda batch: self._batch(batch, VALIDATION), batches, self.options.workers)

    def validation_cubes(self, indices: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Density, extinction and information of up to CHECKED validation cubes, as the net has seen them."""
        yield from ahead(lambda index: self._cube(int(index), VALIDATION, 0), indices[:CHECKED], self.options.workers)

    def survey(self, indices: np.ndarray) -> tuple[Trust, float]:
        """Look at up to a thousand training cubes: the range they span, and their mean scaled density."""
        chosen = indices[np.linspace(0, len(indices) - 1, min(len(indices), SURVEYED)).astype(int)]
        found = np.array(list(ahead(self._numbers, chosen, self.options.workers)))
        return Trust.of(found[:, 0], found[:, 1]), float(found[:, 2].mean())

    def _numbers(self, index: int) -> tuple[float, float, float]:
        density = self.library[int(index)]
        extinction, _ = self._observed(density, SURVEY, 0, index)
        scaled = scale_density(torch.tensor(density, dtype=torch.float64))
        return float(extinction.max()), float(density.mean()) * self.library.cell_length, float(scaled.mean())

    def _batch(self, indices: np.ndarray, purpose: int, epoch: int = 0) -> Batch:
        cubes = [self._cube(int(index), purpose, epoch) for index in indices]
        densities, extinctions, informations = (torch.from_numpy(np.stack(kind)) for kind in zip(*cubes, strict=True))
        length = self.library.cell_length
        inputs = scale_inputs(self.options.inputs, extinctions, informations, length)
        return inputs, scale_density(densities)[:, None]

    def _cube(self, index: int, purpose: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        density = self.library[index]
        if purpose == TRAINING:
            turn = np.random.default_rng([self.options.seed, TURN, epoch, index])
            density = transform_at_random(density, self.options.symmetry, turn)
        return density, *self._observed(density, purpose, epoch, index)

    def _observed(self, density: np.ndarray, purpose: int, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.options.seed, purpose, epoch, int(index)])
        return self.observe(density, self.library.cell_length, rng)


def ahead(make: Callable[[Item], Made], items: Iterable[Item], workers: int) -> Iterator[Made]:
    """Make things in threads, a few ahead of where they are needed; they come in the order of the items."""
    if not workers:
        yield from map(make, items)
        return
    pool = ThreadPoolExecutor(workers, "gpdust-observe")
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
