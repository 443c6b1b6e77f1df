"""One step of a training, and the loss over cubes that are not learned from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from gpdust.encoder.feed import Batch
from gpdust.encoder.state import TrainingState
from gpdust.errors import EncoderError


def learn(state: TrainingState, batch: Batch, rate: float, piece: int | None = None) -> None:
    """Take one step of Adam on the mean squared error of a batch (paper, section 3.2).

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    batch : tuple of Tensor
        Inputs (batch, channels, n, n, n) and scaled densities (batch, 1, n, n, n).
    rate : float
        Learning rate.
    piece : int, optional
        Cubes at a time, where memory is small; all by default.

    Raises
    ------
    EncoderError
        If the loss is not a number.
    """
    state.net.train()
    state.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for inputs, targets in _pieces(batch, piece, state.device):
        with state.precision.autocast():
            outputs = state.net(inputs)
        loss = mse_loss(outputs, targets) * (len(inputs) / len(batch[0]))
        state.precision.backward(loss)
        total += float(loss.detach())
    _require_number(total, state)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.precision.step(state.optimizer)
    state.loss += total
    state.batch += 1


@torch.no_grad()
def mean_loss(state: TrainingState, batches: Iterable[Batch], piece: int | None = None) -> float:
    """Mean squared error of the net as it is used: batch norm with what it has gathered."""
    state.net.eval()
    total = cubes = 0
    for batch in batches:
        for inputs, targets in _pieces(batch, piece, state.device):
            with state.precision.autocast():
                outputs = state.net(inputs)
            total += float(mse_loss(outputs, targets)) * len(inputs)
            cubes += len(inputs)
    _require_number(total, state)
    return total / cubes


def _pieces(batch: Batch, piece: int | None, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    inputs, targets = batch
    size = piece or len(inputs)
    for some, truth in zip(inputs.split(size), targets.split(size), strict=True):
        yield some.to(device), truth.to(device)


def _require_number(loss: float, state: TrainingState) -> None:
    if not math.isfinite(loss):
        raise EncoderError(
            f"the loss is not a number in epoch {state.epoch + 1}, after {state.batch} batches: what was observed may "
            "hold NaN, or the learning rate is too high"
        )
