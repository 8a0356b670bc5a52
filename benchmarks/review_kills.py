"""Reviewers who sign while the server is killed again and again: nothing acknowledged is lost.

Two reviewers each sign many reviews through a real server process, which is killed (SIGKILL) at
random moments and started again; on PostgreSQL the database server is now and then stopped at once
as well. A reviewer whose connection breaks sends the same form again until it is acknowledged. At
the end every acknowledged review must stand in the record under the number it was given, once, and
the chain must be whole.

Usage: python benchmarks/review_kills.py --reviews 1000 [--database sqlite|postgresql] [--seed 1]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Seconds after which the whole is given up.
PATIENCE = 600


@dataclass(frozen=True)
class Outcome:
    """What happened, and what was found afterwards."""

    database: str
    reviewers: int
    reviews: int
    kills: int
    database_stops: int
    sent_again: int
    acknowledged: int
    lost: int
    misnumbered: int
    doubled: int
    entries: int
    faults: int
    seconds: float


def serve(port: int, folder: str, url: str) -> None:
    """Serve a record: POST / signs a review and answers with its number."""
    import uvicorn
    from fastapi import FastAPI, HTTPException

    from magml.errors import MagmlError
    from magml.review.entry import Judgement, Review
    from magml.review.record import Places, open_record

    record = open_record(Places.of(folder, url or None))
    app = FastAPI()

    @app.post("/")
    def sign(form: str, reviewer: str, page: str) -> dict[str, int]:
        made = Review(
            form, "2025-03-01T08:00:00Z", reviewer, "reviewer", True, "m" * 64, "d" * 64, "e" * 64,
            page, 7, "2025-02-28T08:00:00", {"risk": 0.25}, Judgement("agree"),
        )  # fmt: skip
        try:
            return {"number": record.add(page, form, lambda _: made)[0]}
        except MagmlError as error:
            raise HTTPException(503, error.seen) from error

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical")


def nursery(port: int, folder: str, url: str) -> None:
    """Import what a server needs once, and fork a server for each line read."""
    import fastapi  # noqa: F401
    import psycopg  # noqa: F401
    import uvicorn  # noqa: F401

    import magml.review.record  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                serve(port, folder, url)
            finally:
                os._exit(1)
        print(pid, flush=True)


class Reviewer(threading.Thread):
    """Signs reviews one after another, each until it is acknowledged."""

    def __init__(self, name: str, port: int, reviews: int, give_up: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.forms = [f"{name}-{number}" for number in range(reviews)]
        self.acknowledged: dict[str, int] = {}
        self.sent_again = 0
        self._port, self._give_up = port, give_up

    def run(self) -> None:
        connection = None
        for number, form in enumerate(self.forms):
            while form not in self.acknowledged and not self._give_up.is_set():
                try:
                    connection = connection or http.client.HTTPConnection(
                        "127.0.0.1", self._port, timeout=10
                    )
                    # Both readers judge the same pages.
                    query = f"/?form={form}&reviewer={self.name}&page=page-{number}"
                    connection.request("POST", query)
                    answer = connection.getresponse()
                    body = answer.read()
                    if answer.status == 200:
                        self.acknowledged[form] = json.loads(body)["number"]
                        continue
                except (OSError, http.client.HTTPException, ValueError):
                    connection = None
                self.sent_again += 1
                time.sleep(0.01)


def run(
    folder: Path,
    *,
    reviews: int,
    seed: int,
    url: str = "",
    between: float = 20,
    stop_database: Callable[[], None] | None = None,
) -> Outcome:
    """Let two reviewers sign while the server is killed; return what was found afterwards.

    Parameters
    ----------
    folder
        Folder of the record, made here.
    reviews
        Reviews of each reviewer.
    seed
        Of the moments of the kills.
    url
        The database; default SQLite in the folder.
    between
        Mean number of reviews acknowledged between two kills. Every fifth server is killed before
        or while it starts.
    stop_database
        Stops and starts the database at once; called with every fifth kill.
    """
    rng, begun = random.Random(seed), time.monotonic()
    port = free_port()
    command = [sys.executable, __file__, "--nursery", str(port), str(folder), url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    give_up = threading.Event()
    readers = [Reviewer(name, port, reviews, give_up) for name in ("ada", "bob")]
    kills = stops = 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for reader in readers:
            reader.start()
        while any(reader.is_alive() for reader in readers):
            parent.stdin.write("start\n")
            parent.stdin.flush()
            pid = int(parent.stdout.readline())
            if kills % 5 == 3:
                time.sleep(rng.uniform(0, 0.3))
            else:
                await_reviews(readers, rng.expovariate(1 / between), pid)
                time.sleep(rng.uniform(0, 0.01))  # somewhere in the next review
            if stop_database is not None and kills % 5 == 1:
                stop_database()
                stops += 1
            with contextlib.suppress(ProcessLookupError):  # it could not reach the database
                os.kill(pid, signal.SIGKILL)
                kills += 1
            if time.monotonic() - begun > PATIENCE:
                give_up.set()
        parent.stdin.close()
    for reader in readers:
        reader.join()
    return judge(folder, url, readers, kills, stops, begun)


def await_reviews(readers: list[Reviewer], more: float, pid: int) -> None:
    """Wait until some more reviews are acknowledged, all are done, or the server has ended."""

    def signed() -> int:
        return sum(len(reader.acknowledged) for reader in readers)

    target = signed() + more
    while signed() < target and any(reader.is_alive() for reader in readers):
        time.sleep(0.001)
        if not Path(f"/proc/{pid}").exists():  # it could not reach the database
            return


def judge(
    folder: Path, url: str, readers: list[Reviewer], kills: int, stops: int, begun: float
) -> Outcome:
    """Compare the record with what was acknowledged."""
    from magml.review import verify_reviews
    from magml.review.record import Places, open_record

    record = open_record(Places.of(folder, url or None), begin=False)
    stored: dict[str, list[int]] = {}
    for number, review in record.reviews():
        stored.setdefault(review.form, []).append(number)
    record.close()
    acknowledged = {form: n for reader in readers for form, n in reader.acknowledged.items()}
    found = verify_reviews(folder, db=url or None)
    return Outcome(
        database="postgresql" if url else "sqlite",
        reviewers=len(readers),
        reviews=sum(len(reader.forms) for reader in readers),
        kills=kills,
        database_stops=stops,
        sent_again=sum(reader.sent_again for reader in readers),
        acknowledged=len(acknowledged),
        lost=sum(form not in stored for form in acknowledged),
        misnumbered=sum(n not in stored.get(form, [n]) for form, n in acknowledged.items()),
        doubled=sum(len(numbers) > 1 for numbers in stored.values()),
        entries=found.entries,
        faults=len(found.faults),
        seconds=round(time.monotonic() - begun, 1),
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> None:
    if sys.argv[1:2] == ["--nursery"]:
        nursery(int(sys.argv[2]), sys.argv[3], sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reviews", type=int, default=1000, help="of each of the two reviewers")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--between", type=float, default=20, help="mean reviews between kills")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if chosen.database == "sqlite":
            found = run(
                folder / "reviews", reviews=chosen.reviews, seed=chosen.seed, between=chosen.between
            )
        else:
            sys.path.insert(0, str(ROOT))
            from tests.review_parts import postgresql_server

            with postgresql_server() as (url, restart):
                found = run(
                    folder / "reviews", reviews=chosen.reviews, seed=chosen.seed, url=url,
                    between=chosen.between, stop_database=restart,
                )  # fmt: skip
    print(json.dumps(asdict(found), indent=1))
    if found.lost or found.misnumbered or found.doubled or found.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
