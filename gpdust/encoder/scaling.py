"""Between cubes in mag and mag/pc and the numbers of order one that a V-net takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gpdust.encoder.finite_difference import finite_difference, smooth_difference
from gpdust.encoder.substitution import forward_substitution
from gpdust.errors import EncoderError

INFORMATION_UNIT = 10  # of ln(1 + information) in its channel


def scale_inputs(
    inputs: Sequence[str],
    extinction: Tensor,
    information: Tensor | None = None,
    trained_length: float | None = None,
) -> Tensor:
    """Make the input channels of a V-net.

    Extinctions do not tell how long a cell is. Three of the channels are densities; they are taken at the cell length
    of the training, whatever that of these cubes, and stand in the scale of the output, ±10 ln(1 + |ρ|).

    Parameters
    ----------
    inputs : sequence of str
        extinction: ln(1 + E), the only one of the paper (equation 1), where E below zero counts as zero. information:
        ln(1 + information) / 10, which says how well E is known. difference: density by finite differences of E along
        the line of sight, which a net otherwise has to find in E: no convolution knows where the Sun is.
        smooth-difference: the same of E smoothed over neighbours, for noisy cubes. substitution: density by
        non-negative forward substitution, which all but solves exact cubes.
    extinction : Tensor, shape (..., n, n, n)
        E, mag.
    information : Tensor, shape (..., n, n, n), optional
        Inverse variance of E, mag⁻².
    trained_length : float, optional
        L₀, the cell length of the training cubes, pc.

    Returns
    -------
    Tensor, shape (..., channels, n, n, n)
        float32.

    Raises
    ------
    EncoderError
        If what a channel is made of was not given, or there is no such channel.
    """
    given = {"information": information, "trained_length": trained_length}
    channels = []
    for name in inputs:
        if name not in CHANNELS:
            raise EncoderError(f"there is no input {name!r}; there are {', '.join(CHANNELS)}")
        make, needed = CHANNELS[name]
        if missing := [word for word in needed if given[word] is None]:
            raise EncoderError(f"the input {name!r} of this V-net needs {' and '.join(missing)}, which was not given")
        channels.append(make(extinction, *(given[word] for word in needed)).float())
    return torch.stack(channels, dim=-4)


def scale_density(density: Tensor) -> Tensor:
    """Return 10 ln(1 + ρ), what a V-net learns (paper, equation 2), from ρ in mag/pc at the training cell length."""
    return 10 * torch.log1p(density)


def unscale_density(output: Tensor, trained_length: float, cell_length: float | None = None) -> Tensor:
    """Return ρ from what a V-net gives.

    A net sees extinctions only, and these do not tell how long a cell is: it knows ρL, not ρ. So for the same
    extinctions in cells of another length, ρ = ρ_net L₀ / L.

    Parameters
    ----------
    output : Tensor
        10 ln(1 + ρ_net).
    trained_length : float
        L₀, the cell length of the training cubes, pc.
    cell_length : float, optional
        L of these cubes, pc; that of the training by default.

    Returns
    -------
    Tensor
        mag/pc, shape of `output`.
    """
    density = torch.expm1(output / 10)
    return density if cell_length is None else density * (trained_length / cell_length)


def _extinction(extinction: Tensor) -> Tensor:
    return torch.log1p(extinction.clamp(min=0))  # noise takes it below zero, and below −1 there is no logarithm


def _information(extinction: Tensor, information: Tensor) -> Tensor:
    return torch.log1p(information) / INFORMATION_UNIT


def _difference(extinction: Tensor, length: float) -> Tensor:
    return _scale_signed(finite_difference(extinction, length))


def _smooth_difference(extinction: Tensor, information: Tensor, length: float) -> Tensor:
    return _scale_signed(smooth_difference(extinction, information, length))


def _substitution(extinction: Tensor, information: Tensor, length: float) -> Tensor:
    return scale_density(forward_substitution(extinction, information, length))


def _scale_signed(density: Tensor) -> Tensor:
    return density.sign() * scale_density(density.abs())


#: How each channel is made, and of what beside the extinction.
CHANNELS: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "extinction": (_extinction, ()),
    "information": (_information, ("information",)),
    "difference": (_difference, ("trained_length",)),
    "smooth-difference": (_smooth_difference, ("information", "trained_length")),
    "substitution": (_substitution, ("information", "trained_length")),
}

#: Channels that stand in the scale of the output.
DENSITIES = ("difference", "smooth-difference", "substitution")
