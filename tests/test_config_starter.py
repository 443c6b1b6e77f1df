"""Guesses and proposals of `gpdust init`: columns by name, regions around stars, files that a fit accepts."""

import tomllib

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import Table

from gpdust import Config, DustModel, InducingGP, SpectralGP, StarCatalogue, fit
from gpdust.config import build
from gpdust.config.columns import guess_columns
from gpdust.config.cost import STAR_DRAWS, Cost, Size
from gpdust.config.propose import longitudes, mean_density, propose
from gpdust.config.starter import make_starter
from gpdust.config.toml import render
from gpdust.errors import CatalogueError, ConfigError
from gpdust.likelihood.marginal import MarginalLikelihood
from gpdust.simulate import ErrorModel, GridTruth, clump_density, mock_survey
from gpdust.simulate.clumps import BACKGROUND, CLUMP_REGION


def stars_in(n=2000, l0=340.0, width=40.0, seed=0) -> dict[str, np.ndarray]:
    """Stars across l = 0, with 2e-3 mag/pc everywhere."""
    rng = np.random.default_rng(seed)
    d = rng.uniform(100, 900, n)
    return {
        "GLON": (l0 + rng.uniform(0, width, n)) % 360,
        "GLAT": rng.uniform(-5, 5, n),
        "dist50": d,
        "AV50": 2e-3 * d,
        "e_AV": np.full(n, 0.1),
    }


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (
            ["l", "b", "distance", "distance_error", "extinction", "extinction_error"],
            {n: n for n in ["l", "b", "distance", "distance_error", "extinction", "extinction_error"]},
        ),
        (
            ["GLON", "GLAT", "dist16", "dist50", "dist84", "AV16", "AV50", "AV84"],
            {
                "l": "GLON",
                "b": "GLAT",
                "distance": "dist50",
                "distance_error": ("dist16", "dist84"),
                "extinction": "AV50",
                "extinction_error": ("AV16", "AV84"),
            },
        ),
        (
            ["RA_ICRS", "DE_ICRS", "Plx", "e_Plx", "E(B-V)", "e_E(B-V)"],
            {
                "ra": "RA_ICRS",
                "dec": "DE_ICRS",
                "parallax": "Plx",
                "parallax_error": "e_Plx",
                "extinction": "E(B-V)",
                "extinction_error": "e_E(B-V)",
            },
        ),
        (
            ["l", "b", "distance_gspphot", "azero_gspphot", "azero_gspphot_lower", "azero_gspphot_upper"],
            {
                "l": "l",
                "b": "b",
                "distance": "distance_gspphot",
                "extinction": "azero_gspphot",
                "extinction_error": ("azero_gspphot_lower", "azero_gspphot_upper"),
            },
        ),
        (
            ["l_deg", "b_deg", "r_lo_geo", "r_med_geo", "r_hi_geo", "A_V", "A_V_err"],
            {
                "l": "l_deg",
                "b": "b_deg",
                "distance": "r_med_geo",
                "distance_error": ("r_lo_geo", "r_hi_geo"),
                "extinction": "A_V",
                "extinction_error": "A_V_err",
            },
        ),
    ],
)
def test_guesses_columns_by_name(names, columns):
    guess = guess_columns(names)
    assert guess.columns == columns
    assert guess.missing == []


def test_luminosity_is_no_longitude_and_gaps_are_told():
    guess = guess_columns(["L", "B", "dist", "foo"])
    assert guess.columns == {"distance": "dist"}
    assert (
        guess.missing
        == [
            "a position (l and b, or ra and dec)",
            "an extinction",
            "the error of the extinction",
        ][: len(guess.missing)]
    )


def test_a_given_column_brings_its_own_error_along():
    names = ["l", "b", "distance", "av", "e_av", "a5", "a5_err"]
    assert guess_columns(names, {"extinction": "a5"}).columns["extinction_error"] == "a5_err"
    assert guess_columns(names, {"parallax": "distance"}).columns["parallax"] == "distance"


