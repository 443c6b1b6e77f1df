"""What a scatter in proportion to extinction is a share of."""

import astropy.units as u
import numpy as np
import pytest

import gpdust
from gpdust.likelihood import local_extinction as module
from gpdust.likelihood.local_extinction import local_extinction

SCATTER = 0.3
GRID = gpdust.Region((100, 110) * u.deg, (-5, 5) * u.deg, (200, 300) * u.pc).grid((2, 2, 4))


def places(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(100, 110, count), rng.uniform(-5, 5, count), rng.uniform(200, 300, count)


def weighted_mean(extinction, share_of):
    weight = (SCATTER * share_of) ** -2
    return np.sum(weight * extinction) / np.sum(weight)


def test_a_mean_weighted_by_it_is_not_biased_as_one_by_the_measurements_is():
    measured = 1 + SCATTER * np.random.default_rng(1).standard_normal(20_000)
    error = SCATTER / np.sqrt(len(measured))
    assert weighted_mean(measured, measured) < 1 - 2 * SCATTER**2
    local = local_extinction(*places(len(measured)), measured)
    assert weighted_mean(measured, local) == pytest.approx(1, abs=4 * error)
    assert abs(np.corrcoef(local, measured)[0, 1]) < 0.03  # a weight knows nothing of the star's own noise


def test_of_two_kinds_of_stars_none_has_too_little():
    behind = np.arange(2000) % 4 == 0  # the fewer, as in front of a cloud where distances are uncertain
    scatter = 1 + 0.1 * np.random.default_rng(2).standard_normal(2000)
    found = local_extinction(*places(2000), np.where(behind, 2.0, 0.2) * scatter)
    assert found[behind] == pytest.approx(2.0, rel=0.3)
    assert np.mean(np.abs(found[~behind] / 0.2 - 1) < 0.2) > 0.95
    assert found[~behind].min() > 0.15


@pytest.mark.parametrize(("own", "found"), [(30.0, 30.0), (3.1, 3.1), (2.9, 1.0), (0.1, 1.0), (-0.5, 1.0)])
def test_only_a_star_with_more_than_all_others_goes_by_itself(own, found):
    extinction = np.append(np.ones(50), own)
    assert local_extinction(*places(51), extinction)[-1] == found


def test_stars_at_one_place_are_each_others_neighbours():
    extinction = np.arange(1.0, 41.0)
    found = local_extinction(np.full(40, 100.0), np.zeros(40), np.full(40, 250.0), extinction)
    assert np.isfinite(found).all()
    assert found.min() >= 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_stars_will_do(count):
    assert local_extinction(*places(count), np.ones(count)) == pytest.approx(np.ones(count))


def test_parts_of_a_table_make_no_difference(monkeypatch):
    extinction = np.random.default_rng(3).uniform(0.5, 1.0, 300)
    whole = local_extinction(*places(300), extinction)
    monkeypatch.setattr(module, "AT_ONCE", 70)
    assert np.array_equal(local_extinction(*places(300), extinction), whole)


def test_both_likelihoods_take_their_scatter_from_it():
    l, b, distance = places(200)
    extinction = np.random.default_rng(4).uniform(0.5, 1.0, 200)
    stars = gpdust.StarCatalogue(
        l=l * u.deg,
        b=b * u.deg,
        distance=distance * u.pc,
        extinction=extinction * u.mag,
        extinction_error=np.full(200, 0.05) * u.mag,
    )
    treatment = gpdust.StarTreatment(noise=gpdust.GaussianNoise(proportional=SCATTER))
    variance = 0.05**2 + (SCATTER * local_extinction(l, b, distance, extinction)) ** 2
    summed, report = treatment.likelihood(stars, GRID)
    assert report.used == 200
    assert summed.squares == pytest.approx(np.sum(extinction**2 / variance), rel=1e-12)
    kept = treatment.star_by_star(stars, GRID)
    assert np.sort(kept.stars.local_extinction) == pytest.approx(np.sort(local_extinction(l, b, distance, extinction)))
