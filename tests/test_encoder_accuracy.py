"""How well a V-net knows the log-density, by how much stars know."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpdust.encoder.accuracy import EMPTY, Accuracy, log_density


def cubes(count: int = 4, cells: int = 16):
    """Densities found with an error of 0.1 dex where much is known and 0.4 dex where little is."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        true = 10 ** rng.normal(-3, 0.05, (cells,) * 3)
        much = np.arange(cells) < cells // 2
        information = np.where(much, 1e3, 1.0)[:, None, None] * rng.uniform(0.9, 1.1, true.shape)
        error = np.where(much, 0.1, 0.4)[:, None, None] * rng.choice([-1, 1], true.shape)
        yield true * 10**error, true, information


def test_errors_are_found_by_information():
    found = Accuracy.measured(cubes())
    assert_allclose(found.at(np.log1p([1.0, 1e3])), [0.4, 0.1], rtol=1e-3)
    assert_allclose(found.at(np.array([-5.0, 99.0])), [0.4, 0.1], rtol=1e-3)
    assert Accuracy.from_dict(found.as_dict()) == found


def test_cells_that_all_know_the_same_are_one_bin():
    found = Accuracy.measured((x, y, np.full(x.shape, 7.0)) for x, y, _ in cubes(2))
    assert found.information == (round(float(np.log(8)), 4),)
    assert found.error == (pytest.approx(np.sqrt((0.1**2 + 0.4**2) / 2), rel=1e-3),)


def test_next_to_nothing_counts_as_a_tenth_of_the_mean():
    density = np.array([0.0, 1e-9, 1.0, 3.0])
    assert_allclose(log_density(density), np.log10([EMPTY, EMPTY, 1, 3]), atol=1e-8)
    assert np.isfinite(log_density(np.zeros(4))).all()
