"""What the tests of the review share: a database to test on, and reviews."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from magml.review.entry import Judgement, Review

REVIEW = Review(
    form="",
    at="2025-03-01T08:00:00Z",
    reviewer="ada",
    role="reviewer",
    blind=True,
    model="m" * 64,
    data="d" * 64,
    explanation="e" * 64,
    page="page",
    subject_id=7,
    prediction_time="2025-02-28T08:00:00",
    prediction={"risk": 0.25, "low": 0.125, "high": 0.5, "band": "raised"},
    judgement=Judgement("agree"),
)


def review(reviewer: str = "ada", overall: str = "agree", **changes: object) -> Review:
    """Return a review on a form of its own."""
    judged = Judgement(overall, comment="" if overall != "disagree" else "no")
    return replace(
        REVIEW, form=secrets.token_hex(8), reviewer=reviewer, judgement=judged, **changes
    )


def postgresql_programs() -> Path:
    """Return the folder of PostgreSQL's programs, or skip the test."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        pytest.skip("needs PostgreSQL (apt-get install postgresql)")
    return found[-1].parent if found else Path(str(on_path)).parent


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the URL of a PostgreSQL cluster of one's own, reached by a socket."""
    with postgresql_server() as (url, _):
        yield url


@contextmanager
def postgresql_server() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the URL of a cluster, and what stops it at once, as a crash does, and starts it.

    It lies in a folder of its own below the system's temporary one. Pytest keeps three of its own
    folders and removes or closes older ones when another pytest starts: a cluster in there dies.
    """
    programs = postgresql_programs()
    with (
        TemporaryDirectory(prefix="magml-pg-") as folder,
        _cluster(programs, Path(folder)) as found,
    ):
        yield found


def _runuser() -> str:
    """Return the program by which root is somebody else; it is on root's own path."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return shutil.which("runuser", path=path) or "runuser"


@contextmanager
def _cluster(programs: Path, place: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    # initdb refuses root; the package made a user for it.
    before = [_runuser(), "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if before:
        shutil.chown(place, "postgres")
    user = "postgres" if before else os.environ.get("USER", "postgres")

    def run(*command: str) -> None:
        subprocess.run([*before, *command], check=True, capture_output=True, timeout=120, cwd=place)

    data = place / "data"
    run(f"{programs}/initdb", "-D", str(data), "-U", user, "-A", "trust", "--no-sync")
    options = f"-k {place} -c listen_addresses='' -c shared_buffers=16MB"
    start = ("-D", str(data), "-w", "-l", f"{place}/log", "-o", options)
    run(f"{programs}/pg_ctl", *start, "start")
    try:
        yield (
            f"postgresql://{user}@/postgres?host={place}",
            lambda: run(f"{programs}/pg_ctl", *start, "-m", "immediate", "restart"),
        )
    finally:
        run(f"{programs}/pg_ctl", "-D", str(data), "-m", "immediate", "stop")


#: People of the small review: id to the events behind its pages.
PEOPLE = 60
PASSWORD = "a long enough password"


def records() -> tuple[Any, Any, Any]:
    """Return events, prediction times and outcomes of people for the model of `bundle_parts`."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(5)
    rows: list[tuple[Any, ...]] = []
    at = pd.Timestamp("2025-03-01 08:00")
    for person in range(1, PEOPLE + 1):
        rows.append((person, pd.Timestamp("1950-06-01"), None, "MEDS_BIRTH", None, None, ""))
        for hours in (70, 40, 20, 8, 3)[: int(rng.integers(0, 6))]:
            rows.append(
                (person, at - pd.Timedelta(hours=hours), None, "LOINC//2823-3",
                 round(float(rng.normal(3.8, 0.6)), 2), "mmol/L", f"lab:{person}-{hours}")
            )  # fmt: skip
        if rng.random() < 0.7:
            rows.append(
                (person, at - pd.Timedelta(hours=30), None, "LOINC//1751-7",
                 round(float(rng.normal(33, 5)), 1), "g/L", f"lab:{person}-a")
            )  # fmt: skip
        if rng.random() < 0.5:
            begun = at - pd.Timedelta(days=int(rng.integers(1, 200)))
            rows.append((person, begun, None, "ATC//C03CA01", None, None, f"order:{person}"))
    names = ("subject_id", "time", "end_time", "code", "numeric_value", "unit", "source")
    events = pd.DataFrame(rows, columns=list(names))
    times = pd.DataFrame({"subject_id": range(1, PEOPLE + 1), "prediction_time": at})
    outcomes = times.assign(boolean_value=rng.random(PEOPLE) < 0.3)
    return events, times, outcomes


def small_desk(folder: Path, *, users: bool = True, **settings: Any) -> Any:
    """Return an open review of the small model, with people who may read and sign."""
    from magml.bundle.write import write_bundle
    from magml.review.accounts import set_account
    from magml.review.open import open_review
    from magml.review.record import Places, open_record
    from magml.review.web.settings import Settings
    from tests.bundle_parts import contents

    bundle = folder / "bundle"
    if not bundle.exists():
        write_bundle(bundle, contents())
    if users:
        record = open_record(Places.of(folder / "reviews"))
        for name, role in (
            ("ada", "reviewer"), ("ben", "reviewer"), ("lea", "lead"), ("rob", "read-only")
        ):  # fmt: skip
            set_account(record.engine, name, role, PASSWORD)
        record.close()
    events, times, outcomes = records()
    return open_review(
        bundle, events, times, labels=outcomes, record=folder / "reviews",
        settings=Settings(**settings), threads=1,
    )  # fmt: skip
