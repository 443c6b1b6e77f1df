"""A library of cubes is the same however often its making was stopped, and says what is wrong with it."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpdust.errors import EncoderError
from gpdust.simulate.cubes import RECIPES, CubeLibrary, Recipe, library
from gpdust.simulate.cubes.disc import convolved
from gpdust.simulate.cubes.recipes import large_region


def make(path, count=11, seed=3, recipe="large-region", cells=8, **options) -> CubeLibrary:
    return CubeLibrary.make(path, recipe, count, seed, cells, progress=False, **options)


@pytest.fixture
def pieces(monkeypatch) -> None:
    monkeypatch.setattr(library, "CHUNK", 4)


def contents(path) -> list[bytes]:
    return [(path / name).read_bytes() for name in ("density.npy", "library.json")]


def test_a_library_gives_its_cubes(tmp_path, pieces):
    cubes = make(tmp_path / "cubes")
    assert (len(cubes), cubes.recipe, cubes.seed, cubes.cells, cubes.cell_length) == (11, "large-region", 3, 8, 240.0)
    again = CubeLibrary.open(tmp_path / "cubes")
    assert (CubeLibrary.done(tmp_path / "cubes"), CubeLibrary.done(tmp_path / "nowhere")) == (11, 0)
    assert_array_equal(again[:], cubes[:])
    assert_array_equal(again[np.array([7, 2])], np.stack([cubes[7], cubes[2]]))
    own = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(7,)))
    assert_array_equal(cubes[7], RECIPES["large-region"].simulate(own, 8))
    assert cubes[2:4].dtype == np.float32
    assert cubes[2:4].flags.writeable  # a copy: nothing that is done to it reaches the disk
    assert len(np.unique(cubes[:].reshape(11, -1)[:, 0])) == 11
    assert repr(cubes).endswith("11 cubes of large-region, 8³ cells, seed 3)")
    assert sorted(file.name for file in (tmp_path / "cubes").iterdir()) == ["density.npy", "library.json"]


def test_cubes_depend_on_seed_and_number_only(tmp_path, pieces):
    cubes = make(tmp_path / "a")
    make(tmp_path / "b", threads=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert_array_equal(make(tmp_path / "c", count=np.int64(5))[:], cubes[:5])
    assert not np.array_equal(make(tmp_path / "d", seed=4)[0], cubes[0])


@pytest.mark.parametrize("stopped_at", [0, 2, 6, 10])
def test_a_killed_library_goes_on(tmp_path, pieces, monkeypatch, stopped_at):
    make(tmp_path / "whole")
    made = []

    def shape(generator, cells):
        made.append(None)
        if len(made) > stopped_at:
            raise KeyboardInterrupt
        return large_region(generator, cells)

    with monkeypatch.context() as patch:
        patch.setitem(RECIPES, "large-region", Recipe("large-region", 1920, shape, (0.01, 0.5)))
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "broken", threads=1)
    done = json.loads((tmp_path / "broken" / "library.json").read_text())["done"]
    assert done == stopped_at // 4 * 4
    with pytest.raises(EncoderError, match=f"not finished: it has {done} of 11 cubes"):
        CubeLibrary.open(tmp_path / "broken")
    made.clear()
    patched = Recipe("large-region", 1920, lambda *words: made.append(None) or large_region(*words), (0.01, 0.5))
    monkeypatch.setitem(RECIPES, "large-region", patched)
    make(tmp_path / "broken")
    assert len(made) == 11 - done
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    make(tmp_path / "broken")
    assert len(made) == 11 - done  # nothing left to do


def test_a_kill_before_the_note_is_no_harm(tmp_path, pieces, monkeypatch):
    make(tmp_path / "whole")

    def kill(path, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(library, "write_json", kill)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "broken")
    (tmp_path / "broken" / "density.npy").write_bytes(b"half a hea")
    make(tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_split(tmp_path):
    cubes = make(tmp_path / "cubes", count=50)
    parts = cubes.split(1)
    assert [len(part) for part in parts] == [36, 9, 5]
    assert_array_equal(np.sort(np.concatenate(parts)), np.arange(50))
    for part, again in zip(parts, cubes.split(1), strict=True):
        assert_array_equal(part, again)
    assert not np.array_equal(parts[2], cubes.split(2)[2])
    assert cubes[parts[2]].shape == (5, 8, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "seed 3 instead of 4"),
        ({"count": 12}, "count 11 instead of 12"),
        ({"recipe": "small-region"}, "recipe large-region instead of small-region, cell_length 240.0 instead of 24.0"),
        ({"recipe": "huge-region"}, "no recipe 'huge-region'; choose one of small-region, large-region"),
        ({"count": 0}, "must be positive"),
        ({"seed": -1}, "not negative"),
        ({"threads": 0}, "must be positive"),
        ({"cells": 33}, "even number of cells"),
    ],
)
def test_what_a_library_cannot_be(tmp_path, change, message):
    make(tmp_path / "cubes")
    with pytest.raises(EncoderError, match=message):
        make(tmp_path / "cubes", **change)


def test_folders_that_are_no_library(tmp_path):
    with pytest.raises(EncoderError, match="holds no library"):
        CubeLibrary.open(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EncoderError, match="choose a new or an empty folder"):
        make(tmp_path)
    with pytest.raises(EncoderError, match="choose a new or an empty folder"):
        make(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    assert len(make(tmp_path / "empty")) == 11


def edit(path, **changes) -> None:
    record = json.loads((path / "library.json").read_text()) | changes
    kept = {key: value for key, value in record.items() if value is not None}
    (path / "library.json").write_text(json.dumps(kept))


def test_damaged_libraries(tmp_path):
    whole = tmp_path / "whole"
    make(whole)

    def damaged(name, **changes):
        shutil.copytree(whole, tmp_path / name)
        edit(tmp_path / name, **changes)
        return tmp_path / name

    short = damaged("short", done=5)
    data = (short / "density.npy").read_bytes()
    (short / "density.npy").write_bytes(data[:-100])
    with pytest.raises(EncoderError, match="missing or damaged"):
        make(short)
    assert len((short / "density.npy").read_bytes()) == len(data) - 100
    edit(short, done=11)
    with pytest.raises(EncoderError, match="missing or damaged"):
        CubeLibrary.open(short)
    (short / "density.npy").unlink()
    with pytest.raises(EncoderError, match="missing or damaged"):
        CubeLibrary.open(short)
    with pytest.raises(EncoderError, match=r"where library\.json says float32"):
        CubeLibrary.open(damaged("other", cells=10))
    with pytest.raises(EncoderError, match="not of format 1"):
        CubeLibrary.open(damaged("new", format=2))
    with pytest.raises(EncoderError, match="lacks seed"):
        CubeLibrary.open(damaged("lacking", seed=None))
    with pytest.raises(EncoderError, match=r"gpdust 0\.0\.1 instead of"):  # half of each would be neither
        make(damaged("half", gpdust="0.0.1", done=5))
    assert len(make(damaged("old", gpdust="0.0.1"))) == 11
    (whole / "library.json").write_text("{")
    with pytest.raises(EncoderError, match="can't be read"):
        CubeLibrary.open(whole)


def test_a_full_disk_is_said_beforehand(tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(EncoderError, match="are free"):
        make(tmp_path / "cubes")


def test_a_recipe_of_ones_own(tmp_path, monkeypatch):
    own = Recipe("convolved", 1920, partial(large_region, disc=convolved), (0.01, 0.5))
    monkeypatch.setitem(RECIPES, "convolved", own)
    cubes = make(tmp_path / "cubes", recipe="convolved")
    assert cubes.recipe == "convolved"
    assert not np.array_equal(cubes[:], make(tmp_path / "product")[:])


def test_progress_is_shown(tmp_path, capsys):
    CubeLibrary.make(tmp_path / "cubes", "large-region", 3, 0, 8)
    assert "3/3" in capsys.readouterr().err
