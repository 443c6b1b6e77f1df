"""Where a net computes, and in how many bits."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from gpdust.errors import EncoderError

PRECISIONS = ("auto", "off", "bfloat16", "float16")


def choose_device(name: str = "auto") -> torch.device:
    """Turn "auto" or a name into a device.

    Raises
    ------
    EncoderError
        If there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise EncoderError(f"there is no device {name!r} here ({reason}); take device = auto, or cpu") from None
    return device


class Precision:
    """Half precision where it pays, with float16's loss scaled so that small gradients do not vanish.

    bfloat16 has the range of float32 and needs no scale.

    Parameters
    ----------
    name : {"auto", "off", "bfloat16", "float16"}
        auto is off on a CPU, where half precision is slower.
    device : torch.device
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "auto":
            half = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float16"
            name = half if device.type == "cuda" else "off"
        self.name, self._device = name, device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def autocast(self) -> AbstractContextManager:
        """Context of a forward pass."""
        dtype = None if self.name == "off" else getattr(torch, self.name)
        return torch.autocast(self._device, dtype, enabled=dtype is not None)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take a step, unless a gradient overflowed: then the scale sinks instead."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, float]:
        """Scale and what decides it, as plain numbers; empty where nothing is scaled."""
        return self._scaler.state_dict()

    def restore(self, state: dict[str, float]) -> None:
        """Go on from `state`."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)
