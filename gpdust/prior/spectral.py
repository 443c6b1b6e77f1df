"""A Gaussian process by its power spectrum: φ = μ + interpolate(F⁻¹ a(k) v), on a padded periodic box, O(n log n)."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import astropy.units as u
import numpy as np
import torch

from gpdust.prior.box import PeriodicBox
from gpdust.prior.fields import Fields
from gpdust.prior.foreground import ForegroundStep, foreground_from, step_at
from gpdust.prior.hyperparameters import MEAN_NAME, MEAN_WIDTH, Hyperparameter, Hyperparameters
from gpdust.prior.interpolation import Interpolation
from gpdust.prior.linear_map import LinearMap
from gpdust.prior.placement import SampledVolume
from gpdust.prior.spectra import MATERN, SPECTRUM_KNOTS, density_of, free_form
from gpdust.units import DENSITY, PARSEC, as_array, as_float

SPECTRUM = "spectrum"
SPECTRAL_KERNELS = ("rbf", *MATERN, SPECTRUM)
AXES = ("x", "y", "z")
MISPLACED = 0.002  # the share of the variance that a chosen box may get wrong between its nodes
FINEST = 1.0  # of a cell's size: a finer box than that would resolve what no star sees
COARSEST = 0.4  # of a length scale, at most
PADDING = 2.0  # length scales between the volume and its periodic image
MOST_LATENTS = 4_000_000
MOST_RESCALED = 3.0  # times, when the field is kept while hyperparameters move
SPECTRUM_WIDTH = 1.0  # prior standard deviation of ln power at each knot


@dataclass(frozen=True)
class SpectralMap(LinearMap):
    """The spectral prior at some points.

    Attributes
    ----------
    interpolation : Interpolation
    weight : Tensor, shape half_shape of the box
        Amplitude of each mode.
    """

    interpolation: Interpolation
    weight: torch.Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "_adjoint_weight", self.interpolation.box.adjoint_weight(self.weight.detach()))

    def apply(self, latent: torch.Tensor) -> torch.Tensor:
        """B v: (..., latent) to (..., points)."""
        return self.interpolation(self.interpolation.box.field(latent, self.weight))

    def adjoint(self, cotangent: torch.Tensor) -> torch.Tensor:
        """Bᵀ y: (..., points) to (..., latent)."""
        return self.interpolation.box.field_adjoint(self.interpolation.adjoint(cotangent), self._adjoint_weight)

    def rows(self, which: slice) -> torch.Tensor:
        """B at some of the points, without a gradient, shape (of them, latent)."""
        return self.interpolation.box.field_adjoint(self.interpolation.rows(which), self._adjoint_weight)


class SpectralGP:
    """Gaussian-process prior of the log-density on a periodic box, with any stationary kernel by its spectral density.

    Parameters
    ----------
    kernel : str or list of str
        "rbf", "matern12", "matern32", "matern52", or "spectrum": a free-form isotropic power spectrum, which starts as
        a Matérn-3/2. A list means a sum of independent parts, such as diffuse and clumpy dust.
    length_scale : Quantity
        One, or three along x, y, z; for a sum an array with one row (or one number) for each part. Where a fit starts,
        and the median of a log-normal prior (a factor of 2 at 1 σ).
    amplitude : float or sequence of float
        Standard deviation of log10 density, dex, of each part; starting value and prior median likewise.
    mean_density : Quantity
        10^μ; the prior of μ is normal with 0.5 dex.
    learn : bool or list of str
        Which hyperparameters a fit may move; a family name such as "length_scale" means all its members.
    box_spacing : Quantity, optional
        Distance between the nodes of the box. Chosen by default such that 0.2 % of the variance is lost or misplaced
        between them, but no finer than the cells of the grid can show.

    Raises
    ------
    ValueError
        If a name is unknown, a number is not positive, or the parts of a sum do not match.

    Notes
    -----
    Trilinear interpolation damps a mode; its amplitude is raised such that its variance, averaged over places, is kept.
    What lies beyond the modes of the box is left out: within a cell it averages out, and as a residual of its own it
    would scatter the extinction of draws, which stars know better. `misplaced_variance` says how much of the variance
    is lost or misplaced in all.
    """

    kind = "spectral"

    def __init__(
        self,
        kernel: str | Sequence[str] = "matern32",
        length_scale: u.Quantity = 30 * PARSEC,
        amplitude: float | Sequence[float] = 0.2,
        mean_density: u.Quantity = 1e-3 * DENSITY,
        learn: bool | Sequence[str] = True,
        box_spacing: u.Quantity | None = None,
    ) -> None:
        self.kernels = (kernel,) if isinstance(kernel, str) else tuple(kernel)
        unknown = [name for name in self.kernels if name not in SPECTRAL_KERNELS]
        if unknown or not self.kernels:
            raise ValueError(f"unknown kernel {unknown[0] if unknown else kernel!r}; there are {SPECTRAL_KERNELS}")
        scales = _rows_of(as_array(length_scale, PARSEC, "length_scale"), len(self.kernels))
        amplitudes = np.atleast_1d(np.asarray(amplitude, dtype=float))
        if amplitudes.shape != (len(self.kernels),):
            raise ValueError(f"{len(self.kernels)} kernel(s) need as many amplitudes, got {amplitude}")
        mean = as_float(mean_density, DENSITY, "mean_density")
        if not ((scales > 0).all() and (amplitudes > 0).all() and mean > 0):
            raise ValueError(
                f"length scales, amplitudes and mean density must be positive, got {scales.tolist()} pc, "
                f"{amplitudes.tolist()} dex and {mean:g} mag/pc"
            )
        spacing = None if box_spacing is None else as_float(box_spacing, PARSEC, "box_spacing")
        if spacing is not None and not spacing > 0:
            raise ValueError(f"box_spacing must be positive, got {box_spacing}")
        self.box_spacing = spacing
        self.hyperparameters = self._list_hyperparameters(scales, amplitudes, mean).fixed_except(learn)
        self.box: PeriodicBox | None = None
        self.foreground: ForegroundStep | None = None

    def _list_hyperparameters(self, scales: np.ndarray, amplitudes: np.ndarray, mean: float) -> Hyperparameters:
        listed = []
        for number, (name, scale, amplitude) in enumerate(zip(self.kernels, scales, amplitudes, strict=True), 1):
            part = f"_{number}" if len(self.kernels) > 1 else ""
            if name == SPECTRUM:
                listed.append(Hyperparameter(f"length_scale{part}", "pc", float(np.cbrt(scale.prod()))))
                listed += [
                    Hyperparameter(f"spectrum{part}_{knot}", "ln power", 0.0, SPECTRUM_WIDTH, positive=False)
                    for knot in range(1, SPECTRUM_KNOTS + 1)
                ]
            else:
                listed += [
                    Hyperparameter(f"length_scale{part}_{axis}", "pc", float(value))
                    for axis, value in zip(AXES, scale, strict=True)
                ]
            listed.append(Hyperparameter(f"amplitude{part}", "dex", float(amplitude)))
        return Hyperparameters(
            [*listed, Hyperparameter(MEAN_NAME, "dex", float(np.log10(mean)), MEAN_WIDTH, positive=False)]
        )

    @property
    def kernel_name(self) -> str:
        """The kernel in words."""
        return " + ".join(self.kernels)

    @property
    def latent_size(self) -> int:
        """Length of v; zero before the box has been placed around a grid."""
        return self.box.latent_size if self.box else 0

    @property
    def theta_size(self) -> int:
        """Length of θ, the vector of learned hyperparameters."""
        return self.hyperparameters.size

    def placed(self, volume: SampledVolume, seed: int = 0) -> SpectralGP:
        """This prior with its box placed around a grid, unless it has one; nothing about it is random."""
        if self.box is not None:
            return self
        grid = volume.grid
        low, high = grid.extent()
        padding = PADDING * self._starting_scales().max(0)
        spacing = self.box_spacing or self._chosen_spacing(grid.typical_cell)
        while True:
            box = PeriodicBox.around(tuple(low), tuple(high), tuple(padding), spacing)
            if self.box_spacing or box.latent_size <= MOST_LATENTS:
                return self.with_box(box)
            spacing *= 1.02 * (box.latent_size / MOST_LATENTS) ** (1 / 3)

    def with_foreground(self, foreground: ForegroundStep | None) -> SpectralGP:
        """This prior with a mean of its own in front of the region."""
        moved = copy.copy(self)
        moved.foreground = foreground
        return moved

    def with_box(self, box: PeriodicBox) -> SpectralGP:
        """This prior on another box."""
        moved = copy.copy(self)
        moved.box = box
        return moved

    def _starting_scales(self) -> np.ndarray:
        """Length scales at the start, pc, shape (parts, 3)."""
        return np.array([scales for _, scales, _, _ in self._parts(None)])

    def _chosen_spacing(self, cell: float) -> float:
        """The spacing, pc, at which the share MISPLACED of the variance is wrong, at least FINEST cells."""
        finest, coarsest = FINEST * cell, COARSEST * float(self._starting_scales().min())
        spacings = np.geomspace(finest, max(finest, coarsest), 60)

        def misplaced(spacing: float) -> float:
            box = PeriodicBox((0, 0, 0), (64 * spacing,) * 3, (64, 64, 64))
            return self.with_box(box).misplaced_variance()

        right = bisect_right(spacings, MISPLACED, key=misplaced)  # it grows with the spacing
        return float(spacings[max(right - 1, 0)])

    def misplaced_variance(self, theta: torch.Tensor | None = None) -> float:
        """The share of the prior's variance that the box loses between its nodes, or puts at wrong wave numbers."""
        with torch.no_grad():
            damped, variance = self.box.interpolation_response()
            right = self.mode_variance(theta) * damped**2 / variance * self.box.multiplicity()
            return max(0.0, 1 - float(right.sum() / self._variance(theta)))

    def interpolation(self, points: torch.Tensor) -> Interpolation:
        """What depends on points only, pc, shape (n, 3): worth keeping while hyperparameters change."""
        if self.box is None:
            raise ValueError("the prior has no box yet: DustModel places it, or `placed` does")
        return Interpolation(self.box, points)

    def at(self, points: torch.Tensor | Interpolation, theta: torch.Tensor | None = None) -> SpectralMap:
        """The prior at some points.

        Parameters
        ----------
        points : Tensor, shape (n, 3), or Interpolation
            Heliocentric Galactic x, y, z, pc, within the box.
        theta : Tensor, shape (theta_size,), optional
            Standardised hyperparameters; zero, which are the starting values, by default.

        Returns
        -------
        SpectralMap
            Differentiable in θ.

        Raises
        ------
        GridError
            If a point lies outside the box.
        """
        interpolation = points if isinstance(points, Interpolation) else self.interpolation(points)
        power = self.mode_variance(theta)
        # A mode of the half stands for one or two of the whole, each with two latents of unit variance.
        _, damping = self.box.interpolation_response()
        weight = (power.clamp_min(1e-300) / (damping * self.box.multiplicity())).sqrt() * self.box.n_nodes
        mean = self.hyperparameters.physical(theta)[-1]
        residual_variance = torch.zeros((), dtype=torch.float64).expand(len(interpolation))
        return SpectralMap(
            mean, step_at(self.foreground, interpolation.points), residual_variance, interpolation, weight
        )

    def theta_growth(self, theta: torch.Tensor, step: float) -> tuple[torch.Tensor, torch.Tensor]:
        """How the field depends on θ at fixed v: each mode grows by itself, and the mean is one more of mode zero.

        Parameters
        ----------
        theta : Tensor, shape (theta_size,)
        step : float
            Of the differences that derivatives are taken by.

        Returns
        -------
        growth : Tensor, shape (theta_size, latent_size)
            ∂ ln weight / ∂θ of each latent.
        constant : Tensor, shape (theta_size, latent_size)
            Latents whose field is ∂μ/∂θ everywhere.
        """
        nowhere = torch.zeros(0, 3, dtype=torch.float64)
        growth = torch.zeros(len(theta), *self.box.half_shape, dtype=torch.float64)
        constant = torch.zeros(len(theta), self.latent_size, dtype=torch.float64)
        with torch.no_grad():
            here = self.at(nowhere, theta)
            for row, nudge in enumerate(step * torch.eye(len(theta), dtype=theta.dtype)):
                moved = self.at(nowhere, theta + nudge)
                growth[row] = (moved.weight / here.weight - 1) / step
                constant[row, 0] = (moved.mean - here.mean) / step * self.box.n_nodes / here.weight[0, 0, 0]
        return growth.flatten(1).repeat_interleave(2, dim=1), constant

    def same_field(self, latent: torch.Tensor, theta: torch.Tensor, new_theta: torch.Tensor) -> torch.Tensor:
        """Latents that make at new hyperparameters the field that others made at the old ones, mean and all.

        No mode changes by more than MOST_RESCALED: where a kernel falls off steeply, modes that no star sees would.
        """
        nowhere = torch.zeros(0, 3, dtype=torch.float64)
        with torch.no_grad():
            old, new = self.at(nowhere, theta), self.at(nowhere, new_theta)
            ratio = (old.weight / new.weight).clamp(1 / MOST_RESCALED, MOST_RESCALED)
            modes = torch.view_as_complex(latent.unflatten(-1, (*self.box.half_shape, 2))) * ratio
            modes[..., 0, 0, 0] += (old.mean - new.mean) * self.box.n_nodes / new.weight[0, 0, 0]
        return torch.view_as_real(modes).flatten(-4)

    def fields(self, latents: torch.Tensor, theta: torch.Tensor | None = None) -> Fields:
        """Draws of the field from draws of v, shape (draws, latent), to be read at any points within the box."""
        with torch.no_grad():
            linear_map = self.at(torch.tensor([self.box.origin], dtype=torch.float64), theta)
            nodes = self.box.field(latents, linear_map.weight)

        def read(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            log_density = linear_map.mean + step_at(self.foreground, points) + self.interpolation(points).forward(nodes)
            return log_density, linear_map.residual_variance.expand(len(points))

        return Fields(read, has_residual=False)

    @property
    def row_width(self) -> int:
        """How many numbers the prior holds for each point that it is read at."""
        return 16

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `description` leaves out."""
        return {}

    def mode_variance(self, theta: torch.Tensor | None) -> torch.Tensor:
        """S(k) / V: the variance that each mode of the box adds, dex², shape half_shape."""
        kx, ky, kz = self.box.wave_numbers()
        total = torch.zeros((), dtype=torch.float64)
        for name, (lx, ly, lz), amplitude, deviations in self._parts(theta):
            kappa_squared = (kx * lx) ** 2 + (ky * ly) ** 2 + (kz * lz) ** 2
            spectrum = free_form(kappa_squared, deviations) if name == SPECTRUM else density_of(name)(kappa_squared)
            total = total + amplitude**2 * lx * ly * lz * spectrum
        return total / self.box.volume

    def _parts(self, theta: torch.Tensor | None) -> list[tuple]:
        """Name, three length scales, amplitude and deviations of the spectrum, of each part."""
        values, parts = self.hyperparameters.physical(theta), []
        for name in self.kernels:
            if name == SPECTRUM:
                scale, *deviations, amplitude = values[: SPECTRUM_KNOTS + 2]
                parts.append((name, (scale,) * 3, amplitude, torch.stack(deviations)))
                values = values[SPECTRUM_KNOTS + 2 :]
            else:
                parts.append((name, tuple(values[:3]), values[3], None))
                values = values[4:]
        return parts

    def _variance(self, theta: torch.Tensor | None) -> torch.Tensor:
        """Variance of the log-density under the whole kernel, dex²."""
        return sum(amplitude**2 for _, _, amplitude, _ in self._parts(theta))

    def length_scale(self, theta: torch.Tensor | None) -> float:
        """The shortest length scale, pc."""
        with torch.no_grad():
            return float(min(scale for _, scales, _, _ in self._parts(theta) for scale in scales))

    def notes(self) -> list[str]:
        """What a user should know of the box."""
        if self.box is None:
            return []
        shape, spacing = " × ".join(map(str, self.box.shape)), max(self.box.spacing)
        wrong = self.misplaced_variance()
        return [
            f"box of {shape} nodes every {spacing:.3g} pc, {self.latent_size} latents; at the starting length scales "
            f"{wrong:.1%} of the prior's variance is lost or misplaced between the nodes"
        ]

    def description(self) -> dict:
        """Everything needed to build the prior again, as plain data."""
        return {
            "kind": self.kind,
            "kernels": list(self.kernels),
            "hyperparameters": [asdict(parameter) for parameter in self.hyperparameters],
            "box_spacing": self.box_spacing,
            "box": asdict(self.box) if self.box else None,
            "foreground": asdict(self.foreground) if self.foreground else None,
        }

    @classmethod
    def from_description(cls, description: dict) -> SpectralGP:
        """Build the prior again from what `description` returned."""
        kernels = description["kernels"]
        prior = cls(kernels, np.full(len(kernels), 1.0) * PARSEC, [1.0] * len(kernels))
        prior.hyperparameters = Hyperparameters(Hyperparameter(**entry) for entry in description["hyperparameters"])
        prior.box_spacing = description["box_spacing"]
        prior.foreground = foreground_from(description)
        box = description["box"]
        return prior.with_box(PeriodicBox(**{key: tuple(value) for key, value in box.items()})) if box else prior

    def __str__(self) -> str:
        where = f"{' × '.join(map(str, self.box.shape))} nodes" if self.box else "a box not placed yet"
        return f"{self.kernel_name} spectrum on {where}"


def _rows_of(scales: np.ndarray, parts: int) -> np.ndarray:
    """Length scales as (parts, 3)."""
    if parts == 1:
        rows = np.atleast_1d(scales)
        rows = rows.reshape(1, -1)
    else:
        rows = scales.reshape(-1, 1) if scales.ndim == 1 else scales
    if rows.ndim != 2 or rows.shape[0] != parts or rows.shape[1] not in (1, 3):
        raise ValueError(
            f"length_scale needs one number or three for each of {parts} kernel(s), got shape {scales.shape}"
        )
    return np.broadcast_to(rows, (parts, 3)).astype(float)
