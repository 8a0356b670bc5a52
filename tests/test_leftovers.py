"""What killed processes leave goes at the next write; what a living one works on stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from magml import files
from magml.events import read_events
from magml.files import atomic_directory, atomic_file
from magml.leftovers import beside, clean
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks of folders")

KILLED = """
import sys, time
from magml import files
{broken}
with files.{kind}({target!r}) as new:
    (new / "half" if new.is_dir() else new).write_text("half")
    print("writing", flush=True)
    {wait}
print("done", flush=True)
time.sleep(60)
"""


def writer(target: Path, kind: str, broken: str = "", wait: str = "time.sleep(60)") -> None:
    """Write in another process, and kill it in the middle."""
    code = KILLED.format(target=str(target), kind=kind, broken=broken, wait=wait)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        if wait != "time.sleep(60)":
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(("kind", "name"), [("atomic_file", "a.csv"), ("atomic_directory", "run")])
def test_what_a_kill_left_goes_at_the_next_write(kind: str, name: str, tmp_path: Path) -> None:
    writer(tmp_path / name, kind)
    assert len(list(tmp_path.iterdir())) == 1
    # Of another target, of a living writer, and of the user.
    own = tmp_path / f".{name}.magml-notes"
    own.mkdir()
    with beside(tmp_path / name) as alive, beside(tmp_path / "other") as others:
        with getattr(files, kind)(tmp_path / name) as new:
            (new / "whole" if new.is_dir() else new).write_text("whole")
        assert alive.is_dir()
        assert others.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([own.name, name])


def test_a_kill_between_two_renames_loses_nothing(tmp_path: Path) -> None:
    """Where two folders cannot change places in one step, the old one is moved aside first."""
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "whole").write_text("old")
    broken = (
        "files._exchanged = lambda *_: False\n"
        "import os\nreal = os.replace\n"
        "def replace(one, other):\n"
        "    if str(other) == TARGET and calls: print('moved', flush=True); time.sleep(60)\n"
        "    calls.append(1)\n    real(one, other)\n"
        "calls = []\nos.replace = replace\n"
        "files._moved = lambda *_: False\n"
    ).replace("TARGET", repr(str(target)))
    writer(target, "atomic_directory", broken, "pass")
    assert not target.exists()
    clean(target)
    assert (target / "whole").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_is_being_written_is_not_read(tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {"subject_id": [1], "time": [pd.Timestamp("2025-01-01")], "code": ["LAB//K"]}
    )
    table.to_parquet(tmp_path / "a.parquet")
    with atomic_file(tmp_path / "b.parquet") as new:
        table.to_parquet(new)
        assert read_events(tmp_path).count() == 1
    assert read_events(tmp_path).count() == 2


def test_two_writers_of_one_folder_leave_a_whole_one(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with atomic_directory(target) as one:
        (one / "one").write_text("1")
        with atomic_directory(target) as two:
            (two / "two").write_text("2")
    assert [path.name for path in target.iterdir()] == ["one"]
    assert os.listdir(tmp_path) == ["run"]
