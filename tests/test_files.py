"""Atomic files: the old one or the whole new one."""

import json

import pytest

from gpdust.files import atomic_folder, atomic_path, write_json


class Failure(Exception):
    pass


def test_a_file_appears_whole_and_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "new" / "map.fits.gz"
    for text in ("old", "new"):
        with atomic_path(path) as temporary:
            assert temporary.name.endswith("map.fits.gz")
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "map.txt"
    path.write_text("old")
    with pytest.raises(Failure), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise Failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_and_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "new" / "posterior"
    for text in ("old", "new"):
        with atomic_folder(path) as temporary:
            (temporary / text).write_text(text)
        assert [member.name for member in path.iterdir()] == [text]
    assert path.stat().st_mode & 0o777 == 0o755
    assert list(path.parent.iterdir()) == [path]


def test_the_old_folder_stays_when_filling_fails(tmp_path):
    path = tmp_path / "posterior"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(Failure), atomic_folder(path) as temporary:
        (temporary / "new").write_text("half of the n")
        raise Failure
    assert [member.name for member in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_without_numbers_it_has_no_words_for(tmp_path):
    path = tmp_path / "fit.json"
    write_json(path, {"a": 1.5, "b": ["ä"]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1.5, "b": ["ä"]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["a"] == 1.5
