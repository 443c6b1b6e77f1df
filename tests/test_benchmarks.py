"""The benchmarks run at a tiny size and print their tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CUBES = ["--skies", "1", "--stars", "300", "--nside", "4"]
TINY = ["--stars", "2000", "--shape", "5", "5", "6"]
CLUMPS = ["--stars", "800", "--shape", "5", "5", "8", "--truth-shape", "10", "10", "12"]
POINTS = ["--engine", "svi", "--prior", "inducing", "--inducing", "30"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clumps.py", [*TINY, *POINTS, "--seeds", "3", "--map-shape", "6", "6", "8"], "learned     mean"),
        (
            "stars_scaling.py",
            [*POINTS, "--counts", "300", "3000", "--shape", "5", "5", "6", "--rounds", "1"],
            "time of a step",
        ),
        ("cells_scaling.py", [*POINTS, "--cells", "100", "300", "--stars", "2000"], "time of a fit"),
        (
            "suite.py",
            [*POINTS, "--quick", "--seeds", "3", "--cases", "matern-given", "range-scatter", "dense"],
            "dense stars, clumps |",
        ),
        (
            "calibration.py",
            ["--quick", "--cases", "linear", "--distances", "exact"],
            "| linear | exact | mgvi |",
        ),
        ("make_cubes.py", ["--recipe", "large-region", "--cells", "8", "--count", "5"], "cubes per second"),
        ("star_pass.py", ["--stars", "300", "--shape", "4", "4", "6", "--noise", "student-t"], "student-t"),
        (
            "vnet_merit.py",
            ["--recipes", "large-region", *CUBES, "--count", "2", "--exact-fits", "1"],
            "large-region: 300 stars",
        ),
        (
            "seeding.py",
            [*CUBES, "--unlike", "--engines", "mgvi"],
            "ratio of steps, seeded over cold",
        ),
        ("preconditioner.py", ["--quick", "--cases", "matern-given"], "matern-given"),
        (
            "whitening.py",
            [*TINY, "--inducing", "30", "--seconds", "0.5", "--tempered-steps", "20"],
            "svi, draws not mirrored",
        ),
        (
            "public_recipe.py",
            [*TINY, "--inducing", "30", "--particles", "2", "--rates", "0.01", "--seconds", "0.5"],
            "recipe, all particles at once",
        ),
    ],
)
def test_benchmark(tmp_path, name, arguments, expected):
    printed, record = run(name, arguments, tmp_path)
    assert "torch" in printed.splitlines()[0]
    assert expected in printed
    assert record["machine"] == printed.splitlines()[0]


def run(name: str, arguments: list[str], tmp_path: Path) -> tuple[str, dict]:
    """What a benchmark prints and writes; a process of its own, since some measure memory or start further ones."""
    command = [sys.executable, str(BENCHMARKS / name), *arguments, "--json", str(tmp_path / "out.json")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((tmp_path / "out.json").read_text())


def test_distances_that_are_summed_over_serve_the_map_and_the_stars(tmp_path):
    arguments = [*CLUMPS, "--treatments", "ignore", "marginal"]
    printed, record = run("distances.py", arguments, tmp_path)
    ignored, summed = record["runs"]
    assert (ignored["way"], summed["way"]) == ("ignore", "marginal")
    assert summed["scores"]["error_median"] < 0.85 * ignored["scores"]["error_median"]
    assert summed["scores"]["density_coverage_68"] > ignored["scores"]["density_coverage_68"] + 0.1
    assert summed["distance_after"] < 0.8 * summed["distance_before"]
    assert 0.45 < summed["distance_coverage"] < 0.85
    assert f"{summed['distance_after']:.1f} pc after (rms)" in printed


def test_a_mixture_finds_outliers_and_mends_the_map(tmp_path):
    arguments = [*CLUMPS, "--cases", "outliers", "--ways", "gaussian", "mixture"]
    printed, record = run("robustness.py", arguments, tmp_path)
    gaussian, mixture = record["runs"]
    assert mixture["found"] > 0.9
    assert mixture["false"] < 0.1
    assert "100.0% of the bad stars found" in printed
    assert mixture["scores"]["error_median"] < 0.6 * gaussian["scores"]["error_median"]
    assert "found" not in gaussian


def test_intervals_hold_their_share_where_the_prior_is_right(tmp_path):
    arguments = ["--truths", "4", "--stars", "300", "--draws", "99", "--cases", "natural"]
    printed, record = run("coverage.py", arguments, tmp_path)
    (found,) = record["runs"]
    assert found["levels"] == [50, 68, 95]
    for kind in ("density", "extinction"):
        assert found[kind] == pytest.approx([0.5, 0.68, 0.95], abs=0.08)
    assert "natural          density" in printed


def test_suite_keeps_what_it_does_not_make_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import suite

    path = tmp_path / "suite.json"
    assert suite.kept(path, []) == []
    runs = [
        {"case": case, "seed": seed, "engine": "svi", "prior": "spectral", "quick": False}
        for case in ("clumps", "sheets", "no longer a case")
        for seed in (0, 1)
    ]
    path.write_text(json.dumps({"runs": runs}))
    assert suite.kept(path, [("clumps", 0, "svi", "spectral", False)]) == runs[1:4]


def test_a_case_that_fails_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import suite

    monkeypatch.setattr(
        sys, "argv", ["suite.py", "--cases", "range", "--seeds", "4", "--json", str(tmp_path / "s.json")]
    )
    monkeypatch.setattr(suite, "in_own_process", lambda *_: 1 / 0)
    suite.main()
    assert "seed 4: FAILED, ZeroDivisionError" in capsys.readouterr().out
    assert "could not be fitted: densities over 4 dex, seed 4" in (tmp_path / "s.md").read_text()
    assert json.loads((tmp_path / "s.json").read_text())["runs"][0]["failed"].startswith("ZeroDivisionError")
