"""`gpdust query`: percentiles at places of a finished fit, and what it refuses."""

import json
from pathlib import Path

import pytest
from tiny_fit import fitted, gpdust


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    assert fitted(folder).exit_code == 0
    return folder


def test_query_prints_percentiles_with_units(finished):
    result = gpdust("query", finished / "out", "--l", "60", "--b", "-3,3", "--d", 200, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["units"]["density"] == "mag / pc"
    assert [place["b"] for place in answer["places"]] == pytest.approx([-3, 3])
    for place in answer["places"]:
        assert place["density_p16"] < place["density_p50"] < place["density_p84"]
        assert place["extinction_p50"] == pytest.approx(0.1, abs=0.02)
    table = gpdust("query", finished / "out" / "posterior", "--l", "60", "--b", "-3", "--b", "3", "--d", 200).stdout
    assert len(table.splitlines()) == 4
    assert "mag/pc" in table
    assert f"{answer['places'][0]['extinction_p50']:.4f}" in table.splitlines()[2]


@pytest.mark.parametrize(
    ("places", "code", "message"),
    [
        (["--l", "10", "--b", "0", "--d", "200"], 1, "outside the region of this fit"),
        (["--l", "60", "--b", "0", "--d", "900"], 1, "outside the region of this fit"),
        (["--l", "60,61,62", "--b", "0,1", "--d", "200"], 2, "as many of each"),
        (["--l", "sixty", "--b", "0", "--d", "200"], 2, "'sixty' is not a number"),
        (["--l", "60", "--b", "91", "--d", "200"], 2, "91 deg is no latitude"),
        (["--l", "60", "--b", "0", "--d", "-1"], 2, "-1 pc is no distance"),
    ],
)
def test_query_errors(finished, places, code, message):
    result = gpdust("query", finished / "out", *places)
    assert result.exit_code == code
    assert message in result.stderr


def test_query_of_no_fit(tmp_path):
    place = ["--l", "60", "--b", "0", "--d", "200"]
    assert "there is no folder" in gpdust("query", tmp_path / "none", *place).stderr
    assert "holds no posterior" in gpdust("query", tmp_path, *place).stderr
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    assert "has not ended yet" in gpdust("query", tmp_path, *place).stderr
