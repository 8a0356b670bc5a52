"""Two reviewers sign through a server that is killed: nothing acknowledged is lost.

The full size (1,000 reviews each) is ``benchmarks/review_kills.py``; this is a slice of it.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from magml.review.record import Places, open_record
from tests.review_parts import REVIEW, postgresql_server

PLACE = Path(__file__).parents[1] / "benchmarks" / "review_kills.py"


@pytest.fixture(scope="module")
def kills() -> ModuleType:
    pytest.importorskip("uvicorn", reason="needs the extra review")
    spec = importlib.util.spec_from_file_location("review_kills", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["review_kills"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def check(found: object, reviews: int) -> None:
    assert found.kills >= 3  # type: ignore[attr-defined]
    assert found.sent_again > 0  # type: ignore[attr-defined]
    assert found.acknowledged == found.entries == reviews  # type: ignore[attr-defined]
    wrong = found.lost, found.misnumbered, found.doubled, found.faults  # type: ignore[attr-defined]
    assert wrong == (0, 0, 0, 0)


def test_sqlite_loses_nothing(kills: ModuleType, tmp_path: Path) -> None:
    check(kills.run(tmp_path / "reviews", reviews=40, seed=3, between=12), 80)


def test_postgresql_loses_nothing(kills: ModuleType, tmp_path: Path) -> None:
    with postgresql_server() as (url, restart):
        found = kills.run(
            tmp_path / "reviews", reviews=40, seed=2, url=url, between=12, stop_database=restart
        )
    assert found.database_stops >= 1
    check(found, 80)


def test_a_loss_would_be_seen(kills: ModuleType, tmp_path: Path) -> None:
    """An acknowledgement that does not stand in the record, or elsewhere in it, is counted."""
    record = open_record(Places.of(tmp_path / "reviews"))
    for form in ("ada-0", "ada-1"):
        new = replace(REVIEW, form=form)
        record.add(new.page, form, lambda _, new=new: new)
    record.close()
    reader = kills.Reviewer("ada", 1, 3, threading.Event())
    reader.acknowledged = {"ada-0": 1, "ada-1": 1, "ada-2": 3}
    found = kills.judge(tmp_path / "reviews", "", [reader], 0, 0, time.monotonic())
    assert (found.acknowledged, found.lost, found.misnumbered, found.entries) == (3, 1, 1, 2)
