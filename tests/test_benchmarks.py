"""The benchmarks run at a tiny size and print their tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = ["--stars", "2000", "--shape", "5", "5", "6"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clumps.py", [*TINY, "--seeds", "3", "--inducing", "30", "--map-shape", "6", "6", "8"], "mean"),
        (
            "stars_scaling.py",
            ["--counts", "300", "3000", "--shape", "5", "5", "6", "--inducing", "30", "--rounds", "1"],
            "time of a step",
        ),
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
    command = [sys.executable, str(BENCHMARKS / name), *arguments, "--json", str(tmp_path / "out.json")]
    # A process of its own: each measures time or memory, and one starts further processes.
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout.splitlines()[0]
    assert expected in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["machine"] == done.stdout.splitlines()[0]
