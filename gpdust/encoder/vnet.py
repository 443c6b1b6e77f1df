"""The V-net: from the extinction in a cube to the density in it, by convolutions on ever coarser cells and back."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from gpdust.encoder.scaling import CHANNELS, DENSITIES, INFORMATION_UNIT
from gpdust.errors import EncoderError

NORMS = ("batch", "group")
GROUPS = 8  # of channels that a group norm looks at together, at most
START = 0.1  # scaled density; see `VNet.start_at`
OPEN_FROM = 8.5  # ln(1 + information) from where a fresh gate is open; that of exact extinctions is 9.2
STEEPNESS = 8.0  # of a fresh gate, in ln(1 + information)


@dataclass(frozen=True)
class VNetShape:
    """What decides the layers of a V-net; the defaults are those of the paper (section 3.1).

    Attributes
    ----------
    width : int
        Channels of the first stage; each further stage has twice as many.
    depth : int
        Stages; each further stage has cells twice as long.
    norm : {"batch", "group"}
        Batch norm, as in the paper, or group norm, which does not depend on what else is in a batch.
    inputs : tuple of str
        Input channels, by their names in `gpdust.encoder.scaling`.
    shortcut : str, optional
        The input, a density, that the net may hand to its output as it is, where it sees fit; none in the paper.
    """

    width: int = 128
    depth: int = 4
    norm: str = "batch"
    inputs: tuple[str, ...] = ("extinction",)
    shortcut: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        if self.width < 1 or self.depth < 1:
            raise EncoderError(f"a V-net needs a width and a depth of 1 or more, got {self.width} and {self.depth}")
        if self.norm not in NORMS:
            raise EncoderError(f"there is no norm {self.norm!r}; there are {', '.join(NORMS)}")
        if unknown := [name for name in self.inputs if name not in CHANNELS]:
            raise EncoderError(f"there is no input {unknown[0]!r}; there are {', '.join(CHANNELS)}")
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise EncoderError(f"a V-net needs inputs, each of them once, got {list(self.inputs)}")
        if self.shortcut is not None and self.shortcut not in set(self.inputs) & set(DENSITIES):
            raise EncoderError(
                f"the shortcut {self.shortcut!r} of a V-net is one of its inputs {list(self.inputs)}, and a density "
                f"({', '.join(DENSITIES)})"
            )
        if self.shortcut is not None and "information" not in self.inputs:
            raise EncoderError("a V-net with a shortcut needs the input 'information', which says where to take it")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage, from the finest."""
        return tuple(self.width * 2**stage for stage in range(self.depth))

    def check_cells(self, cells: tuple[int, ...]) -> None:
        """Raise EncoderError if a cube with so many cells a side does not go through all stages."""
        step = 2 ** (self.depth - 1)
        if any(n % step or n < 2 * step for n in cells):  # reflection needs two cells on the coarsest stage
            raise EncoderError(
                f"a cube of {' × '.join(map(str, cells))} cells does not go through a V-net of {self.depth} stages: "
                f"its sides must be multiples of {step}, and {2 * step} or more. Cut or pad the cube, or take a net "
                "with fewer stages"
            )


