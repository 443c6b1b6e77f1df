"""A small library of cubes and a quick training, for the tests of the encoder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpdust.encoder import TrainingOptions

SURVEYED = 21  # cubes that are looked at before the first epoch, which has 20 and then 6 for validation


CELLS = 8
OPTIONS = TrainingOptions(
    epochs=3, batch=4, learning_rate=3e-3, width=4, depth=2, symmetry="square", seed=5, workers=0, device="cpu"
)


@dataclass
class MemoryLibrary:
    """Smooth clouds, made when they are asked for."""

    count: int = 30
    seed: int = 1
    cells: int = CELLS
    cell_length: float = 6.0
    recipe: str = "clouds"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index):
        if np.ndim(index):
            return np.stack([self[int(i)] for i in index])
        rng = np.random.default_rng([self.seed, int(index)])
        place = np.indices((self.cells,) * 3) + 0.5
        centre = rng.uniform(0, self.cells, (3, 1, 1, 1))
        distance = np.square(place - centre).sum(axis=0) / self.cells
        return (rng.uniform(0.01, 0.1) * np.exp(-distance)).astype(np.float32)

    def split(self, seed):
        order = np.random.default_rng(seed).permutation(self.count)
        return np.split(order, [int(0.72 * self.count), int(0.9 * self.count)])


def observe(density, cell_length, rng):
    """Cells behind one another instead of lines of sight, with noise."""
    extinction = np.cumsum(density, axis=0) * cell_length + rng.normal(0, 0.01, density.shape)
    return extinction.astype(np.float32), np.full(density.shape, 1e4, np.float32)


def weights_of(folder: Path) -> bytes:
    return (folder / "vnet.safetensors").read_bytes()


def stopping(after: int, error: BaseException):
    """An observer that fails at its `after`th cube."""
    calls = 0

    def observe_or_fail(density, cell_length, rng):
        nonlocal calls
        calls += 1
        if calls == after:
            raise error
        return observe(density, cell_length, rng)

    return observe_or_fail
