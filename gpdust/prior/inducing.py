"""A whitened Gaussian process on inducing points: φ = μ + K_xz L⁻ᵀ v with L Lᵀ = K_zz, and v ~ N(0, I)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict

import astropy.units as u
import gpytorch
import numpy as np
import torch

from gpdust.prior.cholesky import cholesky_with_jitter
from gpdust.prior.fields import Fields
from gpdust.prior.foreground import ForegroundStep, foreground_from, step_at
from gpdust.prior.hyperparameters import MEAN_NAME, MEAN_WIDTH, Hyperparameter, Hyperparameters
from gpdust.prior.kernels import (
    KERNEL_NAMES,
    KernelFunction,
    build_kernel,
    describe_kernel,
    kernel_from_description,
)
from gpdust.prior.linear_map import MatrixMap
from gpdust.prior.placement import PLACEMENTS, SampledVolume
from gpdust.units import DENSITY, PARSEC, as_array, as_float, as_tensor

MATRIX_MEMORY = 4.0  # GB of the matrix of B that are kept between steps


class InducingGP:
    """Gaussian-process prior of the log-density, made tractable by inducing points.

    Parameters
    ----------
    kernel : str or gpytorch.kernels.Kernel
        "rbf", "matern12", "matern32", "matern52", or any GPyTorch kernel on heliocentric x, y, z in pc (sums and
        products too); then `length_scale` and `amplitude` are the kernel's own.
    inducing : int or Quantity of shape (M, 3)
        How many inducing points, or where: heliocentric Galactic x, y, z.
    length_scale : Quantity, one or three
        Along x, y, z. Where a fit starts, and the median of a log-normal prior (a factor of 2 at 1 σ).
    amplitude : float
        Standard deviation of log10 density, dex; starting value and prior median likewise.
    mean_density : Quantity
        10^μ; the prior of μ is normal with 0.5 dex.
    placement : {"kmeans", "farthest", "stars", "lattice"}
        How points are placed over the volume that the stars sample.
    learn : bool or list of str
        Which hyperparameters a fit may move; a family name such as "length_scale" means all its members.
    learn_inducing : bool
        Whether a fit may move the inducing points too.
    matrix_memory : float
        GB of its matrix, cells × points, that a fit may keep between steps. A larger one is made anew every time, some
        rays at a time: slower, but a fit's memory is then bounded.

    Raises
    ------
    ValueError
        If a name is unknown or a number is not positive.

    Notes
    -----
    Dharmawardena et al. (2022), sections 2.2–2.4; whitening as in Hensman et al. (2015). Unlike there, samples are
    joint.
    """

    kind = "inducing"

    def __init__(
        self,
        kernel: str | gpytorch.kernels.Kernel = "rbf",
        inducing: int | u.Quantity = 1000,
        length_scale: u.Quantity = 20 * PARSEC,
        amplitude: float = 0.3,
        mean_density: u.Quantity = 1e-3 * DENSITY,
        placement: str = "kmeans",
        learn: bool | Sequence[str] = True,
        learn_inducing: bool = False,
        matrix_memory: float = MATRIX_MEMORY,
    ) -> None:
        if placement not in PLACEMENTS:
            raise ValueError(f"unknown placement {placement!r}; there are {', '.join(PLACEMENTS)}")
        self.kernel_name = kernel if isinstance(kernel, str) else type(kernel).__name__
        if isinstance(kernel, str):
            scales = np.broadcast_to(as_array(length_scale, PARSEC, "length_scale"), (3,)).tolist()
            if not all(scale > 0 for scale in [*scales, amplitude]):
                raise ValueError(f"length_scale and amplitude must be positive, got {scales} pc and {amplitude} dex")
            kernel = build_kernel(kernel, scales, amplitude)
        mean = as_float(mean_density, DENSITY, "mean_density")
        if mean <= 0:
            raise ValueError(f"mean_density must be positive, got {mean_density}")
        self._kernel = KernelFunction(copy.deepcopy(kernel))
        mean_parameter = Hyperparameter(MEAN_NAME, "dex", float(np.log10(mean)), MEAN_WIDTH, positive=False)
        self.hyperparameters = Hyperparameters([*self._kernel.hyperparameters(), mean_parameter]).fixed_except(learn)
        self.placement = placement
        self.learn_inducing = learn_inducing
        self.matrix_memory = float(matrix_memory)
        if not self.matrix_memory >= 0:
            raise ValueError(f"matrix_memory can't be negative, got {matrix_memory} GB")
        self.jitter = 0.0
        self.foreground: ForegroundStep | None = None
        if isinstance(inducing, u.Quantity):
            self.points: torch.Tensor | None = as_tensor(inducing, PARSEC, "inducing").reshape(-1, 3)
            self._count = len(self.points)
        else:
            self.points, self._count = None, int(inducing)
        if self._count < 1:
            raise ValueError(f"a prior needs at least one inducing point, got {inducing}")

    @property
    def latent_size(self) -> int:
        """Length of v."""
        return self._count if self.points is None else len(self.points)

    @property
    def theta_size(self) -> int:
        """Length of θ, the vector of learned hyperparameters."""
        return self.hyperparameters.size

    def placed(self, volume: SampledVolume, seed: int) -> InducingGP:
        """This prior with its inducing points placed over a volume, unless they were given."""
        if self.points is not None:
            return self
        placed = copy.copy(self)
        rng = np.random.default_rng(seed)
        placed.points = torch.from_numpy(PLACEMENTS[self.placement](volume, self._count, rng))
        return placed

    def with_foreground(self, foreground: ForegroundStep | None) -> InducingGP:
        """This prior with a mean of its own in front of the region."""
        moved = copy.copy(self)
        moved.foreground = foreground
        return moved

    def with_points(self, points: torch.Tensor) -> InducingGP:
        """This prior with its inducing points elsewhere, pc, shape (M, 3)."""
        moved = copy.copy(self)
        moved.points = points
        return moved

    def at(self, points: torch.Tensor, theta: torch.Tensor | None = None) -> MatrixMap:
        """The prior at some points.

        Parameters
        ----------
        points : Tensor, shape (n, 3)
            Heliocentric Galactic x, y, z, pc.
        theta : Tensor, shape (theta_size,), optional
            Standardised hyperparameters; zero, which are the starting values, by default.

        Returns
        -------
        MatrixMap
            Differentiable in θ and in the inducing points.
        """
        *kernel_values, mean = self.hyperparameters.physical(theta)
        factor = self._whitening(kernel_values)
        cross = self._kernel(kernel_values, self.points, points)
        matrix = torch.linalg.solve_triangular(factor, cross, upper=False).mT
        variance = self._kernel(kernel_values, points, None)
        residual = (variance - matrix.square().sum(-1)).clamp_min(0)
        return MatrixMap(mean, step_at(self.foreground, points), residual, matrix)

    def theta_growth(self, theta: torch.Tensor, step: float) -> None:
        """None: its latents don't grow one by one with θ, as those of `SpectralGP` do."""

    def fields(self, latents: torch.Tensor, theta: torch.Tensor | None = None) -> Fields:
        """Draws of the field from draws of v, shape (draws, M), to be read at any points."""

        def read(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            linear_map = self.at(points, theta)
            return linear_map.log_density(latents), linear_map.residual_variance

        return Fields(read)

    @property
    def row_width(self) -> int:
        """How many numbers the prior holds for each point that it is read at."""
        return self.latent_size

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `description` leaves out."""
        return {"points": self.points}

    def length_scale(self, theta: torch.Tensor | None) -> float:
        """The shortest length scale, pc; 1 where the kernel has none."""
        report = self.hyperparameters.report(theta)
        return min((value for name, value in report.items() if name.startswith("length_scale")), default=1.0)

    def _whitening(self, kernel_values: list[torch.Tensor]) -> torch.Tensor:
        covariance = self._kernel(kernel_values, self.points, self.points)
        # A distance of zero has no derivative, and GPyTorch's guess at one spoils the gradient: the diagonal apart.
        variance = self._kernel(kernel_values, self.points, None)
        covariance = covariance - covariance.diagonal().diag() + variance.diag()
        factor, self.jitter = cholesky_with_jitter(covariance)
        return factor

    def notes(self) -> list[str]:
        """What a user should know of how the prior was set up."""
        return []

    def description(self) -> dict:
        """Everything needed to build the prior again but its inducing points, as plain data."""
        return {
            "kind": self.kind,
            "kernel_name": self.kernel_name,
            "kernel": describe_kernel(self._kernel.kernel),
            "hyperparameters": [asdict(parameter) for parameter in self.hyperparameters],
            "placement": self.placement,
            "learn_inducing": self.learn_inducing,
            "jitter": self.jitter,
            "foreground": asdict(self.foreground) if self.foreground else None,
        }

    @classmethod
    def from_description(
        cls, description: dict, points: torch.Tensor, kernel: gpytorch.kernels.Kernel | None = None
    ) -> InducingGP:
        """Build the prior again from what `description` returned; see `kernel_from_description` for `kernel`."""
        if kernel is None and description["kernel"] is None:
            raise ValueError(
                f"its kernel ({description['kernel_name']}) could not be stored; give it: load(path, kernel=…)"
            )
        kernel = kernel or kernel_from_description(description["kernel"])
        prior = cls(kernel, placement=description["placement"], learn_inducing=description["learn_inducing"])
        prior.kernel_name = description["kernel_name"]
        prior.hyperparameters = Hyperparameters(Hyperparameter(**entry) for entry in description["hyperparameters"])
        prior.jitter = description["jitter"]
        prior.foreground = foreground_from(description)
        return prior.with_points(points)

    def __str__(self) -> str:
        return f"{self.kernel_name} kernel on {self.latent_size} inducing points ({self.placement})"


__all__ = ["KERNEL_NAMES", "InducingGP"]
