"""A run that was interrupted goes on from what it had finished, to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from magml.experiments import run as run_module
from magml.experiments import train
from magml.features import ranges
from magml.features.usable import Reader
from magml.models import nested as nested_module
from magml.simulation import generate_hospital
from tests.test_train import files_of, small_workspace


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("unfinished")
    return {
        "data": generate_hospital(1100, seed=3).write(folder / "hospital"),
        "workspace": small_workspace(folder / "workspace"),
        "quick": True,
        "track": False,
        "threads": 1,
    }


@pytest.fixture(scope="module")
def whole(given, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(train("demo", out=tmp_path_factory.mktemp("whole"), **given).folder)


class Killed(BaseException):
    """Stands for a signal: nothing in magml may catch it."""


def _killed_at(monkeypatch, module, name: str, call: int) -> list[int]:
    """Let the given call of a function raise, and count the calls."""
    real, calls = getattr(module, name), []

    def counted(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize(
    ("where", "call", "folds_left"),
    [("fold", 2, 1), ("final", 1, 0), ("results", 1, 0)],
)
def test_a_run_goes_on_and_ends_in_the_same_bytes(
    where, call, folds_left, given, whole, tmp_path: Path, monkeypatch
) -> None:
    target = {
        "fold": (nested_module, "_fit_fold"),
        "final": (run_module, "fit_final"),
        "results": (run_module, "write_results"),
    }[where]
    with monkeypatch.context() as patch:
        _killed_at(patch, *target, call)
        with pytest.raises(Killed):
            train("demo", out=tmp_path, **given)
    assert not (tmp_path / "demo").exists()  # nothing half-written where a run would stand
    with monkeypatch.context() as patch:
        folds = _killed_at(patch, nested_module, "_fit_fold", 0)
        finals = _killed_at(patch, run_module, "fit_final", 0)
        again = train("demo", out=tmp_path, **given)
    assert len(folds) == folds_left
    assert len(finals) == (0 if where == "results" else 1)
    assert files_of(again.folder) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo"]


def test_another_seed_or_other_data_start_anew(given, tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        _killed_at(patch, run_module, "fit_final", 1)
        with pytest.raises(Killed):
            train("demo", out=tmp_path, **given)
    with monkeypatch.context() as patch:
        folds = _killed_at(patch, nested_module, "_fit_fold", 0)
        train("demo", out=tmp_path, seed=77, **given)
    assert len(folds) == 2


def test_a_part_that_does_not_read_is_computed_again(given, whole, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        _killed_at(patch, run_module, "fit_final", 1)
        with pytest.raises(Killed):
            train("demo", out=tmp_path, **given)
    kept = sorted((tmp_path / ".demo.unfinished").iterdir())
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    assert files_of(train("demo", out=tmp_path, **given).folder) == whole


def test_features_are_not_built_again(given, whole, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ranges, "ROWS", 2_000)
    real, read = Reader.read, []

    def counting(self, first: int, last: int):
        read.append(first)
        return real(self, first, last)

    monkeypatch.setattr(Reader, "read", counting)
    with monkeypatch.context() as patch:
        _killed_at(patch, run_module, "cross_validate", 1)
        with pytest.raises(Killed):
            train("demo", out=tmp_path, **given)
    assert len(read) > 2
    assert len(list((tmp_path / ".demo.unfinished").glob("*-people-*.npz"))) == len(read)
    ranges_read = len(read)
    with monkeypatch.context() as patch:
        _killed_at(patch, run_module, "cross_validate", 1)
        with pytest.raises(Killed):
            train("demo", out=tmp_path, **given)
    assert len(read) == ranges_read
    assert files_of(train("demo", out=tmp_path, **given).folder) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo"]
