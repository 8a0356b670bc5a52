"""Faults other than a kill: no room, no right, damage, locks, a store that goes, clocks."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.chaos import work
from tests.chaos.world import Lost, World, in_child

#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root writes whatever the mode says.
_OVERRIDE = 0b110
_CAPABILITIES_3 = 0x20080522


def refused(found: tuple[int, str], what: str) -> str:
    """Return what was said, if it was a refusal without a trace."""
    status, said = found
    if status != 2 or "Traceback" in said:
        raise Lost(f"{what}: status {status}, {said[-1500:]}")
    return said


def done(found: tuple[int, str], what: str) -> str:
    """Return what was said, if it was done."""
    status, said = found
    if status != 0:
        raise Lost(f"{what}: status {status}, {said[-1500:]}")
    return said


def no_room(world: World, rng: random.Random) -> None:
    """Write with a limit on the size of files: as on a full disk, writing fails half-way."""
    limit = rng.choice((0, 500, 5_000, 20_000))

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    kind = rng.choice(("score", "recalibrate", "train"))
    name = f"full-{rng.randrange(10**9)}.csv"
    works: dict[str, Callable[[], Any]] = {
        "score": lambda: work.score(world, name),
        "recalibrate": lambda: work.recalibrate(world),
        "train": lambda: work.train(world),
    }
    work.forget(world)
    before = done(in_child(lambda: work.check_bundles(world)), "before")
    found = in_child(works[kind], before=full)
    if found[0] != 0:  # a small enough file fits
        refused(found, f"no room for {kind} at {limit} bytes")
        work.check_table(world.folder / name, None)
        after = done(in_child(lambda: work.check_bundles(world)), "after no room")
        if after != before:
            raise Lost("no room, and a bundle changed")
    (world.folder / name).unlink(missing_ok=True)
    work.forget(world)
    done(in_child(works[kind]), f"{kind} with room again")


def read_only(world: World, rng: random.Random) -> None:
    """Write where nothing may be written."""
    place = world.folder / "closed"
    place.mkdir(exist_ok=True)
    place.chmod(0o555)
    kind = rng.choice(("score", "train", "review"))
    works: dict[str, Callable[[], Any]] = {
        "score": lambda: work.score(world, "closed/scores.csv"),
        "train": lambda: work.train(world, "closed"),
        "review": lambda: work.review(World(**{**vars(world), "folder": place})),
    }
    try:
        refused(in_child(works[kind], before=_without_override), f"read-only for {kind}")
        if list(place.iterdir()):
            raise Lost("something was left in a read-only folder")
    finally:
        place.chmod(0o755)


def _without_override() -> None:
    """Let the modes of folders hold for root too, who runs the tests in containers."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) != 0:
        raise OSError("capget")
    sets[0] &= ~_OVERRIDE  # what is in force
    sets[1] &= ~_OVERRIDE  # what may be: access(2) asks for that
    if libc.capset(header, sets) != 0:
        raise OSError("capset")


def truncated(world: World, rng: random.Random) -> None:
    """Score records of which the end is missing."""
    whole = world.events.read_bytes()
    cut = world.folder / "cut.parquet"
    cut.write_bytes(whole[: rng.randrange(len(whole))])
    changed = World(**{**vars(world), "events": cut})
    said = refused(in_child(lambda: work.score(changed, "cut.csv")), "truncated Parquet")
    if "cut.parquet" not in said and "events" not in said and "records" not in said:
        raise Lost(f"a message that names nothing: {said}")
    work.check_table(world.folder / "cut.csv", None)


