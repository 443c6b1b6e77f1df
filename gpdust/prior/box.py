"""A periodic Cartesian box of nodes, and white noise on its Fourier modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len

BATCH_NODES = 2_000_000  # nodes of all fields that are transformed at once
LARGE_NODES = 300_000
AXES = (-3, -2, -1)


@dataclass(frozen=True)
class PeriodicBox:
    """Nodes on a periodic lattice.

    A real field on it has complex Fourier coefficients on half of the modes. Their real and imaginary parts are the
    latents: then a coarser box of the same lengths holds a subset of the latents of a finer one, and a stationary
    covariance is diagonal. Coefficients on the planes k_z = 0 and Nyquist appear twice, as z(k) and z(−k); only their
    Hermitian part makes a field, which costs a few latents and spares all bookkeeping.

    Attributes
    ----------
    origin : three floats
        Position of the first node, pc.
    lengths : three floats
        Period along each axis, pc.
    shape : three ints
        Nodes along each axis; even.
    """

    origin: tuple[float, float, float]
    lengths: tuple[float, float, float]
    shape: tuple[int, int, int]

    @classmethod
    def around(
        cls, low: tuple[float, ...], high: tuple[float, ...], padding: tuple[float, ...], spacing: float
    ) -> PeriodicBox:
        """The least box that holds a volume and, beyond it, some padding, with at most the given spacing (pc)."""
        shape, lengths, origin = [], [], []
        for near, far, extra in zip(low, high, padding, strict=True):
            extent = far - near + 2 * spacing
            n = 2 * next_fast_len(max(2, math.ceil((extent + extra) / spacing / 2)), real=True)
            shape.append(n)
            lengths.append(n * spacing)
            origin.append(near - spacing)
        return cls(tuple(origin), tuple(lengths), tuple(shape))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between nodes along each axis, pc."""
        return tuple(length / n for length, n in zip(self.lengths, self.shape, strict=True))

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return math.prod(self.shape)

    @property
    def volume(self) -> float:
        """pc³."""
        return math.prod(self.lengths)

    @property
    def half_shape(self) -> tuple[int, int, int]:
        """Shape of the half of the modes that a real field needs."""
        return (*self.shape[:2], self.shape[2] // 2 + 1)

    @property
    def latent_size(self) -> int:
        """Two latents for each mode of the half."""
        return 2 * math.prod(self.half_shape)

    def coarser(self, factor: int) -> PeriodicBox:
        """The same box with about `factor` times fewer nodes along each axis."""
        shape = tuple(2 * max(1, math.ceil(n / factor / 2)) for n in self.shape)
        return PeriodicBox(self.origin, self.lengths, shape)

    def wave_numbers(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """K along each axis, 1/pc, shaped to broadcast to `half_shape`."""
        hx, hy, hz = self.spacing
        nx, ny, nz = self.shape
        frequencies = (
            torch.fft.fftfreq(nx, hx, dtype=torch.float64)[:, None, None],
            torch.fft.fftfreq(ny, hy, dtype=torch.float64)[:, None],
            torch.fft.rfftfreq(nz, hz, dtype=torch.float64),
        )
        kx, ky, kz = (2 * math.pi * frequency for frequency in frequencies)
        return kx, ky, kz

    def interpolation_response(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What trilinear interpolation makes of a wave: its amplitude, and its variance averaged over places.

        Returns
        -------
        amplitude, variance : Tensor, shape half_shape
            Π sinc²(k h / 2), and Π (2 + cos k h) / 3, which counts the waves of other lengths that it adds.
        """
        amplitude, variance = torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        for wave, step in zip(self.wave_numbers(), self.spacing, strict=True):
            amplitude = amplitude * torch.sinc(wave * step / (2 * math.pi)).square()
            variance = variance * (2 + torch.cos(wave * step)) / 3
        return amplitude, variance

    def multiplicity(self) -> torch.Tensor:
        """How many modes of the whole each mode of the half stands for, along the last axis, shape (n_z / 2 + 1,)."""
        count = torch.full((self.half_shape[2],), 2.0, dtype=torch.float64)
        count[[0, -1]] = 1.0
        return count

    def field(self, latent: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Field on the nodes from weighted latents.

        Parameters
        ----------
        latent : Tensor, shape (..., latent_size)
        weight : Tensor, shape half_shape
            Amplitude of each mode.

        Returns
        -------
        Tensor, shape (..., nodes)
        """
        modes = torch.view_as_complex(latent.unflatten(-1, (*self.half_shape, 2))) * weight
        # One field at a time where they are large: a batch of them falls out of the caches.
        if modes[..., 0, 0, 0].numel() * self.n_nodes <= BATCH_NODES:
            return self._inverse(modes).flatten(-3)
        flat = modes.reshape(-1, *self.half_shape)
        return torch.stack([self._inverse(one).flatten() for one in flat]).reshape(*latent.shape[:-1], -1)

    def _inverse(self, modes: torch.Tensor) -> torch.Tensor:
        # torch transforms the last axis last, and takes the real part there: what is not Hermitian drops out.
        return torch.fft.irfftn(modes, s=self.shape, dim=AXES)

    def adjoint_weight(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight that makes `field_adjoint` the adjoint of `field` with the given one."""
        return weight * self.multiplicity() / self.n_nodes

    def field_adjoint(self, field: torch.Tensor, adjoint_weight: torch.Tensor) -> torch.Tensor:
        """Adjoint of `field`: (..., nodes) to (..., latent_size)."""
        field = field.unflatten(-1, self.shape)
        if field[..., 0, 0, 0].numel() * self.n_nodes <= BATCH_NODES:
            return torch.view_as_real(self._forward(field).mul_(adjoint_weight)).flatten(-4)
        flat = field.reshape(-1, *self.shape)
        modes = [torch.view_as_real(self._forward(one).mul_(adjoint_weight)).flatten() for one in flat]
        return torch.stack(modes).reshape(*field.shape[:-3], -1)

    def _forward(self, field: torch.Tensor) -> torch.Tensor:
        if field.numel() > LARGE_NODES:
            return torch.fft.rfftn(field, dim=AXES)
        # Two transforms where one would do: threads that wait for each other cost more than a small box is worth.
        return torch.fft.fft2(torch.fft.rfft(field), dim=(-3, -2))

    def transfer(self, latent: torch.Tensor, finer: PeriodicBox) -> torch.Tensor:
        """Latents of a finer box of the same lengths whose field has this one's modes, and no others.

        Modes at the Nyquist frequency of this box are left out: on the finer one they are two.
        """
        here, there = self.transfer_indices(finer)
        fine = latent.new_zeros(*latent.shape[:-1], finer.latent_size)
        fine[..., there] = latent[..., here]
        return fine

    def transfer_indices(self, finer: PeriodicBox) -> tuple[torch.Tensor, torch.Tensor]:
        """Which latents of this box are which of a finer one: two index vectors of the same length."""
        here, there = self._shared(finer)
        both = torch.arange(2)
        return (2 * here[:, None] + both).flatten(), (2 * there[:, None] + both).flatten()

    def _shared(self, finer: PeriodicBox) -> tuple[torch.Tensor, torch.Tensor]:
        axes_here, axes_there = [], []
        for axis in range(3):
            n, m = self.shape[axis], finer.shape[axis]
            wave = torch.fft.fftfreq(n, 1 / n).round().long() if axis < 2 else torch.arange(n // 2 + 1)
            index = torch.arange(len(wave))
            keep = (wave.abs() < n // 2) & (wave.abs() < m // 2)
            axes_here.append(index[keep])
            axes_there.append(wave[keep] % m)
        here = _flat_index(axes_here, self.half_shape)
        there = _flat_index(axes_there, finer.half_shape)
        return here, there


def _flat_index(axes: list[torch.Tensor], shape: tuple[int, int, int]) -> torch.Tensor:
    i, j, k = torch.meshgrid(*axes, indexing="ij")
    return ((i * shape[1] + j) * shape[2] + k).flatten()
