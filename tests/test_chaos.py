"""A slice of ``make chaos``: kills and faults after which nothing is partial and nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from magml.bundle import write_bundle
from magml.files import atomic_directory
from tests import bundle_parts as parts
from tests.chaos import work
from tests.chaos.run import PLAN, schedule
from tests.chaos.world import ROOT, Lost

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and signals")


def test_nothing_is_lost_in_a_slice() -> None:
    """In a process of its own: this one has threads that must not be forked."""
    kinds = ["kill score", "kill recalibrate", "kill review", "kill registry", "truncated",
             "read-only", "no room", "full disk"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--runs", "8", "--seed", "7", "--only", *kinds],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert '"lost": 0' in done.stdout


def test_the_plan_is_repeatable_and_large_enough() -> None:
    assert sum(PLAN.values()) >= 200
    assert schedule(200, 1) == schedule(200, 1) != schedule(200, 2)
    assert set(schedule(200, 1)) == set(PLAN)


def test_what_is_partial_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_bytes(b"half")
    with pytest.raises(Lost, match="part of scores"):
        work.check_table(tmp_path / "scores.csv", b"half and half")


def test_a_folder_is_replaced_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    write_bundle(target, parts.contents())
    with pytest.raises(ZeroDivisionError), atomic_directory(target) as beside:
        (beside / "x").write_text(f"half {1 / 0}")
    assert (target / "manifest.json").is_file()
    with atomic_directory(target) as beside:
        (beside / "new").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert [path.name for path in target.iterdir()] == ["new"]
