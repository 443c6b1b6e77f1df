"""The variational Gaussian against torch's own."""

import pytest
import torch
from numpy.testing import assert_allclose
from pyro.distributions import Normal
from torch.distributions import MultivariateNormal, kl_divergence

from gpdust.inference import WhitenedGaussian

SIZE = 5


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.fixture
def guide(generator) -> WhitenedGaussian:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    rotation, _ = torch.linalg.qr(random(SIZE, SIZE))
    factor = torch.eye(SIZE, dtype=torch.float64) + 0.3 * random(SIZE, SIZE)
    factor = factor.tril(-1) + torch.diag(factor.diagonal().abs() + 0.2)
    return WhitenedGaussian(random(SIZE), rotation, random(SIZE).exp(), factor, generator)


@pytest.fixture
def theirs(guide) -> MultivariateNormal:
    """The covariance put together from its definition, U s T Tᵀ s Uᵀ."""
    root = guide.rotation @ torch.diag(guide.scale) @ guide.factor
    return MultivariateNormal(guide.mean_vector, root @ root.mT)


def standard_normal() -> Normal:
    return Normal(torch.zeros(SIZE, dtype=torch.float64), 1.0).to_event(1)


def test_the_scale_matrix_is_a_root_of_the_covariance(guide, theirs):
    assert_allclose(guide.scale_matrix() @ guide.scale_matrix().mT, theirs.covariance_matrix, rtol=1e-12)


def test_draws_have_the_mean_and_covariance(guide, theirs):
    draws = guide.rsample((200_000,))
    assert_allclose(draws.mean(0), guide.mean_vector, atol=1e-10)  # exactly: draws are mirrored
    scale = theirs.covariance_matrix.diagonal().sqrt()
    correlation = (draws.mT.cov() - theirs.covariance_matrix) / torch.outer(scale, scale)
    assert_allclose(correlation, 0, atol=0.02)


def test_scaled_noise_is_the_scale_matrix_applied(guide):
    noise = torch.randn(3, 2, SIZE, dtype=torch.float64)
    assert_allclose(guide.scaled(noise), noise @ guide.scale_matrix().mT, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (7,)])
def test_draws_come_in_mirrored_pairs(guide, shape):
    draws = guide.rsample(shape)
    assert draws.shape == (*shape, SIZE)
    away = draws.reshape(-1, SIZE) - guide.mean_vector
    pairs = len(away) // 2
    assert_allclose(away[:pairs], -away[-pairs:], atol=1e-12)


def test_the_same_generator_state_gives_the_same_draws(guide):
    state = guide.generator.get_state()
    first = guide.rsample((4,))
    guide.generator.set_state(state)
    assert torch.equal(guide.rsample((4,)), first)
    assert not torch.equal(guide.rsample((4,)), first)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_the_log_density_is_that_of_torch(guide, theirs, shape):
    value = torch.randn(*shape, SIZE, dtype=torch.float64)
    assert_allclose(guide.log_prob(value), theirs.log_prob(value), rtol=1e-10)


def test_the_divergence_is_that_of_torch(guide, theirs):
    standard = MultivariateNormal(torch.zeros(SIZE, dtype=torch.float64), torch.eye(SIZE, dtype=torch.float64))
    assert_allclose(kl_divergence(guide, standard_normal()), kl_divergence(theirs, standard), rtol=1e-12)


def test_the_divergence_is_a_mean_over_draws(guide):
    draws = guide.rsample((400_000,))
    values = guide.log_prob(draws) - standard_normal().log_prob(draws)
    error = float(values.std()) / len(values) ** 0.5
    assert abs(float(kl_divergence(guide, standard_normal()) - values.mean())) < 5 * error


def test_the_divergence_from_itself_is_zero():
    eye = torch.eye(SIZE, dtype=torch.float64)
    guide = WhitenedGaussian(torch.zeros(SIZE, dtype=torch.float64), eye, torch.ones(SIZE, dtype=torch.float64), eye)
    assert float(kl_divergence(guide, standard_normal())) == 0


