"""The variational family: a full-rank Gaussian in coordinates whitened by a metric, drawn in mirrored pairs."""

from __future__ import annotations

import math

import torch
from pyro.distributions import Independent, Normal, TorchDistribution
from torch.distributions import constraints, register_kl


class WhitenedGaussian(TorchDistribution):
    """N(m, U s T Tᵀ s Uᵀ): a rotation U, a scale s for each axis, and a lower-triangular factor T.

    With U and s⁻² the eigenvectors and eigenvalues of the metric, T is near the identity whatever the data's strength,
    and both a draw and the KL divergence cost O(M²).

    Parameters
    ----------
    mean : Tensor, shape (M,)
    rotation : Tensor, shape (M, M)
        Orthogonal.
    scale : Tensor, shape (M,)
        Positive.
    factor : Tensor, shape (M, M), optional
        Lower triangular, with a positive diagonal; without it, the identity.
    generator : torch.Generator, optional
        Source of the draws. Draws come in pairs ε, −ε: the noise of a gradient then has no part of first order.
    """

    has_rsample = True
    arg_constraints: dict = {}  # noqa: RUF012  (the name and form are torch's)
    support = constraints.real_vector

    def __init__(
        self,
        mean: torch.Tensor,
        rotation: torch.Tensor,
        scale: torch.Tensor,
        factor: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        batch_shape: tuple[int, ...] = (),
    ) -> None:
        self.mean_vector, self.rotation, self.scale, self.factor = mean, rotation, scale, factor
        self.generator = generator
        super().__init__(torch.Size(batch_shape), mean.shape, validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> WhitenedGaussian:
        """The same Gaussian, several times."""
        return WhitenedGaussian(self.mean_vector, self.rotation, self.scale, self.factor, self.generator, batch_shape)

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> torch.Tensor:
        """Draws, shape (*sample_shape, *batch_shape, M), mirrored along the flattened leading axes."""
        shape = torch.Size(sample_shape) + self.batch_shape
        count = math.prod(shape)
        half = torch.randn(
            (count + 1) // 2, self.event_shape[0], dtype=self.mean_vector.dtype, generator=self.generator
        )
        noise = torch.cat([half, -half])[:count]
        return (self.mean_vector + self.scaled(noise)).reshape(*shape, -1)

    def scaled(self, noise: torch.Tensor) -> torch.Tensor:
        """U s T ε: (..., M) to (..., M)."""
        noise = noise if self.factor is None else noise @ self.factor.mT
        return (noise * self.scale) @ self.rotation.mT

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log-density, shape of the leading axes."""
        noise = ((value - self.mean_vector) @ self.rotation) / self.scale
        if self.factor is not None:
            noise = torch.linalg.solve_triangular(self.factor, noise.unsqueeze(-1), upper=False).squeeze(-1)
        return -0.5 * noise.square().sum(-1) - 0.5 * self.event_shape[0] * math.log(2 * math.pi) - self.log_volume()

    def log_volume(self) -> torch.Tensor:
        """½ log |covariance|."""
        volume = self.scale.log().sum()
        return volume if self.factor is None else volume + self.factor.diagonal().log().sum()

    def scale_matrix(self) -> torch.Tensor:
        """A square root of the covariance, shape (M, M): draws are mean + scale_matrix ε."""
        root = self.rotation * self.scale
        return root if self.factor is None else root @ self.factor

    def drawing_from(self, generator: torch.Generator) -> WhitenedGaussian:
        """The same with another source of draws."""
        return WhitenedGaussian(
            self.mean_vector, self.rotation, self.scale, self.factor, generator, tuple(self.batch_shape)
        )

    def towards(self, precision: torch.Tensor, share: float, most_widening: float) -> WhitenedGaussian:
        """The same mean, and the inverse of the covariance a share of the way to another: a natural-gradient step.

        Only for a Gaussian without a factor.

        Parameters
        ----------
        precision : Tensor, shape (M, M)
            Symmetric; it need not be positive.
        share : float
            From 0 to 1.
        most_widening : float
            No variance of this Gaussian is to be more than so many times as large where the step would go all the way.
        """
        root, inverse = self.rotation * self.scale, self.rotation / self.scale
        values, axes = torch.linalg.eigh(_symmetric(root.mT @ precision @ root))
        values = 1 - share + share * values.clamp_min(1 / most_widening)
        inverse = inverse @ axes
        eigenvalues, rotation = torch.linalg.eigh(_symmetric((inverse * values) @ inverse.mT))
        # Rounding may leave anything beside what stars know a billion times better.
        least = self.scale.max() ** -2 / most_widening
        return WhitenedGaussian(
            self.mean_vector, signed(rotation), eigenvalues.clamp_min(least).rsqrt(), generator=self.generator
        )


def signed(vectors: torch.Tensor) -> torch.Tensor:
    """Eigenvectors whose largest entry is positive: a fixed sign keeps a seed's draws the same on every machine."""
    return (vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()).contiguous()


def _symmetric(matrix: torch.Tensor) -> torch.Tensor:
    return 0.5 * (matrix + matrix.mT)


@register_kl(WhitenedGaussian, Independent)
def _kl_to_standard_normal(q: WhitenedGaussian, p: Independent) -> torch.Tensor:
    """KL(q ‖ N(0, I)), analytically; the trace needs no product of matrices, since U is orthogonal."""
    base = p.base_dist
    if not isinstance(base, Normal) or base.loc.any() or (base.scale != 1).any():
        raise NotImplementedError("only the divergence from a standard normal is known")
    variance = q.scale.square()
    trace = (variance if q.factor is None else q.factor.square().sum(-1) * variance).sum()
    divergence = 0.5 * (trace + q.mean_vector.square().sum() - q.event_shape[0]) - q.log_volume()
    return divergence.expand(q.batch_shape)
