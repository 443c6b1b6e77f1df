"""How sharply the stars see the hyperparameters, against dense linear algebra."""

from __future__ import annotations

import math

import torch
from numpy.testing import assert_allclose

from gpdust.inference.cells import PriorOnCells
from gpdust.inference.curvature import PROBES, ThetaCurvature, random_signs, volume_information
from gpdust.inference.precision import DensePrecision
from gpdust.inference.response import Response


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Problem:
    """B, ∂B/∂θ and Π = G − GBΛ⁻¹BᵀG written out, at some θ."""

    def __init__(self, model) -> None:
        theta = torch.linspace(-0.3, 0.4, model.prior.theta_size, dtype=torch.float64)
        unit = torch.eye(model.prior.latent_size, dtype=torch.float64)
        self.root = self._root(model, theta)
        steps = 1e-5 * torch.eye(len(theta), dtype=torch.float64)
        self.derivatives = torch.stack(
            [(self._root(model, theta + step) - self._root(model, theta - step)) / 2e-5 for step in steps]
        )
        self.cells = PriorOnCells(model, theta)
        self.metric = Response(model).metric(self.cells.log_density(0.3 * normal(len(unit))))
        self.precision = DensePrecision(self.cells, self.metric)
        stars = torch.block_diag(*self.metric.blocks(slice(None)))
        inverse = torch.linalg.inv(unit + self.root.mT @ stars @ self.root)
        self.projection = stars - stars @ self.root @ inverse @ self.root.mT @ stars

    @staticmethod
    def _root(model, theta: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            linear_map = model.prior.at(model.points(slice(None)), theta)
            return linear_map.apply(torch.eye(model.prior.latent_size, dtype=torch.float64)).mT

    def fisher(self) -> torch.Tensor:
        """½ tr(S⁻¹∂S S⁻¹∂S), of which C is a part."""
        moved = self.projection @ (self.derivatives @ self.root.mT + self.root @ self.derivatives.mT)
        return 0.5 * torch.einsum("aij,bji->ab", moved, moved)

    def expected_schur(self) -> torch.Tensor:
        """E[C] over means of v, whose covariance is BᵀΠB where the prior is right."""
        known = self.root.mT @ self.projection @ self.root
        seen = self.derivatives.mT @ self.projection @ self.derivatives[:, None]  # (b, a, latent, latent)
        return torch.einsum("baij,ji->ab", seen, known)


def test_derivatives_of_the_root_are_those_of_the_matrix(any_model):
    problem = Problem(any_model(learn=True))
    latents, cotangents = normal(2, problem.root.shape[1]), normal(2, len(problem.root), seed=1)
    found = map(torch.stack, zip(*problem.cells.root_derivatives(latents, cotangents), strict=True))
    expected = latents @ problem.derivatives.mT, cotangents @ problem.derivatives
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, atol=2e-3 * float(other.abs().max()))


def test_the_volume_holds_what_c_lacks_of_the_fisher_information(small_model):
    problem = Problem(small_model(learn=True))
    size = problem.root.shape[1]
    exact = volume_information(problem.precision, math.sqrt(size) * torch.eye(size, dtype=torch.float64), 0.0)
    missing = problem.fisher() - problem.expected_schur()
    assert_allclose(exact, missing, atol=2e-3 * float(missing.abs().max()))
    estimated = volume_information(problem.precision, random_signs(3000, size, 0), 0.0)
    assert_allclose(estimated, missing, atol=0.1 * float(missing.abs().max()))


def test_latents_that_scale_one_by_one_count_twice(spectral_model):
    """Then the volume says as much as C does: the short cut that a SpectralGP takes."""
    problem = Problem(spectral_model(learn=True))
    of_kernel = slice(0, -1)
    schur = problem.expected_schur()[of_kernel, of_kernel]
    assert_allclose(problem.fisher()[of_kernel, of_kernel], 2 * schur, rtol=1e-6, atol=1e-9)


def test_counting_twice_is_a_bound_for_a_triangular_root(small_model):
    problem = Problem(small_model(learn=True))
    twice, right = 2 * problem.expected_schur().diagonal()[:-1], problem.fisher().diagonal()[:-1]
    assert (right <= twice + 1e-9).all() and (right < 0.9 * twice).any()


def test_errors_of_an_inducing_prior_hold_its_volume(small_model):
    problem = Problem(small_model(learn=True))
    mean, parameters = normal(problem.root.shape[1], seed=2), problem.cells.model.prior.hyperparameters.learned()
    of_kernel = torch.tensor([not parameter.is_mean for parameter in parameters])
    bound = ThetaCurvature.of(problem.precision, mean, of_kernel, 0.0)
    right = ThetaCurvature.of(problem.precision, mean, of_kernel, 0.0, seed=0)
    prior, twice = torch.eye(len(parameters), dtype=torch.float64), of_kernel.double()
    schur = (bound.curvature - prior) / (1 + torch.outer(twice, twice))
    volume = volume_information(problem.precision, random_signs(PROBES, len(mean), 0), 0.0)
    assert_allclose(right.curvature, prior + schur + volume, atol=1e-8)
