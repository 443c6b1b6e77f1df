"""The settings of a training, and where they come from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from gpdust.encoder.precision import PRECISIONS
from gpdust.encoder.symmetry import check_symmetry
from gpdust.encoder.vnet import VNetShape
from gpdust.errors import EncoderError

SCHEDULES = ("constant", "cosine")
_NO_MATTER = ("device", "workers", "checkpoint_minutes", "patience")  # none of them changes what a step does


@dataclass(frozen=True)
class TrainingOptions:
    """How a V-net is trained.

    The defaults are the paper's (section 3.1) where it has them: Adam, 32 cubes a batch, 130 epochs for its small
    region, batch norm, and no symmetries. The learning rate is what Adam's own paper recommends.

    Attributes
    ----------
    epochs : int
        Passes through the training cubes.
    batch : int
        Cubes a step. What is left over at the end of an epoch waits for the next, so that all steps weigh the same.
    learning_rate : float
    schedule : {"constant", "cosine"}
        Keep the learning rate, or let it sink to zero along half a cosine over all epochs.
    width, depth, norm, inputs, shortcut
        The net; see `VNetShape`.
    symmetry : {"none", "mirror", "square"}
        Symmetries that each training cube is turned by; see `gpdust.encoder.symmetry`.
    seed, split_seed : int
        Decide weights, order, symmetries and noise; and which cubes train, validate and test.
    mixed_precision : {"auto", "off", "bfloat16", "float16"}
        Convolve in half precision: auto does on a GPU, in bfloat16 where it can.
    device : str
        auto takes a GPU where there is one.
    accumulate : int, optional
        Cubes at a time where memory is small: a batch is then done in such pieces. Batch norm sees the pieces, group
        norm does not care.
    workers : int
        Threads that observe the next cubes while the net learns; 0 does it in between.
    checkpoint_minutes : float
        Write a checkpoint so often inside an epoch, besides the one at its end.
    patience : int
        Stop after so many epochs that were no better than the best on the validation cubes; 0 never does.
    """

    epochs: int = 130
    batch: int = 32
    learning_rate: float = 1e-3
    schedule: str = "constant"
    width: int = 128
    depth: int = 4
    norm: str = "batch"
    inputs: tuple[str, ...] = ("extinction",)
    shortcut: str | None = None
    symmetry: str = "none"
    seed: int = 0
    split_seed: int = 0
    mixed_precision: str = "auto"
    device: str = "auto"
    accumulate: int | None = None
    workers: int = 1
    checkpoint_minutes: float = 5.0
    patience: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        for name, least in (("epochs", 1), ("batch", 1), ("workers", 0), ("patience", 0)):
            if getattr(self, name) < least:
                raise EncoderError(f"{name} of a training must be {least} or more, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise EncoderError(f"the learning rate of a training must be positive, got {self.learning_rate}")
        if self.accumulate is not None and not 1 <= self.accumulate <= self.batch:
            raise EncoderError(f"accumulate must lie between 1 and batch = {self.batch}, got {self.accumulate}")
        for name, known in (("schedule", SCHEDULES), ("mixed_precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise EncoderError(f"there is no {name} {getattr(self, name)!r}; there are {', '.join(known)}")
        check_symmetry(self.symmetry)
        self.shape  # noqa: B018  (raises where the net is impossible)

    @property
    def shape(self) -> VNetShape:
        """Shape of the net."""
        return VNetShape(self.width, self.depth, self.norm, self.inputs, self.shortcut)

    def rate(self, done: float) -> float:
        """Learning rate where a share `done` of all steps lies behind."""
        return self.learning_rate * (1 if self.schedule == "constant" else (1 + math.cos(math.pi * done)) / 2)

    def deciding(self) -> dict[str, object]:
        """Plain values of what decides each step: a training goes on only where these are the same."""
        free = (*_NO_MATTER, "epochs") if self.schedule == "constant" else _NO_MATTER  # a cosine spans all epochs
        return {name: value for name, value in self.as_dict().items() if name not in free}

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return asdict(self) | {"inputs": list(self.inputs)}
