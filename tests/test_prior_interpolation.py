"""Trilinear interpolation on a periodic box."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.autograd import gradcheck

from gpdust.errors import GridError
from gpdust.prior.box import PeriodicBox
from gpdust.prior.interpolation import Interpolation

BOX = PeriodicBox((-30.0, 10.0, 0.0), (60.0, 40.0, 80.0), (6, 8, 10))
ORIGIN, LENGTHS, SPACING = (np.array(value) for value in (BOX.origin, BOX.lengths, BOX.spacing))


def points(count: int, seed: int = 0, share: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(ORIGIN + share * LENGTHS * np.random.default_rng(seed).uniform(0, 1, (count, 3)))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def nodes() -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in BOX.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    return ORIGIN + index * SPACING


@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3)])
def test_interpolation_and_its_adjoint_are_adjoint(batch):
    interpolation = Interpolation(BOX, points(25))
    field, values = normal(*batch, BOX.n_nodes), normal(*batch, 25, seed=1)
    forward, back = interpolation(field), interpolation.adjoint(values)
    assert forward.shape == values.shape and back.shape == field.shape and len(interpolation) == 25
    scale = forward.norm(dim=-1) * values.norm(dim=-1)
    assert_allclose(((forward * values).sum(-1) - (field * back).sum(-1)) / scale, 0, atol=1e-12)
    assert torch.equal(forward, interpolation.forward(field))


def test_the_rows_are_the_matrix_that_it_multiplies_by():
    interpolation = Interpolation(BOX, torch.cat([points(9), torch.from_numpy(ORIGIN + LENGTHS)[None]]))
    by_columns = interpolation.forward(torch.eye(BOX.n_nodes, dtype=torch.float64)).mT
    assert_allclose(interpolation.rows(slice(2, 10)), by_columns[2:10], atol=1e-15)


def test_interpolation_is_differentiable():
    interpolation = Interpolation(BOX, points(7))
    assert gradcheck(interpolation, (normal(2, BOX.n_nodes).requires_grad_(),))


def test_a_linear_function_is_reproduced_inside():
    inside = points(50, share=0.8)  # short of the last node, beyond which the box begins anew
    slope = np.array([0.3, -1.7, 2.2])
    field = torch.from_numpy(4.0 + nodes() @ slope)
    assert_allclose(Interpolation(BOX, inside)(field), 4.0 + inside.numpy() @ slope, rtol=1e-12)


def test_products_of_linear_functions_are_reproduced_too():
    inside = points(50, share=0.8)
    field = torch.from_numpy((nodes() - 3.0).prod(-1))
    assert_allclose(Interpolation(BOX, inside)(field), (inside.numpy() - 3.0).prod(-1), rtol=1e-11, atol=1e-9)


def test_nodes_are_reproduced_exactly():
    field = normal(BOX.n_nodes)
    assert_allclose(Interpolation(BOX, torch.from_numpy(nodes()))(field), field, rtol=0, atol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_the_last_node_and_the_first_the_box_is_periodic(axis):
    field = normal(BOX.n_nodes)
    cube = field.reshape(BOX.shape).movedim(axis, 0)
    place = torch.from_numpy(ORIGIN.copy())[None].repeat(3, 1)
    place[0, axis] += LENGTHS[axis] - 0.25 * SPACING[axis]
    place[1, axis] += LENGTHS[axis]
    place[2, axis] += LENGTHS[axis] - SPACING[axis]
    first, last = float(cube[0, 0, 0]), float(cube[-1, 0, 0])
    assert_allclose(Interpolation(BOX, place)(field), [0.25 * last + 0.75 * first, first, last], rtol=1e-12)


@pytest.mark.parametrize("side", [-1, 1])
def test_points_outside_are_an_error_that_names_the_first(side):
    places = points(6)
    places[2] = torch.tensor([0.0, 20.0, 40.0 + side * 41.25])
    places[5] = torch.tensor([0.0, 20.0, 1e5])
    with pytest.raises(GridError, match=r"2 of 6 points lie outside.*the first at \[0\.0, 20\.0, -?\d+\.[0-9]\] pc"):
        Interpolation(BOX, places)


def test_no_point_is_no_value():
    assert Interpolation(BOX, points(0))(normal(2, BOX.n_nodes)).shape == (2, 0)