class VNet(nn.Module):
    """The V-net of Qin et al. (2023), as the dust V-net paper (section 3.1) uses it.

    Each stage is two convolutions with 3³ kernels, each followed by a norm and a ReLU. On the way down, 2³ max pooling
    stands between the stages. On the way up, a transposed convolution (3³ kernels, stride 2, norm, ReLU) doubles the
    cells, the outputs of the stage of the same size on the way down are put beside its own, and a stage follows. A last
    3³ convolution and a ReLU give the density; only the gradient of this ReLU is not the usual one, so that the net
    can't die. Padding reflects the cells at the faces of the cube.

    Convolutions before a norm have no bias, since the norm would take it away again.

    With a shortcut a second last convolution, which sees the inputs too, gives a gate g between 0 and 1, and the
    density is (1 − g) × the net's own + g × the input. Exact extinctions are all but solved by forward substitution,
    and convolutions with norms between them can't pass a number on with all its digits. A fresh gate is open where
    the information is that of exact extinctions: found by descent, from noisy cubes mostly, it would take long.

    Parameters
    ----------
    shape : VNetShape
        The paper's by default: 128, 256, 512 and 1024 channels.
    """

    def __init__(self, shape: VNetShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or VNetShape()
        channels = shape.channels
        sources = (len(shape.inputs), *channels[:-1])
        self.down = nn.ModuleList(_stage(*sizes, shape.norm) for sizes in zip(sources, channels, strict=True))
        self.pool = nn.MaxPool3d(2)
        self.widen = nn.ModuleList(_widening(2 * n, n, shape.norm) for n in reversed(channels[:-1]))
        self.up = nn.ModuleList(_stage(2 * n, n, shape.norm) for n in reversed(channels[:-1]))
        self.last = _convolution(channels[0], 1, bias=True)
        self.gate = _gate(channels[0], shape.inputs) if shape.shortcut else None
        with torch.no_grad():
            self.last.weight.mul_(0.5)  # few outputs of a fresh net reach zero
            self.last.bias.fill_(1.0)
        self.register_buffer("unit", torch.tensor(START))
        self.to(memory_format=torch.channels_last_3d)  # twice as fast on a CPU

    def start_at(self, value: float) -> None:
        """Set the unit of the outputs, around which those of a fresh net scatter.

        Scaled densities are of order 0.01, but Adam moves each weight by about the learning rate, and the last
        convolution has thousands of them: one step would throw all outputs far off, most often below zero, where the
        last ReLU cuts them off. So the net counts in a unit of this size. What it can express stays the same.

        Parameters
        ----------
        value : float
            Scaled density; the mean over the training cubes.

        Raises
        ------
        EncoderError
            If it is not positive.
        """
        if not value > 0:
            raise EncoderError(f"a V-net starts at a positive density, got {value}; are the training cubes empty?")
        self.unit.fill_(value)

    def forward(self, cubes: Tensor) -> Tensor:
        """Map scaled inputs to scaled densities.

        Parameters
        ----------
        cubes : Tensor, shape (batch, inputs, depth, y, z)
            See `gpdust.encoder.scaling.scale_inputs`.

        Returns
        -------
        Tensor, shape (batch, 1, depth, y, z)
            10 ln(1 + ρ), in the precision of the weights, also under autocast.

        Raises
        ------
        EncoderError
            If the number of channels is another, or the cubes don't go through all stages.
        """
        if cubes.ndim != 5 or cubes.shape[1] != len(self.shape.inputs):
            raise EncoderError(
                f"this V-net takes cubes of shape (batch, {len(self.shape.inputs)}, depth, y, z) with the channels "
                f"{', '.join(self.shape.inputs)}, got {tuple(cubes.shape)}"
            )
        self.shape.check_cells(tuple(cubes.shape[2:]))
        given = cubes
        cubes = cubes.contiguous(memory_format=torch.channels_last_3d)
        kept = []
        for stage in self.down[:-1]:
            kept.append(stage(cubes))
            cubes = self.pool(kept[-1])
        cubes = self.down[-1](cubes)
        for widen, stage in zip(self.widen, self.up, strict=True):
            cubes = stage(torch.cat([widen(cubes), kept.pop()], dim=1))
        with _full_precision(cubes):  # 8 bits of a density would show
            own = self.last.weight.dtype
            return _LastReLU.apply(self._density(cubes.to(own), given.to(own)))

    def _density(self, features: Tensor, inputs: Tensor) -> Tensor:
        own = self.unit * self.last(features)
        if self.gate is None:
            return own
        channel = self.shape.inputs.index(self.shape.shortcut)
        gate = self.gate(torch.cat([features, inputs], dim=1)).sigmoid()
        return own.lerp(inputs[:, channel : channel + 1], gate)


class _LastReLU(torch.autograd.Function):
    """A ReLU that can't die: where its input is negative, a gradient that would raise it passes all the same.

    A plain ReLU passes none there, and a net with all outputs below zero, where a large step may throw it, would never
    learn again. Where the true density is zero, the gradient of the squared error is zero too: empty cells stay empty.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        """Cut off what is negative."""
        ctx.save_for_backward(values)
        return values.relu()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        """Pass what a ReLU passes, and what raises a cut-off output: descent goes against the gradient."""
        (values,) = ctx.saved_tensors
        return gradient * ((values > 0) | (gradient < 0))


def count_parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def _full_precision(cubes: Tensor) -> AbstractContextManager:
    return nullcontext() if cubes.is_meta else torch.autocast(cubes.device.type, enabled=False)


def _convolution(source: int, target: int, bias: bool = False) -> nn.Conv3d:
    return nn.Conv3d(source, target, 3, padding=1, padding_mode="reflect", bias=bias)


def _gate(features: int, inputs: tuple[str, ...]) -> nn.Conv3d:
    gate = _convolution(features + len(inputs), 1, bias=True)
    with torch.no_grad():
        gate.weight.zero_()
        gate.weight[0, features + inputs.index("information"), 1, 1, 1] = STEEPNESS * INFORMATION_UNIT
        gate.bias.fill_(-STEEPNESS * OPEN_FROM)
    return gate


def _stage(source: int, target: int, norm: str) -> nn.Sequential:
    first, second = _convolution(source, target), _convolution(target, target)
    return nn.Sequential(first, *_activation(target, norm), second, *_activation(target, norm))


def _widening(source: int, target: int, norm: str) -> nn.Sequential:
    """Twice as many cells a side; a transposed convolution has nothing to reflect."""
    widen = nn.ConvTranspose3d(source, target, 3, stride=2, padding=1, output_padding=1, bias=False)
    return nn.Sequential(widen, *_activation(target, norm))


def _activation(channels: int, norm: str) -> tuple[nn.Module, nn.Module]:
    normed = nn.BatchNorm3d(channels) if norm == "batch" else nn.GroupNorm(math.gcd(GROUPS, channels), channels)
    return normed, nn.ReLU(inplace=True)
