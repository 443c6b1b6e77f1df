"""What becomes of the errors of a catalogue: which likelihood, with which stars."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpdust
from gpdust.errors import CatalogueError, ConfigError
from gpdust.likelihood import ExtinctionStatistics, FreeNoise, MarginalLikelihood, MeasuredParallaxes, NodeOptions
from gpdust.likelihood.noise import noise_from

DISTANCE = np.array([200.0, 230.0, 260.0])


def stars(distance_error: float | None = 5.0, **columns) -> gpdust.StarCatalogue:
    errors = {} if distance_error is None else {"distance_error": np.full(3, distance_error) * u.pc}
    return gpdust.StarCatalogue(
        l=[55, 60, 65] * u.deg,
        b=[0, 1, 2] * u.deg,
        distance=DISTANCE * u.pc,
        extinction=[0.05, 0.1, 0.2] * u.mag,
        extinction_error=[0.01, 0.02, 0.03] * u.mag,
        **errors,
        **columns,
    )


def test_distances_with_errors_are_summed_over_and_others_compressed(small_grid):
    treatment = gpdust.StarTreatment()
    assert isinstance(treatment.likelihood(stars(), small_grid)[0], MarginalLikelihood)
    assert isinstance(treatment.likelihood(stars(None), small_grid)[0], ExtinctionStatistics)
    assert "summed over" in treatment.notes(stars())[0] and not treatment.notes(stars(None))


@pytest.mark.parametrize("way", ["ignore", "inflate"])
def test_the_published_recipe_moves_distance_errors_into_those_of_the_extinction(small_grid, way):
    found, report = gpdust.StarTreatment(distance=way).likelihood(stars(), small_grid)
    error = np.array([0.01, 0.02, 0.03])
    if way == "inflate":
        error = np.hypot(error, np.array([0.05, 0.1, 0.2]) * 5.0 / DISTANCE)
    assert isinstance(found, ExtinctionStatistics) and report.used == 3
    assert_allclose(found.squares, np.sum((np.array([0.05, 0.1, 0.2]) / error) ** 2))


@pytest.mark.parametrize(
    "settings",
    [
        {"noise": gpdust.StudentNoise()},
        {"noise": gpdust.MixtureNoise()},
        {"noise": gpdust.GaussianNoise(extra=0.1), "learn": ("extra",)},
    ],
)
def test_noise_that_is_not_a_fixed_gaussian_needs_every_star(small_grid, settings):
    found, _ = gpdust.StarTreatment(**settings).likelihood(stars(None), small_grid)
    assert isinstance(found, MarginalLikelihood) and found.nodes.start.tolist() == [0, 1, 2, 3]


def test_lower_and_upper_errors_are_averaged_or_taken_apart(small_grid):
    sides = {"extinction_lower_error": [0.01, 0.02, 0.03] * u.mag, "extinction_upper_error": [0.02, 0.03, 0.05] * u.mag}
    catalogue = stars(**sides)
    mean, _ = gpdust.StarTreatment().likelihood(catalogue, small_grid)
    apart, _ = gpdust.StarTreatment(asymmetric=True).likelihood(catalogue, small_grid)
    assert_allclose(mean.stars.lower_error, mean.stars.upper_error)
    assert_allclose(np.sort(apart.stars.upper_error), [0.02, 0.03, 0.05])
    assert any("averaged" in note for note in gpdust.StarTreatment().notes(catalogue))


def test_parallaxes_are_turned_back(small_grid):
    found, _ = gpdust.StarTreatment(measured="parallax").likelihood(stars(), small_grid)
    assert isinstance(found.stars.distances, MeasuredParallaxes)
    order = found.stars.number
    assert_allclose(found.stars.distances.parallax, 1 / DISTANCE[order])
    assert_allclose(found.stars.distances.error, 5.0 / DISTANCE[order] ** 2)


def test_what_distances_were_made_of_is_what_the_catalogue_says_unless_it_is_told(small_grid, small_prior):
    inverted = stars(measured="parallax")
    for treatment, kind in ((None, "parallax"), ("distance", "distance"), ("parallax", "parallax")):
        treatment = gpdust.StarTreatment(measured=treatment)
        model = gpdust.DustModel(inverted, small_grid, small_prior(), treatment=treatment)
        assert model.treatment.measured == kind
        assert isinstance(model.likelihood.stars.distances, MeasuredParallaxes) == (kind == "parallax")
        assert any("Gaussian in parallax" in note for note in model.notes) == (kind == "parallax")
    plain = gpdust.DustModel(stars(), small_grid, small_prior())
    assert plain.treatment.measured == "distance"


def test_chunks_of_distances_and_of_parallaxes_are_not_taken_for_one_kind(small_grid, small_prior):
    chunks = [stars(measured="parallax"), stars()]
    with pytest.raises(CatalogueError, match=r"some stars have distances and others parallaxes.*measured="):
        gpdust.DustModel(chunks, small_grid, small_prior())
    told = gpdust.DustModel(chunks, small_grid, small_prior(), treatment=gpdust.StarTreatment(measured="parallax"))
    assert told.stars_used.used == 6


def test_chunks_are_numbered_through(small_grid, small_prior):
    whole = gpdust.DustModel(stars(), small_grid, small_prior())
    pieces = gpdust.DustModel((stars()[[k]] for k in range(3)), small_grid, small_prior())
    assert sorted(pieces.likelihood.stars.number) == [0, 1, 2]
    for name, tensor in whole.likelihood.tensors().items():
        assert_allclose(pieces.likelihood.tensors()[name], tensor, rtol=1e-12, err_msg=name)


def test_unknown_words_are_refused():
    with pytest.raises(ConfigError, match="unknown treatment 'guess'"):
        gpdust.StarTreatment(distance="guess")
    with pytest.raises(ConfigError, match="no parameter extra that could be learned"):
        gpdust.StarTreatment(learn=("extra",))  # which is zero, and stays zero


@pytest.mark.parametrize(
    "noise",
    [gpdust.GaussianNoise(extra=0.1), gpdust.StudentNoise(degrees_of_freedom=3), gpdust.MixtureNoise(bad_share=0.2)],
)
def test_a_treatment_is_plain_data(noise):
    assert noise_from(noise.description()) == noise
    treatment = gpdust.StarTreatment(noise=noise, learn=noise.names[:1], nodes=NodeOptions(prior="flat", parts=3))
    assert gpdust.StarTreatment.from_description(treatment.description()) == treatment


def test_free_noise_starts_where_it_is_told_and_reports_physical_numbers():
    free = FreeNoise(gpdust.MixtureNoise(extra=0.1, bad_share=0.05), ("extra", "bad_share"))
    assert free.size == 2
    assert_allclose(free.at(np.zeros(2)).parameters(), free.start.parameters())
    moved = free.at(np.array([1.0, 0.0]))
    assert moved.extra == pytest.approx(0.3) and moved.bad_share == pytest.approx(0.05)
    table = free.table(np.array([1.0, 0.0]), 0.01 * np.eye(2))
    assert "extra" in table and "0.3 ± 0.033 mag" in table and "a factor of 3 at 1 σ" in table


def test_percentiles_have_a_prior_in_them_already(small_grid, small_prior):
    sides = {"distance_lower_error": [5, 5, 5] * u.pc, "distance_upper_error": [9, 9, 9] * u.pc}
    for columns, prior in (({}, "uniform-density"), (sides, "flat")):
        model = gpdust.DustModel(stars(**columns), small_grid, small_prior())
        assert model.treatment.nodes.prior == prior
        assert model.likelihood.options.prior == prior
        assert any(f"prior: {prior}" in note for note in model.notes)
    parallaxes = gpdust.StarTreatment(measured="parallax")
    assert parallaxes.star_by_star(stars(**sides), small_grid).options.prior == "uniform-density"
    given = gpdust.StarTreatment(nodes=NodeOptions(prior="exponential-disc"))
    assert gpdust.DustModel(stars(**sides), small_grid, small_prior(), treatment=given).likelihood.options.prior == (
        "exponential-disc"
    )
