"""What a scatter in proportion to extinction is a share of."""

import astropy.units as u
import numpy as np
import pytest

import gpdust
from gpdust.likelihood import local_extinction as module
from gpdust.likelihood.local_extinction import local_extinction

SCATTER = 0.2
GRID = gpdust.Region((100, 110) * u.deg, (-5, 5) * u.deg, (200, 300) * u.pc).grid((2, 2, 4))


def places(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(100, 110, count), rng.uniform(-5, 5, count), rng.uniform(200, 300, count)


def weighted_mean(extinction, share_of):
    weight = (SCATTER * share_of) ** -2
    return np.sum(weight * extinction) / np.sum(weight)


def test_a_mean_weighted_by_it_is_not_biased_as_one_by_the_measurements_is():
    measured = 1 + SCATTER * np.random.default_rng(1).standard_normal(20_000)
    measured = np.clip(measured, 0.2, None)  # none is so near to zero that it has all the weight
    error = SCATTER / np.sqrt(len(measured))
    assert weighted_mean(measured, measured) < 1 - 2 * SCATTER**2 + 5 * error
    assert weighted_mean(measured, local_extinction(*places(len(measured)), measured)) == pytest.approx(1, abs=0.02)


def test_stars_behind_other_dust_do_not_count():
    behind = np.arange(2000) % 2 == 1
    scatter = 1 + 0.1 * np.random.default_rng(2).standard_normal(2000)
    found = local_extinction(*places(2000), np.where(behind, 2.0, 0.2) * scatter)
    assert found[behind] == pytest.approx(2.0, rel=0.2)
    assert found[~behind] == pytest.approx(0.2, rel=0.2)
    assert np.std(found[behind]) < 0.5 * np.std(2.0 * scatter[behind])


@pytest.mark.parametrize("own", [30.0, -0.5, 0.0])
def test_a_star_like_no_other_keeps_its_own(own):
    extinction = np.append(np.ones(50), own)
    assert local_extinction(*places(51), extinction)[-1] == own


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
