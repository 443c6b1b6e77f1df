"""The mock star-forming regions: clouds where the papers say, and extinctions of a few magnitudes."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from gpdust.simulate import MOCK_REGIONS

SHAPE = (40, 40, 60)


@pytest.mark.parametrize("name", MOCK_REGIONS)
def test_surveys_look_like_star_forming_regions(name):
    mock = MOCK_REGIONS[name]
    stars = mock.survey(2000, seed=1, shape=SHAPE)
    total = stars.truth.extinction[:, -1].to_value(u.mag)
    assert len(stars.catalogue) == 2000
    assert 2 < total.max() < 8
    assert total.min() > 0.1
    assert np.median(stars.catalogue.extinction_error.to_value(u.mag)) == pytest.approx(0.34, abs=0.03)
    assert stars.catalogue.band == "547 nm"
    assert stars.catalogue.distance_error is None


@pytest.mark.parametrize("name", MOCK_REGIONS)
def test_starting_values_are_near_the_truth(name):
    mock = MOCK_REGIONS[name]
    log_density = np.log10(mock.survey(1, seed=1, shape=SHAPE).truth.density.to_value(u.mag / u.pc))
    start = np.log10(mock.mean_density.to_value(u.mag / u.pc))
    amplitude = mock.amplitude.to_value(u.dex)
    assert abs(log_density.mean() - start) < amplitude
    assert 0.4 * amplitude < log_density.std() < 1.5 * amplitude
    assert mock.length_scale.to_value(u.pc) < np.ptp(mock.region.distance.to_value(u.pc)) / 10


@pytest.mark.parametrize(
    ("name", "l", "b", "distance"),
    [
        ("orion", 209.0, -19.4, 395),  # Orion A
        ("orion", 206.5, -16.3, 425),  # Orion B
        ("orion", 186.2, -14.0, 284),  # λ filament
        ("taurus", 174.0, -16.0, 130),  # TMC 2
        ("taurus", 170.0, -19.0, 195),  # L1498
        ("perseus", 160.0, -18.0, 320),  # IC 348
        ("perseus", 163.3, -8.5, 472),  # the California cloud
        ("cygnus_x", 79.0, 0.0, 1350),
        ("cygnus_x", 81.5, 0.7, 1500),
    ],
)
def test_clouds_stand_out_at_their_distances(name, l, b, distance):
    density = MOCK_REGIONS[name].density
    cloud, before, behind = (
        density.at(SkyCoord(l=l * u.deg, b=b * u.deg, distance=(distance + off) * u.pc, frame="galactic"))
        for off in (0, -80, 80)
    )
    assert cloud > 5 * before
    assert cloud > 5 * behind
