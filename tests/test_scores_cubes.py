"""Figures of merit of cubes, by closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpdust.errors import PosteriorError
from gpdust.scores import cross_correlation, cube_scores, density_distributions


def white(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("cells", [2, 5, 8])
def test_a_multiple_correlates_fully_at_every_scale(cells):
    truth = white(3, cells, cells, cells)
    wavenumber, correlation = cross_correlation(2.5 * truth + 7, truth, 6.0)
    assert_allclose(correlation, 1, rtol=1e-12)
    assert_allclose(cross_correlation(-truth, truth, 6.0)[1], -1, rtol=1e-12)
    assert wavenumber.shape == (cells // 2,)


def test_shells_run_from_the_fundamental_mode_to_the_nyquist_frequency():
    truth = white(16, 16, 16)
    wavenumber, _ = cross_correlation(truth, truth, 6.0)
    centres = 2 * np.pi / (16 * 6) * np.arange(1, 9)
    assert_allclose(wavenumber, centres, atol=2 * np.pi / (16 * 6) / 2)
    assert (np.diff(wavenumber) > 0).all()


@pytest.mark.parametrize("mode", [(1, 0, 0), (0, 3, 0), (0, 0, 4), (2, 2, 1)])
def test_a_wave_shows_at_its_own_scale_only(mode):
    cells = 8
    phase = 2 * np.pi * np.einsum("i,ijkl->jkl", mode, np.indices((cells,) * 3)) / cells
    wavenumber, correlation = cross_correlation(np.cos(phase) + 1, np.cos(phase) + white(8, 8, 8) * 1e-6, 10.0)
    shell = round(np.linalg.norm(mode)) - 1
    assert_allclose(correlation[shell], 1, rtol=1e-6)
    assert abs(wavenumber[shell] - 2 * np.pi * np.linalg.norm(mode) / 80) < np.pi / 80


def test_white_noise_lowers_the_correlation_as_it_should():
    truth, noise = white(40, 16, 16, 16), white(40, 16, 16, 16, seed=1)
    for ratio in (0.5, 2.0):
        _, correlation = cross_correlation(truth + np.sqrt(ratio) * noise, truth, 6.0)
        modes = 40 * 4 * np.pi * np.arange(1, 9) ** 2 / 2  # independent modes of a shell, about
        standard_error = ratio / (1 + ratio) / np.sqrt(modes)  # (1 − c²) / √N
        assert (np.abs(correlation - 1 / np.sqrt(1 + ratio)) < 4 * standard_error).all()


def test_independent_fields_do_not_correlate():
    _, correlation = cross_correlation(white(40, 16, 16, 16), white(40, 16, 16, 16, seed=1), 6.0)
    assert (np.abs(correlation) < 4 / np.sqrt(40 * 4 * np.pi * np.arange(1, 9) ** 2 / 2)).all()


def test_spectra_add_up_over_cubes_and_chunks(monkeypatch):
    truth, predicted = white(2, 3, 6, 6, 6), white(2, 3, 6, 6, 6, seed=1) + white(2, 3, 6, 6, 6)
    together = cross_correlation(predicted, truth, 6.0)[1]
    monkeypatch.setattr("gpdust.scores.cubes.CHUNK", 4)
    assert_allclose(cross_correlation(predicted, truth, 6.0)[1], together, rtol=1e-12)


def test_a_cube_without_structure_has_no_correlation():
    assert np.isnan(cross_correlation(np.zeros((4, 4, 4)), white(4, 4, 4), 6.0)[1]).all()


def test_bias_and_dispersions_of_gaussian_differences():
    truth = np.zeros((50, 16, 16, 16), np.float32)
    scores = cube_scores(1e-3 * white(*truth.shape) + 2e-3, truth + 1e-9 * white(*truth.shape, seed=1), 6.0)
    assert_allclose(scores.bias, 2e-3, rtol=0.02)
    assert_allclose([scores.dispersion, scores.robust_dispersion], 1e-3, rtol=0.02)


def test_a_few_bad_cells_move_the_dispersion_and_not_the_robust_one():
    difference = 1e-3 * white(10, 10, 10)
    difference[0, 0, :5] = 1.0
    scores = cube_scores(difference + 1, np.ones((10, 10, 10)), 6.0)
    assert scores.dispersion > 0.05
    assert_allclose(scores.robust_dispersion, 1e-3, rtol=0.1)


def test_scores_can_be_read():
    truth = white(2, 2, 2)
    text = str(cube_scores(truth, truth, 6.0))
    assert "+0.00e+00 mag/pc" in text and "100.0% at" in text


def test_distributions_share_bins_and_hold_all_cells():
    predicted, truth = np.exp(white(3, 16, 16, 16)), np.exp(white(3, 16, 16, 16, seed=1) + 0.5)
    edges, ours, true = density_distributions(predicted, truth, bins=30)
    width = np.diff(np.log10(edges))
    assert_allclose(width, width[0])
    assert_allclose([ours @ width, true @ width], 1, rtol=1e-12)
    middle = np.log(edges[1:] * edges[:-1]) / 2
    assert_allclose([middle @ (ours * width), middle @ (true * width)], [0, 0.5], atol=0.05)


def test_cells_without_dust_count_among_all():
    truth = np.r_[np.zeros(50), np.geomspace(1e-3, 1e-1, 50)]
    edges, ours, true = density_distributions(np.full(100, 0.01), truth, bins=10)
    assert_allclose([ours @ np.diff(np.log10(edges)), true @ np.diff(np.log10(edges))], [1, 0.5])
    assert_allclose(edges[[0, -1]], [1e-3, 1e-1])
    edges, _, _ = density_distributions(truth, truth, bins=10, least=1e-2)
    assert_allclose(edges[[0, -1]], [1e-2, 1e-1])


def test_what_can_not_be_scored_is_refused():
    with pytest.raises(PosteriorError, match="both have shape"):
        cube_scores(np.ones((4, 4, 4)), np.ones((5, 5, 5)), 6.0)
    with pytest.raises(PosteriorError, match="both have shape"):
        cross_correlation(np.ones((4, 4, 3)), np.ones((4, 4, 3)), 6.0)
    with pytest.raises(PosteriorError, match="positive"):
        density_distributions(np.zeros(5), np.zeros(5))
