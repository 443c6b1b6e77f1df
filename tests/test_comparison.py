"""Several priors, the same stars: which one do they prefer?"""

import astropy.units as u
import numpy as np
import pytest

import gpdust
from gpdust.errors import InferenceError
from gpdust.simulate import prior_truth


@pytest.fixture(scope="module")
def drawn(catalogue, region, small_prior):
    """Stars of a density drawn from a prior with length scales of 50 pc."""
    grid = region.grid((3, 3, 8))
    density = prior_truth(small_prior(40, length_scale=50 * u.pc), grid, seed=1).density.to_value(u.mag / u.pc)
    rng = np.random.default_rng(0)
    rays, d = rng.integers(0, grid.n_rays, 800), rng.uniform(180, 300, 800)
    seen = (density[rays] * np.clip(d[:, None] - grid.edges[:-1], 0, grid.cell_lengths)).sum(-1)
    error = 0.05 * seen + 1e-3
    l, b = np.rad2deg(grid.ray_l[rays]), np.rad2deg(grid.ray_b[rays])
    return catalogue(l, b, d, seen + error * rng.standard_normal(800), error), grid


@pytest.fixture(scope="module")
def compared(drawn, small_prior):
    priors = {
        "ten times too dense": small_prior(40, length_scale=50 * u.pc, mean_density=1.6e-2 * u.mag / u.pc),
        "right": small_prior(40, length_scale=50 * u.pc),
        "far too smooth": small_prior(40, length_scale=2000 * u.pc, amplitude=0.05),
    }
    return gpdust.compare(*drawn, priors, progress=False)


def test_the_right_prior_is_preferred_to_badly_wrong_ones(compared):
    assert compared.best == "right"
    elbos = [posterior.report.elbo for posterior in compared.posteriors.values()]
    assert elbos == sorted(elbos, reverse=True)
    assert elbos[0] - elbos[1] > 10
    assert compared["right"].report.elbo == elbos[0]
    assert set(compared.posteriors) == {"right", "far too smooth", "ten times too dense"}


def test_the_table_has_a_line_for_each_prior_with_the_best_first(compared):
    header, *lines = str(compared).splitlines()
    assert header.split()[:2] == ["prior", "ELBO"]
    assert [next(name for name in compared.posteriors if line.startswith(name)) for line in lines] == list(
        compared.posteriors
    )
    assert "±" not in lines[0] and all("±" in line for line in lines[1:])
    assert all(line.rstrip().endswith(" s") for line in lines)
    assert len({len(line) for line in lines}) == 1


def test_a_fit_that_has_not_converged_is_marked(drawn, small_prior):
    with pytest.warns(UserWarning, match="NOT converged"):
        compared = gpdust.compare(*drawn, {"hasty": small_prior(20)}, progress=False, max_steps=1)
    assert str(compared).endswith("NOT converged")


def test_both_kinds_of_prior_and_any_engine_can_be_compared(drawn, small_prior):
    spectral = gpdust.SpectralGP("rbf", 50 * u.pc, 0.3, 1.6e-3 * u.mag / u.pc, learn=False, box_spacing=25 * u.pc)
    compared = gpdust.compare(*drawn, {"points": small_prior(40), "modes": spectral}, "mgvi", progress=False, samples=4)
    assert {posterior.meta["engine"] for posterior in compared.posteriors.values()} == {"mgvi"}
    assert all(len(posterior.spread.draws) == 2 for posterior in compared.posteriors.values())


def test_nothing_to_compare_is_an_error(drawn):
    with pytest.raises(InferenceError, match="no prior to compare"):
        gpdust.compare(*drawn, {})
