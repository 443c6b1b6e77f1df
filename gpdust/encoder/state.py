"""The state of a training: all that is needed to go on, bit for bit, and its checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gpdust.encoder.options import TrainingOptions
from gpdust.encoder.precision import Precision, choose_device
from gpdust.encoder.vnet import VNet
from gpdust.errors import EncoderError
from gpdust.files import atomic_path

RECORD = "gpdust.training"
HISTORY = ("train", "validation", "learning_rate", "seconds")


@dataclass
class TrainingState:
    """Where a training stands.

    Attributes
    ----------
    net : VNet
    optimizer : torch.optim.Adam
    precision : Precision
    device : torch.device
    epoch, batch : int
        Those that come next, counted from zero.
    loss : float
        Sum over the batches of this epoch so far.
    seconds : float
        Spent on this epoch so far.
    history : dict of str to list of float
        One number an epoch: train and validation loss, learning rate, seconds.
    best : dict of str to Tensor
        Weights of the epoch with the lowest validation loss.
    survey : dict
        What the look at the training cubes gave; see `Feed.survey`.
    """

    net: VNet
    optimizer: torch.optim.Adam
    precision: Precision
    device: torch.device
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in HISTORY})
    best: dict[str, Tensor] = field(default_factory=dict)
    survey: dict = field(default_factory=dict)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest validation loss, counted from zero."""
        losses = self.history["validation"]
        return losses.index(min(losses)) if losses else None

    def end_epoch(self, steps: int, validation: float, rate: float) -> bool:
        """Note the losses of the epoch, go to the next, and return whether it was the best so far."""
        entries = (self.loss / steps, validation, rate, round(self.seconds, 2))
        for name, value in zip(HISTORY, entries, strict=True):
            self.history[name].append(value)
        improved = self.best_epoch == self.epoch
        if improved:
            self.best = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}
        self.epoch, self.batch, self.loss, self.seconds = self.epoch + 1, 0, 0.0, 0.0
        return improved

    def save(self, path: str | PathLike, decided_by: dict) -> None:
        """Write a checkpoint, atomically; `decided_by` holds plain values that make it this training and no other."""
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for name, parameter in self.net.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        record = {"decided_by": decided_by, "scale": self.precision.state(), **numbers}
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, {RECORD: json.dumps(record)})

    def restore(self, path: str | PathLike, decided_by: dict) -> None:
        """Take everything from a checkpoint.

        Raises
        ------
        EncoderError
            If the file is no checkpoint, or that of another training; it says what is different.
        """
        record, tensors = _read(Path(path))
        if changes := _changes(decided_by, record["decided_by"]):
            raise EncoderError(
                f"'{path}' is the checkpoint of another training (different: {', '.join(changes)}). Delete it to start "
                "afresh, or train in another folder"
            )
        self.net.load_state_dict(_part(tensors, "net."))
        self.best = _part(tensors, "best.")
        moments = {key: _part(tensors, f"adam.{key}.") for key in ("step", "exp_avg", "exp_avg_sq")}
        for name, parameter in self.net.named_parameters():
            if name in moments["step"]:
                # Laid out in memory as Adam's own, so that it adds in the same order.
                state = {
                    key: torch.empty_like(parameter).copy_(moments[key][name]) for key in ("exp_avg", "exp_avg_sq")
                }
                self.optimizer.state[parameter] = {"step": moments["step"][name], **state}
        self.precision.restore(record["scale"])
        for name in _NUMBERS:
            setattr(self, name, record[name])


def fresh_state(options: TrainingOptions) -> TrainingState:
    """Weights from the seed, without touching anyone else's random numbers."""
    device = choose_device(options.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        net = VNet(options.shape)
    net.to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=options.learning_rate)
    return TrainingState(net, optimizer, Precision(options.mixed_precision, device), device)


_NUMBERS = ("epoch", "batch", "loss", "seconds", "history", "survey")


def _read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as stored:
            record = json.loads(stored.metadata()[RECORD])
            return record, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, KeyError, TypeError) as error:
        raise EncoderError(f"'{path}' is not a checkpoint of a training ({error}); delete it to start afresh") from None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _changes(now: dict, before: dict, prefix: str = "") -> list[str]:
    """Names of what is different, as "part.name"."""
    changes = []
    for name in sorted(now | before):
        new, old = now.get(name), before.get(name)
        if isinstance(new, dict) and isinstance(old, dict):
            changes += _changes(new, old, f"{prefix}{name}.")
        elif new != old:
            changes.append(f"{prefix}{name}")
    return changes
