"""Atomic files: the old one or the whole new one."""

import json
import os

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


def test_what_a_writer_made_private_is_not(tmp_path):
    """Safetensors makes files that only their owner can read."""
    plain = tmp_path / "plain"
    plain.write_text("")
    with atomic_folder(tmp_path / "posterior") as temporary:
        (temporary / "posterior.safetensors").write_text("")
        (temporary / "posterior.safetensors").chmod(0o600)
    with atomic_path(tmp_path / "net.safetensors") as temporary:
        temporary.write_text("")
        temporary.chmod(0o600)
    for path in (tmp_path / "posterior" / "posterior.safetensors", tmp_path / "net.safetensors"):
        assert path.stat().st_mode == plain.stat().st_mode


def test_a_folder_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "posterior").symlink_to(tmp_path / "disk")
    with atomic_folder(tmp_path / "posterior") as temporary:
        (temporary / "new").write_text("")
    assert (tmp_path / "posterior").is_symlink() and (tmp_path / "disk" / "new").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "posterior"}


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    path, replace = tmp_path / "posterior", os.replace
    path.mkdir()
    (path / "old").write_text("")

    def fails_once(source: object, target: object) -> None:
        if target == path and not (source / "old").exists():
            raise PermissionError("no")
        replace(source, target)

    monkeypatch.setattr("gpdust.files.os.replace", fails_once)
    with pytest.raises(PermissionError), atomic_folder(path) as temporary:
        (temporary / "new").write_text("")
    assert [file.name for file in path.iterdir()] == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["posterior"]