def locked(world: World, rng: random.Random) -> None:
    """Train while another process keeps the store locked; record it afterwards."""
    out = f"locked-{rng.randrange(10**9)}"
    lock = sqlite3.connect(world.uri.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        seed = rng.randrange(10**6)
        found = in_child(lambda: work.train(world, out, track=True, seed=seed))
        said = done(found, "training, store locked")
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    if "magml sync" not in said:
        raise Lost(f"a run that was not recorded does not say so: {said}")
    synced(world, world.folder / out / "demo", world.uri)


def synced(world: World, folder: Path, uri: str) -> None:
    """Record a run later, twice: the second call finds it."""
    from dataclasses import asdict

    def run() -> Any:
        from magml.experiments.sync import sync

        return asdict(sync(folder, tracking_uri=uri))

    first = done(in_child(run), "sync")
    second = done(in_child(run), "sync again")
    if '"new": true' not in first or '"new": false' not in second:
        raise Lost(f"sync: {first}, then {second}")


@contextlib.contextmanager
def _server(requests: int) -> Iterator[str]:
    """Yield the address of a store that answers some requests like MLflow and is then gone."""

    class Handler(BaseHTTPRequestHandler):
        left = requests

        def _answer(self) -> None:
            if Handler.left <= 0:
                self.connection.close()
                return
            Handler.left -= 1
            size = int(self.headers.get("content-length") or 0)
            self.rfile.read(size)
            now = int(time.time() * 1000)
            run = {"info": {"run_id": "a" * 32, "experiment_id": "1", "status": "RUNNING",
                            "start_time": now, "artifact_uri": "file:///nowhere"},
                   "data": {}}  # fmt: skip
            experiment = {"experiment_id": "1", "name": "demo", "lifecycle_stage": "active",
                          "artifact_location": "file:///nowhere"}  # fmt: skip
            body = json.dumps({"experiment": experiment, "run": run}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def server_gone(world: World, rng: random.Random) -> None:
    """Train while the tracking server goes away after a few requests; record it afterwards."""
    out = f"gone-{rng.randrange(10**9)}"
    with _server(rng.randrange(8)) as uri:
        elsewhere = World(**{**vars(world), "uri": uri})
        seed = rng.randrange(10**6)
        found = in_child(lambda: work.train(elsewhere, out, track=True, seed=seed))
        said = done(found, "server gone")
    if "magml sync" not in said:
        raise Lost(f"a run that was not recorded does not say so: {said}")
    synced(world, world.folder / out / "demo", world.uri)


def clock_back(world: World, rng: random.Random) -> None:
    """Register with a clock a year behind: the newest version is by number, not by time."""
    real = time.time

    def back() -> None:
        time.time = lambda: real() - 365.25 * 86_400  # type: ignore[method-assign]

    def newest() -> Any:
        from magml.experiments.registry import _newest
        from magml.experiments.store import session

        with session(world.uri) as client:
            return _newest(client, "hypomagnesemia_small")

    first = json.loads(done(in_child(lambda: work.register(world)), "register"))
    second = json.loads(done(in_child(lambda: work.register(world), before=back), "clock back"))
    if int(second["version"]) <= int(first["version"]):
        raise Lost("a clock moved back, and versions went back")
    if json.loads(done(in_child(newest), "newest")) != second["version"]:
        raise Lost("the newest version is not the last one made")
    done(in_child(lambda: work.check_store(world, [first, second])), "store after clock back")


def two_at_once(world: World, rng: random.Random) -> None:
    """Train twice at the same time into one folder and one store."""
    results: list[tuple[int, str]] = []
    lock = threading.Lock()

    def one(seed: int) -> None:
        found = in_child(lambda: work.train(world, "runs", track=True, seed=seed))
        with lock:
            results.append(found)

    threads = [threading.Thread(target=one, args=(rng.randrange(1000),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acknowledged = [json.loads(done(found, "two at once")) for found in results]
    missing = [one for one in acknowledged if one["run_id"] is None]
    if missing:
        raise Lost(f"a run was not recorded: {missing}")
    done(in_child(lambda: work.check_bundles(world)), "bundles after two at once")
    done(in_child(lambda: work.check_store(world, acknowledged)), "store after two at once")
