"""Several priors, or treatments, and the same stars: which one do they prefer?"""

from dataclasses import replace

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
    assert header.split()[:2] == ["model", "ELBO"]
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


@pytest.mark.parametrize("first_name", ["smooth", "rough"])
def test_the_best_has_converged_if_any_has(drawn, small_prior, monkeypatch, first_name):
    def fit(model, *args, **options):
        posterior = gpdust.fit(model, *args, **options)
        hasty = model.prior.hyperparameters.report(None)["length_scale_x"] == 50
        return replace(posterior, report=replace(posterior.report, converged=not hasty))

    monkeypatch.setattr("gpdust.comparison.fit", fit)
    priors = {"smooth": small_prior(40, length_scale=2000 * u.pc), "rough": small_prior(40, length_scale=50 * u.pc)}
    priors = {name: priors[name] for name in sorted(priors, key=lambda name: name != first_name)}
    compared = gpdust.compare(*drawn, priors, progress=False)
    assert compared.best == "smooth" and list(compared.posteriors) == ["smooth", "rough"]
    assert compared["rough"].report.elbo > compared["smooth"].report.elbo
    _, best, other = str(compared).splitlines()
    assert other.endswith("NOT converged") and not best.endswith("NOT converged") and " -" in other


TREATMENTS = {
    "gaussian": gpdust.StarTreatment(),
    "student": gpdust.StarTreatment(noise=gpdust.StudentNoise(degrees_of_freedom=2)),
}


def changed(stars: gpdust.StarCatalogue, **columns: u.Quantity) -> gpdust.StarCatalogue:
    names = ("l", "b", "distance", "extinction", "extinction_error")
    return gpdust.StarCatalogue(**({name: getattr(stars, name) for name in names} | columns))


@pytest.fixture(scope="module")
def with_outliers(drawn):
    stars, grid = drawn
    off = np.where(np.arange(len(stars)) % 20 == 0, 0.3, 0.0) * u.mag
    return changed(stars, extinction=stars.extinction + off), grid


def test_priors_are_ranked_under_the_treatment_that_is_asked_for(with_outliers, small_prior):
    priors = {"fine": small_prior(20), "coarse": small_prior(10)}
    compared = gpdust.compare(*with_outliers, priors, progress=False, treatment=TREATMENTS["student"])
    assert sorted(compared.posteriors) == ["coarse", "fine"]
    for name, posterior in compared.posteriors.items():
        assert posterior.treatment.noise == TREATMENTS["student"].noise
        model = gpdust.DustModel(*with_outliers, priors[name], treatment=TREATMENTS["student"])
        assert posterior.report.elbo == gpdust.fit(model, progress=False).report.elbo


def test_treatments_are_ranked_under_one_prior(drawn, with_outliers, small_prior):
    for (stars, grid), best in ((drawn, "gaussian"), (with_outliers, "student")):
        compared = gpdust.compare(stars, grid, small_prior(20), progress=False, treatment=TREATMENTS)
        assert next(iter(compared.posteriors)) == compared.best == best
        elbos = [posterior.report.elbo for posterior in compared.posteriors.values()]
        assert elbos[0] - elbos[1] > 10


def test_every_prior_is_fitted_under_every_treatment(drawn, small_prior):
    priors = {"fine": small_prior(12), "coarse": small_prior(6)}
    compared = gpdust.compare(*drawn, priors, progress=False, treatment=TREATMENTS)
    assert set(compared.posteriors) == {f"{prior}, {how}" for prior in priors for how in TREATMENTS}
    assert len(compared["fine, student"].mean) == 12
    assert compared["fine, student"].treatment.noise == TREATMENTS["student"].noise


def test_the_foreground_is_as_given(drawn, small_prior, region):
    grid = replace(region, foreground_cells=2).grid((3, 3, 8))
    priors = {"one": small_prior(10), "two": small_prior(12)}
    given = gpdust.compare(drawn[0], grid, priors, progress=False, foreground_density=3.2e-3 * u.mag / u.pc)
    assert {round(one.prior.foreground.step, 9) for one in given.posteriors.values()} == {round(np.log10(2), 9)}


def test_chunks_that_can_be_read_once_are_the_stars_of_every_prior(drawn, small_prior):
    stars, grid = drawn
    priors = {"one": small_prior(10), "two": small_prior(12)}
    chunks = [stars[:500], stars[500:]]
    whole = gpdust.compare(stars, grid, priors, progress=False)
    for given in (chunks, iter(chunks)):
        compared = gpdust.compare(given, grid, priors, progress=False)
        for name in priors:
            assert compared[name].report.elbo == pytest.approx(whole[name].report.elbo, abs=1e-6)
    again = gpdust.compare(chunks, grid, priors["one"], progress=False, treatment=TREATMENTS)
    assert again["gaussian"].report.elbo == pytest.approx(whole["one"].report.elbo, abs=1e-6)
    with pytest.raises(InferenceError, match=r"read only once, and 2 treatments.*list of chunks"):
        gpdust.compare(iter(chunks), grid, priors, progress=False, treatment=TREATMENTS)


def test_treatments_that_use_other_stars_are_refused(drawn, small_prior):
    stars, grid = drawn
    uncertain = changed(stars, distance_error=0.2 * stars.distance)
    treatment = {how: gpdust.StarTreatment(distance=how) for how in ("marginal", "ignore")}
    with pytest.raises(InferenceError, match=r"not use the same stars.*marginal: \d+ stars.*ignore: 800 stars"):
        gpdust.compare(uncertain, grid, small_prior(10), progress=False, treatment=treatment)


def test_nothing_to_compare_is_an_error(drawn, small_prior):
    for priors, treatment in (
        ({}, None),
        (small_prior(), None),
        (small_prior(), {}),
        (small_prior(), TREATMENTS["student"]),
    ):
        with pytest.raises(InferenceError, match="no prior to compare"):
            gpdust.compare(*drawn, priors, treatment=treatment)
