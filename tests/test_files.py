"""Files: what is written appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from magml.errors import InputError
from magml.files import atomic_directory, atomic_file, canonical_json


def write_half(context) -> None:
    """Begin to write, and fail."""
    with context as beside:
        (beside / "half.txt" if beside.is_dir() else beside).write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(atomic_file(target))
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for content in ("old", "new"):
        with atomic_directory(target) as beside:
            (beside / f"{content}.txt").write_text(content)
    assert [path.name for path in target.iterdir()] == ["new.txt"]
    with pytest.raises(RuntimeError):
        write_half(atomic_directory(target))
    assert [path.name for path in target.iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be made"):
        write_half(atomic_file(tmp_path / "file" / "b"))


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"a": float("nan")})