def test_longitudes_cross_zero_and_close():
    rng = np.random.default_rng(1)
    assert longitudes(np.r_[rng.uniform(350, 370, 990) % 360, np.full(9, 180.0)]) == (350, 10)
    assert longitudes(rng.uniform(40, 60, 1000)) == (40, 60)
    assert longitudes(rng.uniform(0, 360, 1000)) == (0, 360)
    assert longitudes(np.array([12.5])) == (12, 13)
    assert longitudes(np.full(9, 12.0)) == (11, 13)


def test_proposal_surrounds_the_stars():
    table = stars_in()
    stars = StarCatalogue.from_table(
        Table(table),
        columns={
            "l": "GLON",
            "b": "GLAT",
            "distance": "dist50",
            "extinction": "AV50",
            "extinction_error": "e_AV",
        },
        units={"l": "deg", "b": "deg", "distance": "pc", "extinction": "mag"},
    )
    proposal = propose(stars)
    assert proposal.sections["region"]["l"] == [340, 20]
    assert proposal.sections["region"]["b"] == [-5, 5]
    assert proposal.sections["region"]["distance"] == [100, 900]
    prior = proposal.sections["prior"]
    assert (prior["kind"], prior["kernel"]) == ("spectral", "matern32")
    assert prior["mean_density"] == pytest.approx(2e-3)
    cells = np.prod(proposal.sections["grid"]["shape"])
    assert cells == pytest.approx(800, rel=0.4)  # 2.5 stars each; at least 4 along each axis
    volume = np.deg2rad(40) * 2 * np.sin(np.deg2rad(5)) * (900**3 - 100**3) / 3
    assert prior["length_scale"] == pytest.approx(3 * np.cbrt(volume / cells), rel=0.05)
    engines = [words.rpartition("engine = ")[2] for words in proposal.costs]
    assert engines == ['"mgvi" (proposed)', '"natural"', '"svi"']
    assert all("inducing" in words and "200 points" in words for words in list(proposal.costs)[1:])
    assert propose(stars, distance=(200, 300)).sections["region"]["distance"] == [200, 300]
    with pytest.raises(ConfigError, match="holds none of the stars"):
        propose(stars, l=(100, 120))


def test_mean_density_needs_no_positive_slope():
    d = np.array([100, 200, 300, 400]) * u.pc
    common = {"l": np.zeros(4) * u.deg, "b": np.zeros(4) * u.deg, "distance": d, "extinction_error": np.ones(4) * u.mag}
    assert mean_density(StarCatalogue(extinction=[0.4, 0.4, 0.2, 0.2] * u.mag, **common)) == pytest.approx(1.2e-3)
    assert mean_density(StarCatalogue(extinction=-np.ones(4) * u.mag, **common)) == 1e-3


def test_starter_is_a_configuration_that_reads_its_stars(tmp_path):
    (tmp_path / "my data").mkdir()
    path = tmp_path / "my data" / "stars.csv"
    Table(stars_in()).write(path)
    starter = make_starter(path, tmp_path)
    (tmp_path / "fit.toml").write_text(starter.text)
    config = Config.read(tmp_path / "fit.toml")
    assert len(build.read_stars(config)) == 2000
    assert config.catalogue.path == path
    assert config.catalogue.units["distance"] == "pc"
    assert config.catalogue.band == "V"
    assert build.fit_grid(config).interior.edges[-1] == 900
    assert "ASSUMED: the file gives no unit" in starter.text
    assert "guessed from its name" in starter.text
    assert isinstance(build.prior(config), SpectralGP)
    assert config.fit.engine == "auto"
    for line in starter.proposal.estimates():
        assert f"#   {line}\n" in starter.text