def test_the_divergence_and_the_draws_are_differentiable(guide, theirs):
    mean = guide.mean_vector.clone().requires_grad_()
    factor = guide.factor.clone().requires_grad_()
    ours = WhitenedGaussian(mean, guide.rotation, guide.scale, factor, guide.generator)
    gradients = torch.autograd.grad(kl_divergence(ours, standard_normal()), (mean, factor))
    root = guide.rotation @ torch.diag(guide.scale) @ factor
    standard = MultivariateNormal(torch.zeros(SIZE, dtype=torch.float64), torch.eye(SIZE, dtype=torch.float64))
    expected = torch.autograd.grad(kl_divergence(MultivariateNormal(mean, root @ root.mT), standard), (mean, factor))
    assert_allclose(gradients[0], expected[0], rtol=1e-9)
    assert_allclose(gradients[1].tril(), expected[1].tril(), rtol=1e-8, atol=1e-10)
    (of_draws,) = torch.autograd.grad(ours.rsample((3,)).sum(), mean)
    assert_allclose(of_draws, 3.0)


def test_only_the_divergence_from_a_standard_normal_is_known(guide):
    other = Normal(torch.ones(SIZE, dtype=torch.float64), 1.0).to_event(1)
    with pytest.raises(NotImplementedError):
        kl_divergence(guide, other)


def test_an_expanded_guide_draws_as_many(guide):
    several = guide.expand(torch.Size([8]))
    assert several.rsample().shape == (8, SIZE)
    assert several.log_prob(several.rsample()).shape == (8,)
    assert kl_divergence(several, standard_normal()).shape == (8,)


def precision_of(gaussian: WhitenedGaussian) -> torch.Tensor:
    return torch.linalg.inv(gaussian.scale_matrix() @ gaussian.scale_matrix().mT)


@pytest.fixture
def plain(guide) -> WhitenedGaussian:
    return WhitenedGaussian(guide.mean_vector, guide.rotation, guide.scale, generator=guide.generator)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_natural_gradient_step_goes_a_share_of_the_way_in_precision(plain, share):
    start = plain
    before = precision_of(start)
    target = before + torch.diag(torch.linspace(0, 50, SIZE, dtype=torch.float64))
    found = start.towards(target, share, most_widening=4.0)
    assert_allclose(precision_of(found), (1 - share) * before + share * target, rtol=1e-8, atol=1e-8)
    assert_allclose(found.rotation.mT @ found.rotation, torch.eye(SIZE), atol=1e-12)
    assert torch.equal(found.mean_vector, start.mean_vector)


def test_no_step_widens_a_gaussian_without_limit(plain):
    indefinite = -100 * torch.eye(SIZE, dtype=torch.float64)
    found = plain.towards(indefinite, 1.0, most_widening=4.0)
    assert_allclose(precision_of(found), precision_of(plain) / 4, rtol=1e-8, atol=1e-10)


def test_rounding_beside_the_sharpest_directions_widens_nothing(generator):
    """Fourteen orders of magnitude leave nothing of the smallest eigenvalue of a precision."""
    rotation, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator))
    scale = torch.tensor([1.0, 1.0, 1e-3, 1e-7, 1e-10], dtype=torch.float64)
    sharp = WhitenedGaussian(torch.zeros(SIZE, dtype=torch.float64), rotation, scale, generator=generator)
    found = sharp.towards((rotation / scale.square()) @ rotation.mT, 1.0, most_widening=4.0)
    assert float(torch.linalg.svdvals(found.scale_matrix())[0]) <= 2 * (1 + 1e-12)


def test_another_source_of_draws_leaves_the_first_one_alone(guide):
    before = guide.generator.get_state()
    other = guide.drawing_from(torch.Generator().manual_seed(3))
    draws = other.rsample((4,))
    assert torch.equal(guide.generator.get_state(), before)
    assert torch.equal(guide.drawing_from(torch.Generator().manual_seed(3)).rsample((4,)), draws)


def test_without_a_factor_it_is_the_identity(guide, theirs):
    identity = torch.eye(SIZE, dtype=torch.float64)
    plain, with_one = (WhitenedGaussian(guide.mean_vector, guide.rotation, guide.scale, f) for f in (None, identity))
    value = torch.randn(3, SIZE, dtype=torch.float64)
    assert_allclose(plain.log_prob(value), with_one.log_prob(value), rtol=1e-12)
    assert_allclose(plain.scaled(value), with_one.scaled(value), rtol=1e-12)
    assert_allclose(plain.log_volume(), with_one.log_volume(), rtol=1e-12)
    assert_allclose(plain.scale_matrix(), with_one.scale_matrix(), rtol=1e-12)
    divergences = [kl_divergence(q, standard_normal()) for q in (plain, with_one)]
    assert_allclose(*divergences, rtol=1e-12)
