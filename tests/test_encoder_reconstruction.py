"""A guess made to agree with the stars."""

from collections.abc import Callable

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.encoder import reconstruction
from gpdust.encoder.reconstruction import image_space_reconstruction
from gpdust.inference.response import Response

REGION = gpdust.Region((50, 60) * u.deg, (-5, 5) * u.deg, (200, 300) * u.pc, background=50 * u.pc)
DENSITY = 2e-3  # mag/pc
rng = np.random.default_rng(0)
L, B, D = rng.uniform(50, 60, 3000), rng.uniform(-5, 5, 3000), rng.uniform(200, 280, 3000)


@pytest.fixture
def make_response(catalogue) -> Callable[..., Response]:
    """Of stars in uniform dust, none of them in the padding behind the region."""

    def make(**columns) -> Response:
        stars = catalogue(L, B, D, DENSITY * (D - 200), np.full(3000, 0.01), **columns)
        prior = gpdust.SpectralGP("matern32", 60 * u.pc, 0.3, DENSITY * u.mag / u.pc, learn=False)
        return Response(gpdust.DustModel(stars, REGION.grid((4, 4, 5)), prior))

    return make


@pytest.fixture(params=[{}, {"distance_error": np.full(3000, 5.0) * u.pc}], ids=["exact distances", "uncertain"])
def response(request, make_response) -> Response:
    """With or without errors of the distances."""
    return make_response(**request.param)


def flat(response: Response, density: float) -> torch.Tensor:
    return torch.full((response.shape[0] * response.shape[1],), np.log10(density), dtype=torch.float64)


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0])
def test_a_wrong_density_becomes_that_which_the_stars_see(response, factor):
    start = flat(response, factor * DENSITY)
    found, seen = image_space_reconstruction(start, response)
    assert response.energy(found) < response.energy(start)
    assert float(10 ** found[seen].median()) == pytest.approx(DENSITY, rel=0.1)


def test_what_fits_stays_and_what_no_star_sees_stays(response):
    truth = flat(response, DENSITY)
    found, seen = image_space_reconstruction(truth, response)
    inside = np.zeros(response.shape, dtype=bool)
    inside[:, :4] = True
    assert seen.numpy()[inside.ravel()].all()
    assert not seen.all()
    assert_allclose(found[~seen], truth[~seen], rtol=1e-12)
    assert (found[seen] - truth[seen]).abs().median() < 0.05


def test_no_update_makes_stars_with_exact_distances_less_likely(make_response, monkeypatch):
    response = make_response()
    monkeypatch.setattr(reconstruction, "UPDATES", 1)
    place, energies = flat(response, 5 * DENSITY), []
    for _ in range(8):
        energies.append(float(response.energy(place)))
        place, _ = image_space_reconstruction(place, response)
    assert np.all(np.diff(energies) <= 1e-6)  # none is left where nothing is noisy
    assert energies[1] < energies[0]
