"""Λ = I + BᵀGB: dense, without a matrix, and preconditioned."""

import math

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.errors import InferenceError
from gpdust.inference import Newton, NewtonOptions, Progress, matrix_free
from gpdust.inference import preconditioner as preconditioners
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.conjugate_gradient import conjugate_gradient
from gpdust.inference.matrix_free import MatrixFreePrecision
from gpdust.inference.objective import Objective
from gpdust.inference.precision import DensePrecision
from gpdust.inference.preconditioner import Preconditioner, Preconditioning, SharedLatents, krylov_space
from gpdust.inference.response import Response
from gpdust.prior.box import PeriodicBox

SMALL_BOX = PeriodicBox((-20.0, 100.0, -80.0), (300.0, 300.0, 240.0), (8, 8, 6))  # 512 latents: Λ can be written out
NOTHING = torch.zeros(0, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def spectral_model(stars, grid, spacing: float = 30.0, **options) -> gpdust.DustModel:
    options = {"length_scale": 60 * u.pc, "mean_density": 1.6e-3 * u.mag / u.pc, "learn": False} | options
    return gpdust.DustModel(stars, grid, gpdust.SpectralGP(box_spacing=spacing * u.pc, **options))


@pytest.fixture(scope="module", params=["inducing", "spectral"])
def model(request, small_model, small_grid, mock_stars) -> gpdust.DustModel:
    if request.param == "inducing":
        return small_model()
    prior = gpdust.SpectralGP(length_scale=60 * u.pc, mean_density=1.6e-3 * u.mag / u.pc, learn=False)
    return gpdust.DustModel(mock_stars(), small_grid, prior.with_box(SMALL_BOX))


class Problem:
    """A place, the metric there, and Λ written out."""

    def __init__(self, model: gpdust.DustModel) -> None:
        self.model, self.response = model, Response(model)
        self.cells = PriorOnCells(model, NOTHING)
        self.latent = 0.3 * normal(model.prior.latent_size, seed=9)
        self.metric = self.response.metric(self.cells.log_density(self.latent))
        size = model.prior.latent_size
        matrix = self.cells.apply(torch.eye(size, dtype=torch.float64)).mT  # B, (cells, latent)
        self.dense = (
            torch.eye(size, dtype=torch.float64)
            + matrix.mT @ torch.block_diag(*self.metric.blocks(slice(None))) @ matrix
        )

    def matrix_free(self, preconditioner=None, seed: int = 0) -> MatrixFreePrecision:
        return MatrixFreePrecision(self.cells, self.metric, preconditioner, seed=seed)

    def preconditioner(self, cells: int | None = None) -> Preconditioner:
        """That of the model itself, or of one of so many cells."""
        if cells is None:
            return Preconditioner(self.cells, self.metric)
        return of_coarser(self.model, self.latent, cells)


def of_coarser(model: gpdust.DustModel, latent: torch.Tensor, cells: int) -> Preconditioner:
    """The preconditioner from a model of so many cells."""
    coarse = model.coarsened(cells)
    shared = None if coarse.prior is model.prior else SharedLatents(coarse.prior.box, model.prior.box)
    there = PriorOnCells(coarse, NOTHING)
    mean = latent if shared is None else shared.restrict(latent)
    return Preconditioner(there, Response(coarse).metric(there.log_density(mean)), shared)


@pytest.fixture(scope="module")
def problem(model) -> Problem:
    return Problem(model)


def error(found: torch.Tensor, expected: torch.Tensor, precision: torch.Tensor) -> float:
    """Largest error of rows in the norm of Λ, relative to the expected."""
    difference = found - expected
    squares = ((difference @ precision) * difference).sum(-1) / ((expected @ precision) * expected).sum(-1)
    return math.sqrt(float(squares.max()))


def test_prior_on_cells_and_its_adjoint_are_adjoint(problem):
    v, y = normal(3, problem.model.prior.latent_size), normal(3, 24, seed=1)
    left, right = (problem.cells.apply(v) * y).sum(-1), (v * problem.cells.adjoint(y)).sum(-1)
    assert_allclose(left, right, rtol=1e-11)


def test_the_covariance_of_the_cells_is_that_of_the_prior(problem, monkeypatch):
    matrix = problem.cells.apply(torch.eye(problem.model.prior.latent_size, dtype=torch.float64)).mT
    monkeypatch.setattr("gpdust.inference.cells.COVARIANCE_NUMBERS", 5 * problem.model.prior.latent_size)
    covariance = PriorOnCells(problem.model, NOTHING).covariance
    assert_allclose(covariance, matrix @ matrix.mT, rtol=1e-10, atol=1e-14)


def test_the_product_is_that_of_the_dense_matrix(problem):
    v = normal(4, problem.model.prior.latent_size)
    assert error(problem.matrix_free().product(v), v @ problem.dense, torch.linalg.inv(problem.dense)) < 1e-11


@pytest.mark.parametrize("damping", [0.0, 7.0])
@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("batch_latents", [1_000_000, 1])
def test_the_solution_is_that_of_the_dense_matrix(problem, monkeypatch, damping, preconditioned, batch_latents):
    monkeypatch.setattr(matrix_free, "BATCH_LATENTS", batch_latents)
    precision = problem.matrix_free(problem.preconditioner(12) if preconditioned else None)
    matrix = problem.dense + damping * torch.eye(len(problem.dense), dtype=torch.float64)
    right = normal(3, len(matrix))
    expected = torch.linalg.solve(matrix, right.mT).mT
    for tolerance in (0.1, 1e-8):
        found = precision.solve(right, tolerance, damping)
        assert error(found, expected, matrix) < 2 * tolerance
    started = precision.solve(right, 1e-8, damping, start=expected + 1e-3 * normal(3, len(matrix), seed=2))
    assert error(started, expected, matrix) < 2e-8
    assert len(precision.iterations) == 3 * (1 if batch_latents > 1 else 3)


def test_the_dense_precision_is_the_matrix_free_one(small_model):
    problem = Problem(small_model())
    dense = DensePrecision(problem.cells, problem.metric)
    assert_allclose(dense.matrix, problem.dense, rtol=1e-9, atol=1e-9)
    v = normal(3, 12)
    assert_allclose(dense.product(v), problem.matrix_free().product(v), rtol=1e-9)
    for damping in (0.0, 3.0):
        free = problem.matrix_free().solve(v, 1e-10, damping)
        assert_allclose(dense.solve(v, 0.1, damping), free, rtol=1e-7, atol=1e-9)
    factor = dense.covariance_factor()
    assert_allclose(factor @ factor.mT @ problem.dense, torch.eye(12), atol=1e-8)
    assert dense.log_determinant()[0] == pytest.approx(float(torch.linalg.slogdet(problem.dense)[1]), rel=1e-10)
    assert dense.log_determinant()[1] == 0.0


@pytest.mark.parametrize("chunk_bytes", [1, 256e6])
def test_chunks_of_rays_do_not_change_the_dense_precision(small_model, monkeypatch, chunk_bytes):
    monkeypatch.setattr("gpdust.model.CHUNK_BYTES", chunk_bytes)
    problem = Problem(small_model())
    dense = DensePrecision(problem.cells, problem.metric)
    assert_allclose(dense.matrix, problem.dense, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_the_log_determinant_is_that_of_the_dense_matrix_within_its_error(problem, preconditioned):
    preconditioner = problem.preconditioner(12) if preconditioned else None
    found, spread = np.array([problem.matrix_free(preconditioner, seed).log_determinant() for seed in range(16)]).T
    expected = float(torch.linalg.slogdet(problem.dense)[1])
    assert expected > 10
    assert 0.6 < spread.mean() / found.std(ddof=1) < 1.6
    assert abs(found.mean() - expected) < 4 * found.std(ddof=1) / math.sqrt(16)


def test_latents_that_no_star_sees_do_not_spoil_the_log_determinant(mock_stars, region):
    """Sylvester: |I + BᵀGB| = |I + G BBᵀ|, a matrix of the cells, however many latents there are."""
    model = spectral_model(mock_stars(200), region.grid((5, 4, 6)), spacing=8.0)
    assert model.prior.latent_size > 200 * 120
    cells, response = PriorOnCells(model, NOTHING), Response(model)
    latent = torch.zeros(model.prior.latent_size, dtype=torch.float64)
    metric = response.metric(cells.log_density(latent))
    rows = cells.adjoint(torch.eye(120, dtype=torch.float64))
    exact = float(
        torch.linalg.slogdet(torch.eye(120) + torch.block_diag(*metric.blocks(slice(None))) @ rows @ rows.mT)[1]
    )
    # The exact one leaves no noise: what is left would be the error of the quadrature.
    for some in (Preconditioner(cells, metric), of_coarser(model, latent, 60)):
        found, spread = MatrixFreePrecision(cells, metric, some).log_determinant()
        assert abs(found - exact) < 0.2 + 3 * spread


def test_with_the_model_itself_as_preconditioner_the_log_determinant_is_exact(problem):
    found, spread = problem.matrix_free(problem.preconditioner()).log_determinant()
    assert found == pytest.approx(float(torch.linalg.slogdet(problem.dense)[1]), abs=1e-3)
    assert spread < 1e-3


def test_the_preconditioner_of_the_model_itself_is_the_inverse(problem):
    identity = torch.eye(len(problem.dense), dtype=torch.float64)
    preconditioner = problem.preconditioner()
    assert_allclose(preconditioner(problem.dense), identity, atol=1e-6)
    assert preconditioner.log_determinant == pytest.approx(float(torch.linalg.slogdet(problem.dense)[1]), abs=1e-5)


@pytest.mark.parametrize("cells", [None, 12])
def test_a_preconditioner_is_symmetric_and_positive_and_colours_noise_with_its_inverse(problem, cells):
    size, preconditioner = len(problem.dense), problem.preconditioner(cells)
    inverse = preconditioner(torch.eye(size, dtype=torch.float64))
    assert_allclose(inverse, inverse.mT, atol=1e-10)
    assert float(torch.linalg.eigvalsh(inverse)[0]) > 0
    root = preconditioner.coloured(
        torch.eye(size + preconditioner.rank, dtype=torch.float64)[:, :size],
        torch.eye(size + preconditioner.rank, dtype=torch.float64)[:, size:],
    )
    assert_allclose(root.mT @ root @ inverse, torch.eye(size), atol=1e-5)
    assert preconditioner.log_determinant == pytest.approx(-float(torch.linalg.slogdet(inverse)[1]), abs=1e-4)


def test_a_preconditioner_never_exceeds_the_precision_that_it_was_built_for(problem, monkeypatch):
    """Also where it holds a subspace only: the eigenvalues of P⁻¹Λ are at least one, and at most about REST."""
    monkeypatch.setattr(preconditioners, "EXACT_CELLS", 1)
    monkeypatch.setattr(preconditioners, "BLOCK", 3)
    most = float(torch.linalg.eigvalsh(problem.dense)[-1])
    monkeypatch.setattr(preconditioners, "REST", most / 100)
    preconditioner = problem.preconditioner()
    assert 3 <= preconditioner.rank < 24
    left = torch.linalg.eigvals(preconditioner(problem.dense)).real
    assert float(left.min()) > 1 - 1e-6 and float(left.max()) < most / 10


@pytest.mark.parametrize("exact_cells", [1, 100])
def test_a_density_that_has_overflowed_cannot_be_preconditioned(problem, monkeypatch, exact_cells):
    monkeypatch.setattr(preconditioners, "EXACT_CELLS", exact_cells)
    metric = problem.response.metric(torch.full_like(problem.cells.offset, 400.0))
    with pytest.raises(InferenceError, match="density has overflowed"):
        Preconditioner(problem.cells, metric)


def test_a_density_that_has_overflowed_has_no_dense_precision(small_model):
    model = small_model()
    cells = PriorOnCells(model, torch.zeros(0, dtype=torch.float64))
    metric = Response(model).metric(torch.full_like(cells.offset, 400.0))
    with pytest.raises(InferenceError, match="latents can't be inverted: a density has overflowed"):
        DensePrecision(cells, metric).factor()


def test_a_krylov_space_holds_the_leading_directions(monkeypatch):
    monkeypatch.setattr(preconditioners, "BLOCK", 10)
    values = torch.logspace(6, -2, 200, dtype=torch.float64)
    rotation = torch.linalg.qr(normal(200, 200))[0]
    matrix = (rotation * values) @ rotation.mT
    basis, projected = krylov_space(lambda rows: rows @ matrix, 200, 200, rest=10.0)
    assert len(basis) < 200
    assert_allclose(basis @ basis.mT, torch.eye(len(basis)), atol=1e-10)
    assert_allclose(projected, basis @ matrix @ basis.mT, atol=1e-6)
    left = torch.eye(200, dtype=torch.float64) - basis.mT @ basis
    assert float(torch.linalg.matrix_norm(left @ matrix @ left, 2)) < 50
    whole, _ = krylov_space(lambda rows: rows @ matrix, 200, 200, rest=0.0)
    assert len(whole) == 200
    assert_allclose(whole @ whole.mT, torch.eye(200), atol=1e-8)


def test_a_krylov_space_holds_the_few_directions_that_few_stars_know(monkeypatch):
    """Random directions see next to nothing of them: the mean eigenvalue is 3, the largest 10 000."""
    monkeypatch.setattr(preconditioners, "BLOCK", 10)
    values = torch.cat([torch.logspace(4, 1.8, 4, dtype=torch.float64), torch.linspace(0, 1, 4996).double()])
    basis, projected = krylov_space(lambda rows: rows * values, 5000, 1000, rest=50.0)
    assert len(basis) < 100
    assert_allclose(torch.linalg.eigvalsh(projected)[-4:], values[:4].flip(0), rtol=1e-3)


def test_a_preconditioner_is_replaced_when_a_new_one_pays(small_model, monkeypatch):
    monkeypatch.setattr(preconditioners, "EXACT_CELLS", 1)
    model = small_model(learn=True)
    theta = torch.zeros(model.prior.theta_size, dtype=torch.float64)
    preconditioning, response = Preconditioning(model), Response(model)

    def at(theta: torch.Tensor) -> Preconditioner:
        objective = Objective(PriorOnCells(model, theta), response)
        latent = torch.zeros(model.prior.latent_size, dtype=torch.float64)
        return preconditioning.at(objective, objective.place(latent, torch.zeros(0, len(latent))))

    first = at(theta)
    first.was_used(preconditioners.USUAL, 1000)  # no more than is usual
    assert at(theta + 0.9 * preconditioners.MOVED) is first
    assert at(theta + 1.1 * preconditioners.MOVED) is not first
    second = at(theta + 1.1 * preconditioners.MOVED)
    second.was_used(preconditioners.USUAL + 1, second.rank + 1)
    assert at(theta + 1.1 * preconditioners.MOVED) is not second


def test_large_models_are_preconditioned_by_coarser_ones(mock_stars, region, monkeypatch):
    monkeypatch.setattr(preconditioners, "MOST_CELLS", 100)
    monkeypatch.setattr(preconditioners, "FEWER_CELLS", 200)
    model = spectral_model(mock_stars(300), region.grid((6, 6, 12)), spacing=10.0)
    latent = 0.1 * normal(model.prior.latent_size)
    objective = Objective(PriorOnCells(model, NOTHING), Response(model))
    place = objective.place(latent, torch.zeros(0, len(latent)))
    preconditioner = Preconditioning(model).at(objective, place)
    assert preconditioner.rank <= 200
    metric = objective.metric(place)
    right = objective.cells.adjoint(metric.root(normal(2, 432)))
    plain = MatrixFreePrecision(objective.cells, metric, None)
    helped = MatrixFreePrecision(objective.cells, metric, preconditioner)
    expected = plain.solve(right, 1e-8)
    assert_allclose(helped.solve(right, 1e-8), expected, atol=1e-5 * float(expected.abs().max()))
    assert helped.iterations[0][1] < 0.6 * plain.iterations[0][1]


def test_shared_latents_are_added_where_they_were_taken_from(mock_stars, region):
    model = spectral_model(mock_stars(100), region.grid((6, 6, 12)), spacing=10.0)
    coarse = model.coarsened(40)
    shared = SharedLatents(coarse.prior.box, model.prior.box)
    fine, small = normal(model.prior.latent_size), normal(coarse.prior.latent_size, seed=1)
    assert len(small) < len(fine) / 4
    added = shared.add(torch.zeros_like(fine), small)
    assert_allclose((shared.restrict(fine) * small).sum(), (fine * added).sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["spectral", "inducing"])
def test_the_preconditioner_saves_most_iterations_where_stars_are_precise(
    catalogue, region, small_prior, monkeypatch, kind
):
    monkeypatch.setattr(preconditioners, "EXACT_CELLS", 1)
    rng = np.random.default_rng(0)
    d = rng.uniform(180, 300, 2000)
    error = 10 ** rng.uniform(-3 if kind == "spectral" else -4, 0, 2000)
    stars = catalogue(rng.uniform(50, 90, 2000), rng.uniform(-10, 10, 2000), d, 1.6e-3 * (d - 180), error)
    grid = region.grid((8, 8, 12))
    model = spectral_model(stars, grid, 20.0) if kind == "spectral" else gpdust.DustModel(stars, grid, small_prior(60))
    cells = PriorOnCells(model, NOTHING)
    response, latent = Response(model), torch.zeros(model.prior.latent_size, dtype=torch.float64)
    metric = response.metric(cells.log_density(latent))
    preconditioner = Preconditioner(cells, metric)
    plain = MatrixFreePrecision(cells, metric, None)
    helped = MatrixFreePrecision(cells, metric, preconditioner)
    right = cells.adjoint(metric.root(normal(8, 768)))
    plain.solve(right, 0.01)
    helped.solve(right, 0.01)
    assert plain.iterations[0][1] > 40
    assert helped.iterations[0][1] <= plain.iterations[0][1] / 4


def test_draws_have_the_covariance_of_the_inverse(problem):
    """Draws are linear in their noise: applied to a rotation, they are a root of the covariance."""
    size = len(problem.dense)
    rotation = torch.linalg.qr(normal(size + 24, size + 24))[0]
    latents, cells = rotation[:, :size].contiguous(), rotation[:, size:].contiguous()
    covariance = torch.linalg.inv(problem.dense)
    precisions = [problem.matrix_free(problem.preconditioner(12))]
    if size < 100:
        precisions.append(DensePrecision(problem.cells, problem.metric))
    for precision in precisions:
        root = precision.draws(latents, cells, 1e-9)
        assert_allclose(root.mT @ root, covariance, atol=1e-6)


def test_an_error_of_a_draw_is_measured_by_what_the_stars_have_changed(problem):
    precision = problem.matrix_free(problem.preconditioner(12))
    noise, cells = normal(6, len(problem.dense)), normal(6, 24, seed=1)
    exact, found = precision.draws(noise, cells, 1e-10), precision.draws(noise, cells, 0.03)
    moved = problem.cells.adjoint(problem.metric.root(cells))
    scale = (torch.linalg.solve(problem.dense, moved.mT).mT * moved).sum(-1)
    difference = found - exact
    assert float((((difference @ problem.dense) * difference).sum(-1) / scale).max()) < (3 * 0.03) ** 2


def test_conjugate_gradients_leave_a_solved_right_side_alone():
    matrix = torch.diag(torch.arange(1.0, 21.0, dtype=torch.float64))
    right = torch.stack([matrix[0], normal(20)])  # the first is solved in one step
    solution = conjugate_gradient(lambda v: v @ matrix, right, lambda v: v, 1e-10, 100)
    assert_allclose(solution.x, right / torch.arange(1.0, 21.0), rtol=1e-8, atol=1e-9)
    assert torch.isnan(solution.steps[1][0]) and 10 < solution.iterations <= 25
    expected = (right.square() * matrix.diagonal().log()).sum(-1)
    assert_allclose(solution.log_form(), expected, rtol=1e-6, atol=1e-9)


def test_conjugate_gradients_stop_at_a_floor_or_a_number_of_iterations():
    matrix = torch.diag(torch.logspace(0, 6, 50, dtype=torch.float64))
    right = normal(1, 50)
    assert conjugate_gradient(lambda v: v @ matrix, right, lambda v: v, 1e-12, 7).iterations == 7
    assert conjugate_gradient(lambda v: v @ matrix, right, lambda v: v, 0.0, 1000, floor=1e9).iterations == 0
    solved = conjugate_gradient(lambda v: v @ matrix, right, lambda v: v, 0.1, 100, scale=torch.full((1,), 1e-30))
    assert solved.iterations == 100


@pytest.mark.parametrize("cells", [None, 12])
def test_what_stars_know_of_latents_is_the_rest_of_the_inverse(problem, cells):
    v = normal(3, len(problem.dense), seed=5)
    expected = v - torch.linalg.solve(problem.dense, v.mT).mT
    for precision in (problem.matrix_free(problem.preconditioner(cells)), problem.matrix_free()):
        assert_allclose(precision.known(v, 1e-9), expected, atol=1e-6)


def test_a_determinant_that_overflows_is_a_message(problem):
    precision = problem.matrix_free()
    precision.product = lambda latent: latent * math.nan
    with pytest.raises(InferenceError, match="not finite"):
        precision.log_determinant()


@pytest.mark.parametrize("bad", [True, False])
def test_the_first_draws_have_a_preconditioner_of_their_own_where_the_last_was_bad(spectral_model, monkeypatch, bad):
    """That of the climb was made where that began; many solves would suffer more from it than the few it served."""
    monkeypatch.setattr(preconditioners, "EXACT_CELLS", 0)  # those that are exact are never kept
    monkeypatch.setattr(preconditioners, "USUAL", -1 if bad else 1000)
    monkeypatch.setattr(Preconditioner, "is_stale", lambda *_: False)
    engine, bar = Newton(spectral_model(), NewtonOptions(coarse_start=False), dense=False), Progress(1, shown=False)
    climbed = engine.stage(engine.init(0), bar)
    of_climb = engine._preconditioning._last
    settling = engine.stage(climbed, bar)
    of_draws = engine._preconditioning._last
    assert (of_draws is not of_climb) == bad
    engine.stage(settling, bar)
    assert engine._preconditioning._last is of_draws