def test_starter_says_rightly_what_other_engines_need(tmp_path):
    table = Table(stars_in())
    table.write(tmp_path / "stars.csv")
    text = make_starter(tmp_path / "stars.csv", tmp_path).text
    (line,) = [line for line in text.splitlines() if line.startswith("engine = ")]
    assert line.endswith("# for this prior mgvi; inducing points also take natural, or svi if scatters are numbers")

    def with_engine(engine: str, kind: str, scatter: str) -> Config:
        changed = text.replace('engine = "auto"', f'engine = "{engine}"').replace(
            'kind = "spectral"', f'kind = "{kind}"'
        )
        return Config.from_dict(tomllib.loads(changed.replace('_scatter = "learn"', f"_scatter = {scatter}")))

    for engine, kind, scatter in (("mgvi", "spectral", '"learn"'), ("natural", "inducing", '"learn"')):
        assert with_engine(engine, kind, scatter).fit.engine == engine
    assert with_engine("svi", "inducing", "0.01").fit.engine == "svi"
    with pytest.raises(ConfigError, match=r"extra_scatter = .learn."):
        with_engine("svi", "inducing", '"learn"')


def test_starter_supposes_kpc_from_small_numbers_and_trusts_the_units_of_a_file(tmp_path):
    table = Table(stars_in())
    table["dist50"] /= 1000
    table.write(tmp_path / "kpc.csv")
    assert '\ndistance = "kpc"' in make_starter(tmp_path / "kpc.csv", tmp_path).text
    for name, unit in (("GLON", "deg"), ("GLAT", "deg"), ("dist50", "kpc"), ("AV50", "mag")):
        table[name].unit = unit
    table.write(tmp_path / "units.ecsv")
    starter = make_starter(tmp_path / "units.ecsv", tmp_path)  # whose e_AV still has none
    assert '[catalogue.units]\nextinction_error = "mag"' in starter.text
    assert starter.proposal.sections["region"]["distance"] == [100, 900]


def test_starter_reads_gaps_as_the_reader_does(tmp_path):
    table = Table(stars_in())
    table["dist50"] = [*map(str, table["dist50"][1:]), "--"]
    table.write(tmp_path / "gap.csv")
    assert len(make_starter(tmp_path / "gap.csv", tmp_path).stars) == len(table) - 1


def test_starter_of_all_longitudes_and_of_a_pole(tmp_path):
    Table(stars_in() | {"GLAT": np.full(2000, 90.0)}).write(tmp_path / "stars.csv")
    starter = make_starter(tmp_path / "stars.csv", tmp_path, l=(10, 370))
    assert starter.proposal.sections["region"]["l"] == [10, 370]
    assert starter.proposal.sections["region"]["b"] == [89, 90]
    (tmp_path / "config.toml").write_text(starter.text)
    assert build.fit_grid(Config.read(tmp_path / "config.toml"), starter.stars).n_rays


def test_starter_reads_a_file_whose_name_tells_no_format(tmp_path):
    Table(stars_in()).write(tmp_path / "stars", format="ascii.csv")
    with pytest.raises(CatalogueError, match="give format="):
        make_starter(tmp_path / "stars", tmp_path)
    starter = make_starter(tmp_path / "stars", tmp_path, format_="csv")
    (tmp_path / "config.toml").write_text(starter.text)
    config = Config.read(tmp_path / "config.toml")
    assert config.catalogue.format == "csv"
    assert len(build.read_stars(config)) == len(starter.stars)


def test_starter_tells_what_is_missing(tmp_path):
    path = tmp_path / "stars.csv"
    table = Table(stars_in())
    table.rename_column("e_AV", "foo")
    table.write(path)
    with pytest.raises(CatalogueError) as caught:
        make_starter(path, tmp_path)
    for words in ("the error of the extinction", "distance: dist50", "--column extinction_error=", "foo"):
        assert words in str(caught.value)
    assert make_starter(path, tmp_path, given={"extinction_error": "foo"}).columns["extinction_error"] == "foo"
    with pytest.raises(CatalogueError, match="no column 'fooo'; did you mean 'foo'"):
        make_starter(path, tmp_path, given={"extinction_error": "fooo"})


