"""natural and mgvi under simulation-based calibration: exact where extinction is linear, and close to it elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest

import gpdust
from gpdust.scores import rank_scores, uniformity_p_value

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
REJECTED = 1e-3
CASES = [(distances, engine) for distances in ("exact", "uncertain") for engine in ("natural", "mgvi")]


@pytest.fixture
def calibration(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import calibration

    return calibration


def settings(calibration, runs: int, *others: str) -> argparse.Namespace:
    return calibration.parsed(["--runs", str(runs), *others])


def smallest_p_value(row: dict) -> float:
    """After Bonferroni's correction for the number of quantities."""
    from calibration_report import corrected

    return corrected(row)[1]


@pytest.mark.parametrize(("distances", "engine"), CASES)
def test_ranks_are_uniform_where_extinction_is_linear(calibration, distances, engine):
    row = calibration.calibrate("linear", engine, distances, settings(calibration, 30, "--draws", "99"))
    assert len(row["ranks"]) == 10
    assert {len(ranks) for ranks in row["ranks"].values()} == {30}
    assert smallest_p_value(row) > REJECTED
    assert set(row["coverage"]) == {"density, all cells", "extinction, all cells", "held-out stars"}
    for shares in row["coverage"].values():
        np.testing.assert_allclose(shares, [0.5, 0.68, 0.95], atol=0.06)


def test_errors_that_are_stated_too_small_are_found(calibration, monkeypatch):
    """What the same runs say of a likelihood that is wrong."""
    fit = gpdust.fit
    monkeypatch.setattr(gpdust, "fit", lambda model, **options: fit(model.with_errors_times(0.5), **options))
    row = calibration.calibrate("linear", "natural", "exact", settings(calibration, 30, "--draws", "99"))
    assert smallest_p_value(row) < 1e-6
    assert row["coverage"]["density, all cells"][1] < 0.6


def test_errors_say_nothing_of_the_truth(calibration):
    """Two truths that are seen by the same stars have the same stated errors."""
    case = calibration.CASES["lognormal"]
    catalogues = []
    for seed in (0, 1):
        truth, _ = calibration.draw_truth(case.prior(False), np.random.default_rng(seed))
        catalogues.append(calibration.observe(truth, case, True, 50, np.random.default_rng(2)))
    one, other = catalogues
    assert (one.extinction != other.extinction).all()
    for name in ("distance", "distance_error", "extinction_error"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def changed(stars: gpdust.StarCatalogue, **columns: u.Quantity) -> gpdust.StarCatalogue:
    names = ("l", "b", "distance", "distance_error", "extinction", "extinction_error")
    return gpdust.StarCatalogue(**({name: getattr(stars, name) for name in names} | columns))


@pytest.mark.parametrize("uncertain", [False, True], ids=["exact", "uncertain"])
@pytest.mark.parametrize("name", ["linear", "lognormal"])
def test_transforms_of_held_out_stars_are_uniform_only_where_the_prediction_is_right(calibration, name, uncertain):
    """The true extinction for all draws; then errors that are stated too small, and a tenth too much extinction."""
    case = calibration.CASES[name]
    random = np.random.default_rng(5)
    truth, _ = calibration.draw_truth(case.prior(False), random)
    stars = calibration.observe(truth, case, uncertain, 1000, random)
    draws = np.repeat(truth.extinction.value[None], 99, axis=0)

    def p_value(stars: gpdust.StarCatalogue, share: float) -> float:
        ranks = calibration.held_out_ranks(gpdust.StarTreatment(), stars, share * draws)
        assert len(ranks) > 800
        return uniformity_p_value(ranks, 99)

    assert p_value(stars, 1.0) > REJECTED
    assert p_value(changed(stars, extinction_error=0.7 * stars.extinction_error), 1.0) < REJECTED
    assert p_value(stars, 1.1) < REJECTED


def test_a_held_out_star_far_above_all_draws_has_the_last_rank(calibration):
    case = calibration.CASES["lognormal"]
    truth, _ = calibration.draw_truth(case.prior(False), np.random.default_rng(0))
    stars = calibration.observe(truth, case, False, 20, np.random.default_rng(1))
    draws = np.repeat(truth.extinction.value[None], 39, axis=0)
    bright, faint = np.arange(20) % 2 == 0, np.arange(20) % 2 == 1
    moved = stars.extinction + 100 * stars.extinction_error * (1.0 * bright - faint)
    ranks = calibration.held_out_ranks(gpdust.StarTreatment(), changed(stars, extinction=moved), draws)
    np.testing.assert_array_equal(ranks, np.where(bright, 39, 0))


def test_held_out_stars_are_printed_and_drawn(calibration, tmp_path):
    from calibration_report import draw_figure, summary, table

    row = calibration.calibrate("linear", "natural", "uncertain", settings(calibration, 3, "--draws", "39"))
    lines = table(row).splitlines()
    assert any(line.startswith("held-out star ") for line in lines)
    assert any(line.startswith("held-out stars") and "±" in line for line in lines)
    assert "| held-out stars |" in summary([row])
    assert draw_figure([row], tmp_path / "ranks.svg").read_text().count("held-out star") > 0


def test_learned_hyperparameters_are_drawn_and_ranked(calibration):
    row = calibration.calibrate("linear", "natural", "exact", settings(calibration, 2, "--learn", "--draws", "39"))
    names = {"amplitude", "length_scale_x", "length_scale_y", "length_scale_z"}
    assert names < set(row["ranks"])
    assert len(row["ranks"]["amplitude"]) == 2


def test_a_chain_is_calibrated_where_the_engines_are_not(calibration):
    """Draws of a Gaussian fit stars less well than those of the exact, curved posterior do."""
    offsets = []
    for engine in ("natural", "chain"):
        row = calibration.calibrate("lognormal", engine, "exact", settings(calibration, 12, "--draws", "99"))
        offsets.append(rank_scores(np.array(row["ranks"]["log-likelihood"]), 99).offset)
    assert offsets[1] < offsets[0] - 0.4
    assert abs(offsets[1]) < 3 / np.sqrt(12)


# In full


@pytest.mark.slow
@pytest.mark.parametrize(("distances", "engine"), CASES)
def test_ranks_of_many_truths_are_uniform_where_extinction_is_linear(calibration, distances, engine):
    row = calibration.calibrate("linear", engine, distances, settings(calibration, 200))
    assert smallest_p_value(row) > REJECTED


@pytest.mark.slow
@pytest.mark.parametrize(("distances", "engine"), CASES)
def test_intervals_of_lognormal_densities_hold_their_share(calibration, distances, engine):
    row = calibration.calibrate("lognormal", engine, distances, settings(calibration, 200))
    found = row["coverage"]["density, all cells"]
    assert found[1] == pytest.approx(0.68, abs=0.05)
    assert found[2] == pytest.approx(0.95, abs=0.03)
