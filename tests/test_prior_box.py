"""The periodic box: white noise on Fourier modes to fields on nodes, against waves written out by hand."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from gpdust.prior import box as box_module
from gpdust.prior.box import PeriodicBox

SHAPES = [(4, 6, 8), (6, 4, 10), (2, 8, 6), (10, 6, 2)]


def make(shape: tuple[int, int, int], lengths=(40.0, 70.0, 90.0)) -> PeriodicBox:
    return PeriodicBox((-3.0, 5.0, 11.0), lengths, shape)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def weight_of(box: PeriodicBox, seed: int = 1) -> torch.Tensor:
    return normal(*box.half_shape, seed=seed).abs() + 0.1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize(
    "limits", [{}, {"BATCH_NODES": 1}, {"LARGE_NODES": 1}, {"BATCH_NODES": 1, "LARGE_NODES": 1}], ids=str
)
def test_field_and_its_adjoint_are_adjoint(monkeypatch, shape, batch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(box_module, name, value)
    box = make(shape)
    weight = weight_of(box)
    v, y = normal(*batch, box.latent_size), normal(*batch, box.n_nodes, seed=2)
    field, back = box.field(v, weight), box.field_adjoint(y, box.adjoint_weight(weight))
    assert field.shape == y.shape and back.shape == v.shape
    scale = field.norm(dim=-1) * y.norm(dim=-1)
    assert_allclose(((field * y).sum(-1) - (v * back).sum(-1)) / scale, 0, atol=1e-12)


@pytest.mark.parametrize("limits", [{"BATCH_NODES": 1}, {"LARGE_NODES": 1}], ids=str)
def test_large_boxes_take_another_way_to_the_same_field(monkeypatch, limits):
    box = make((4, 6, 8))
    weight, v, y = weight_of(box), normal(3, box.latent_size), normal(3, box.n_nodes, seed=2)
    expected = box.field(v, weight), box.field_adjoint(y, box.adjoint_weight(weight))
    for name, value in limits.items():
        monkeypatch.setattr(box_module, name, value)
    found = box.field(v, weight), box.field_adjoint(y, box.adjoint_weight(weight))
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_unit_latent_is_a_cosine_or_a_sine(shape):
    box = make(shape)
    weight = weight_of(box)
    fields = box.field(torch.eye(box.latent_size, dtype=torch.float64), weight)
    assert fields.dtype == torch.float64
    nodes = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    steps = np.array(box.spacing)
    waves = torch.stack(torch.broadcast_tensors(*box.wave_numbers()), dim=-1).reshape(-1, 3).numpy()
    phase = waves @ (nodes * steps).T
    amplitude = (weight * box.multiplicity() / box.n_nodes).reshape(-1, 1).numpy()
    assert_allclose(fields[0::2], amplitude * np.cos(phase), atol=1e-13)
    assert_allclose(fields[1::2], -amplitude * np.sin(phase), atol=1e-13)


def test_the_variance_of_a_field_is_the_sum_over_all_modes():
    box = make((6, 8, 10))
    power = weight_of(box)
    # One or two modes of the whole for each of the half: what the prior makes of a power spectrum.
    weight = (power / box.multiplicity()).sqrt() * box.n_nodes
    variance = box.field(torch.eye(box.latent_size, dtype=torch.float64), weight).square().sum(0)
    assert_allclose(variance, float((power * box.multiplicity()).sum()), rtol=1e-12)
    assert float(box.multiplicity().sum()) * 6 * 8 == box.n_nodes


@pytest.mark.parametrize(
    ("coarse", "fine"), [((4, 6, 8), (8, 12, 16)), ((4, 6, 8), (4, 6, 8)), ((6, 4, 8), (10, 6, 12))]
)
def test_transfer_gives_the_same_field_on_a_finer_box(coarse, fine):
    coarse, fine = make(coarse), make(fine)
    here, there = coarse.transfer_indices(fine)
    assert len(here) == len(there) == len(set(there.tolist()))
    latent = torch.zeros(3, coarse.latent_size, dtype=torch.float64)
    latent[:, here] = normal(3, len(here))  # no wave at the Nyquist frequency
    moved = coarse.transfer(latent, fine)
    fields = [
        box.field(v, torch.full(box.half_shape, float(box.n_nodes), dtype=torch.float64)).unflatten(-1, box.shape)
        for box, v in ((coarse, latent), (fine, moved))
    ]
    if all(m % n == 0 for m, n in zip(fine.shape, coarse.shape, strict=True)):
        i, j, k = (m // n for m, n in zip(fine.shape, coarse.shape, strict=True))
        assert_allclose(fields[1][:, ::i, ::j, ::k], fields[0], atol=1e-12)
    modes = [torch.fft.rfftn(field, dim=(-3, -2, -1), norm="forward").flatten(1) for field in fields]
    assert_allclose(modes[1][:, there[::2] // 2], modes[0][:, here[::2] // 2], atol=1e-13)
    assert_allclose(modes[1].abs().square().sum(-1), modes[0].abs().square().sum(-1), rtol=1e-12)  # and no others


def test_nyquist_modes_are_left_out_of_a_transfer():
    box = make((4, 6, 8))
    here, _ = box.transfer_indices(make((8, 12, 16)))
    kept = torch.zeros(box.latent_size, dtype=torch.bool)
    kept[here] = True
    kept = kept.reshape(*box.half_shape, 2)
    assert not kept[2].any() and not kept[:, 3].any() and not kept[..., 4, :].any()
    assert int(kept.sum()) == 2 * 3 * 5 * 4


def test_a_box_around_a_volume_holds_it_with_its_padding():
    low, high, padding = (-100.0, 3.0, -20.0), (50.0, 90.0, 20.0), (30.0, 60.0, 10.0)
    box = PeriodicBox.around(low, high, padding, 7.0)
    assert all(n % 2 == 0 for n in box.shape)
    for near, far, extra, start, length, step in zip(
        low, high, padding, box.origin, box.lengths, box.spacing, strict=True
    ):
        assert step <= 7.0 + 1e-12
        assert start <= near - step + 1e-9
        assert start + length >= far + extra + step - 1e-9
    assert_allclose(box.volume, math.prod(box.lengths))


def test_a_coarser_box_has_the_same_lengths_and_fewer_nodes():
    box = make((12, 20, 30))
    coarse = box.coarser(2.5)
    assert coarse.lengths == box.lengths and coarse.origin == box.origin
    assert all(n % 2 == 0 and n <= m and n >= m / 2.5 for n, m in zip(coarse.shape, box.shape, strict=True))
    assert box.coarser(1.0) == box


def test_the_response_of_interpolation_is_what_trilinear_weights_make_of_a_wave():
    """Between two nodes a share t apart: the variance of a wave averaged over t, and its projection on that wave."""
    box = make((8, 8, 8), (80.0, 80.0, 80.0))
    amplitude, variance = box.interpolation_response()
    kx = box.wave_numbers()[0].flatten()
    t = (np.arange(2000) + 0.5) / 2000
    for index, k in enumerate(kx.tolist()):
        value = (1 - t) + t * np.exp(1j * k * 10)
        assert_allclose(variance[index, 0, 0], np.mean(np.abs(value) ** 2), rtol=1e-5)
        assert_allclose(amplitude[index, 0, 0], np.abs(np.mean(value * np.exp(-1j * k * 10 * t))), rtol=1e-5)