def test_toml_text_reads_back():
    record = {
        "a": {"x": 1.5, "y": True, "s": 'q"\\é', "n": [1, 2.0, -3e-20], "t": {"u": ["p", "q"]}},
        "b": {"z": 1 / 3},
    }
    text = render(record, {"a.x": "why", "b": "all"}, ["top"])
    assert tomllib.loads(text) == record
    assert text.startswith("# top\n")
    assert "# why" in text


def test_cost_of_svi_is_that_of_the_measurement():
    def cost(inducing: int, learned: bool = False) -> Cost:
        return Cost.of("svi", Size(14_000, 10**6, inducing, learned))

    assert cost(500).fit_seconds == pytest.approx(12)
    assert cost(1000).fit_seconds == pytest.approx(31, rel=0.05)
    assert cost(500, learned=True).fit_seconds == pytest.approx(88, rel=0.1)
    assert cost(1000).memory_bytes > 14_000 * 1000 * 8


def test_costs_scale_as_their_engines_do():
    def growth(engine: str, what: str, **larger: int) -> float:
        sizes = {"cells": 10**5, "map_cells": 10**6, "latents": 1000, "learned": False}
        few, many = (getattr(Cost.of(engine, Size(**(sizes | more))), what) for more in ({}, larger))
        return many / few

    assert growth("natural", "fit_seconds", latents=2000) == pytest.approx(4, rel=0.02)
    assert growth("natural", "fit_seconds", learned=True) == pytest.approx(6)
    assert growth("mgvi", "fit_seconds", cells=10**6) == pytest.approx(10, rel=0.02)
    assert growth("mgvi", "fit_seconds", learned=True) == pytest.approx(6)
    assert growth("mgvi", "memory_bytes", latents=10**7) > growth("mgvi", "memory_bytes", latents=10**6) > 1.5
    assert growth("natural", "memory_bytes", cells=4 * 10**5) > 3


@pytest.mark.parametrize("engine", ["mgvi", "natural", "svi"])
def test_a_matrix_that_is_not_kept_takes_no_memory(engine):
    def memory(inducing: int, matrix_memory: float) -> float:
        return Cost.of(engine, Size(10**6, 1000, inducing, matrix_memory=matrix_memory)).memory_bytes

    assert memory(4000, 40.0) - memory(4000, 4.0) > 30e9  # 32 GB
    assert memory(4000, 4.0) < 10e9


ENGINES = ("mgvi", "natural", "svi")


@pytest.mark.parametrize("engine", ENGINES)
def test_stars_cost_where_they_are_kept_one_by_one(engine):
    def cost(stars: int, nodes: float) -> Cost:
        return Cost.of(engine, Size(1000, 1000, 1000, True, stars, nodes))

    none = cost(0, 0)
    compressed, exact, uncertain = cost(10**6, 0), cost(10**6, 1), cost(10**6, 29)
    assert compressed.fit_seconds - none.fit_seconds == pytest.approx(1)  # one pass
    assert compressed.memory_bytes == none.memory_bytes
    assert exact.fit_seconds > none.fit_seconds + 60
    assert uncertain.fit_seconds > 2 * exact.fit_seconds - none.fit_seconds
    assert uncertain.memory_bytes - none.memory_bytes == pytest.approx(0.98e9, rel=0.02)
    few = cost(10**5, 29)
    assert uncertain.fit_seconds - none.fit_seconds == pytest.approx(10 * (few.fit_seconds - none.fit_seconds))


