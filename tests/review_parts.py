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
def postgresql(folder: Path) -> Iterator[str]:
    """Yield the URL of a PostgreSQL cluster of one's own, reached by a socket in a folder."""
    with postgresql_server(folder) as (url, _):
        yield url


@contextmanager
def postgresql_server(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the URL of a cluster, and what stops it at once, as a crash does, and starts it."""
    programs = postgresql_programs()
    # initdb refuses root; the package made a user for it.
    before = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    place = folder / "pg"
    place.mkdir()
    if before:
        for part in (place, *place.parents):
            if part == Path("/tmp") or part == Path("/"):
                break
            part.chmod(part.stat().st_mode | 0o011)
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