def test_cost_of_stars_is_that_of_the_measurements():
    """Seconds of two cores: the table of distances in benchmarks/README.md has 30 with summing, and 7 without."""

    def of_stars(engine: str, learned: bool, stars: int) -> float:
        with_stars, without = (Cost.of(engine, Size(1, 1, 1, learned, n, 29)) for n in (stars, 0))
        return with_stars.fit_seconds - without.fit_seconds

    assert of_stars("mgvi", False, 120_000) == pytest.approx(30 - 7, rel=0.3)
    # 665 gradients, and two draws of the Hessian for each of 35 stages' particles
    assert of_stars("svi", True, 50_000) == pytest.approx((665 + 2 * 35) * 1.56 / 2, rel=0.3)


def catalogue(n: int, uncertain: bool, seed: int = 0) -> StarCatalogue:
    table = stars_in(n, seed=seed)
    d = table["dist50"] * u.pc
    return StarCatalogue(
        l=table["GLON"] * u.deg,
        b=table["GLAT"] * u.deg,
        distance=d,
        distance_error=0.1 * d if uncertain else None,
        extinction=table["AV50"] * u.mag,
        extinction_error=table["e_AV"] * u.mag,
    )


def test_proposal_counts_its_stars(monkeypatch):
    """Where scatter is not learned, exact distances are compressed and others are not; svi can't learn scatter."""

    def costs(uncertain: bool, n: int = 5000) -> list[Cost | str]:
        return list(propose(catalogue(n, uncertain)).costs.values())

    exact, uncertain, many = costs(False), costs(True), costs(True, 50_000)
    assert uncertain[0].fit_seconds > exact[0].fit_seconds + 0.3
    assert many[0].memory_bytes > uncertain[0].memory_bytes + 45_000 * 400
    assert exact[2] == uncertain[2] == "can't learn scatter: set both to numbers"
    assert any(exact[2] in line for line in propose(catalogue(500, True)).estimates())

    monkeypatch.setattr("gpdust.config.propose.MOST_SINGLE", 1000)
    compressed, summed = costs(False), costs(True)
    assert isinstance(compressed[2], Cost)
    assert compressed[0].fit_seconds < exact[0].fit_seconds
    for one, other in zip(compressed, summed, strict=True):
        assert other.fit_seconds > one.fit_seconds + 0.3
    assert exact[0].memory_bytes > compressed[0].memory_bytes + 5000 * 200


@pytest.mark.parametrize(
    ("engine", "learned"), [("mgvi", False), ("mgvi", True), ("natural", False), ("natural", True)]
)
def test_draws_that_a_fit_looks_at_are_about_those_of_the_estimate(engine, learned, monkeypatch):
    """What time a look takes is a matter of the machine; benchmarks/star_pass.py prints it."""
    looked = []
    draws, information = MarginalLikelihood._draws, MarginalLikelihood.information

    def noted(stars: MarginalLikelihood, extinction: torch.Tensor) -> np.ndarray:
        found = draws(stars, extinction)
        looked.append(len(stars) * len(found))
        return found

    def noted_as_five(stars: MarginalLikelihood, *arguments: object) -> object:
        looked.append(4 * len(stars))
        return information(stars, *arguments)

    monkeypatch.setattr(MarginalLikelihood, "_draws", noted)
    monkeypatch.setattr(MarginalLikelihood, "information", noted_as_five)
    truth = GridTruth.sample(clump_density(0), CLUMP_REGION.grid((10, 10, 12)))
    survey = mock_survey(truth, CLUMP_REGION, 1500, 0, errors=ErrorModel(distance_fraction=0.1))
    options = {"length_scale": 120 * u.pc, "mean_density": BACKGROUND * u.mag / u.pc, "learn": learned}
    prior = SpectralGP(**options) if engine == "mgvi" else InducingGP(inducing=20, **options)
    model = DustModel(survey.catalogue, CLUMP_REGION.grid((3, 3, 8)), prior)
    fit(model, engine=engine, progress=False)
    assert 1 / 4 < sum(looked) / len(model.likelihood) / STAR_DRAWS[engine][learned] < 4


def test_cost_in_words():
    assert str(Cost(59, 119, 2**30)) == "about 60 s for the fit, 2 min for maps, 1.0 GiB"
