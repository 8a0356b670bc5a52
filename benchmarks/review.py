"""The pages of a review at 100,000 patients: how long a reader waits.

Pages of 200 newcomers of the demo's synthetic hospital are prepared as they always are and then
multiplied under other ids, times and risks, each with a content and a hash of its own; 2,000
reviews are signed. One reader then asks over HTTP, one page after the other; every answer is read
whole. It fails where the worklist takes 200 ms or more, or a patient's page 300 ms or more, at
the 99th percentile.
Usage: python benchmarks/review.py RUN [--patients 100000] [--asks 300]
(RUN: a folder that `magml demo` trained, such as demo-output/demo)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import secrets
import socket
import sqlite3
import sys
import tempfile
import time
import zlib
from bisect import bisect
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from magml.files import canonical_json
from magml.report import Run, find_run
from magml.review.accounts import set_account
from magml.review.entry import Judgement, Review
from magml.review.prepare import prepare
from magml.review.prepared import read_prepared
from magml.review.record import Places, open_record
from magml.review.web.desk import Desk
from magml.review.web.settings import Settings

PASSWORD = "a password of the benchmark"
LIMITS = {"worklist": 200.0, "patient": 300.0}


def newcomers(run: Run, folder: Path) -> Path:
    """Return the prepared pages of 200 people whom the model has not seen."""
    from magml.events import read_events
    from magml.simulation import generate_hospital

    events = read_events(generate_hospital(200, 1_000_004).events)
    at = events.connection.execute(
        "SELECT subject_id, time + INTERVAL 6 HOUR AS prediction_time "
        f"FROM {events.relation} WHERE code = 'VISIT//inpatient' ORDER BY subject_id"
    ).df()
    return prepare(run.model, events, at, folder)


def multiply(few: Path, many: Path, rows: int, run: Run) -> None:
    """Write a file of pages with as many rows as asked for."""
    rng = np.random.default_rng(1)
    source = sqlite3.connect(few)
    known = source.execute("SELECT * FROM page ORDER BY row").fetchall()
    about = dict(source.execute("SELECT name, value FROM about")) | {"rows": str(rows)}
    tables = source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    bands = run.model.definition.bands
    target = sqlite3.connect(many)
    for (statement,) in tables:
        target.execute(statement)
    target.executemany("INSERT INTO about VALUES (?, ?)", sorted(about.items()))
    marks = ", ".join("?" * len(known[0]))
    texts = [
        canonical_json(
            json.loads(zlib.decompress(line[14]))
            | {"subject_id": -1234567, "shown": "SHOWN", "prediction_time": "MOMENT"}
        )
        for line in known
    ]
    names, bounds = [band.name for band in bands], [band.at_least for band in bands]
    for row in range(rows):
        line = list(known[row % len(known)])
        risk = float(np.clip(line[4] * rng.uniform(0.5, 1.5), 1e-4, 0.999))
        spread = min(risk, 1 - risk) * 0.2
        band = names[bisect(bounds, risk) - 1]
        shown, day = f"P{row:06}", rng.integers(1, 28)
        moment = f"2025-{rng.integers(1, 13):02}-{day:02}T{rng.integers(24):02}:00:00"
        text = texts[row % len(known)].replace("-1234567", str(row)).replace("SHOWN", shown)
        content = text.replace("MOMENT", moment).encode()
        line[:8] = [row, row, shown, moment, risk, risk - spread, risk + spread, band]
        line[13:] = [hashlib.sha256(content).hexdigest(), zlib.compress(content, 1)]
        target.execute(f"INSERT INTO page VALUES ({marks})", line)
    target.commit()
    target.close()


def sign(desk: Desk, reviews: int) -> None:
    """Sign reviews of the first pages, two readers each."""
    plain = Review(
        "", "2025-03-01T08:00:00Z", "ada", "reviewer", True, desk.prepared.model,
        desk.prepared.data, "", "", 0, "", {}, Judgement("agree"),
    )  # fmt: skip
    for number in range(reviews):
        row, reader = number // 2, ("ada", "ben")[number % 2]
        one = replace(
            plain, form=secrets.token_hex(16), reviewer=reader, page=desk.prepared.tokens[row],
            explanation=desk.prepared.hashes[row],
            prediction={"risk": float(desk.prepared.risk[row]), "low": 0.0, "high": 1.0,
                        "band": str(desk.prepared.band[row])},
        )  # fmt: skip
        desk.record.add(one.page, one.form, lambda _, one=one: one)


def serve(run: str, pages: str, record: str, port: int) -> None:
    """Serve in a process of its own."""
    opened = open_record(Places.of(record))
    prepared = read_prepared(Path(pages), opened.key)
    Desk(find_run(run), prepared, opened, Settings(port=port)).serve()


def asked(reader: httpx.Client, name: str, addresses: list[str], token: str = "") -> dict[str, Any]:
    """Return how long answers took, in milliseconds."""
    taken, sizes = [], []
    for address in addresses:
        begun = time.perf_counter()
        if token:
            answer = reader.post("/find", data={"token": token, "id": address})
        else:
            answer = reader.get(address)
        taken.append(1000 * (time.perf_counter() - begun))
        sizes.append(len(answer.content))
        if answer.status_code != 200:
            raise SystemExit(f"{name}: status {answer.status_code}")
    p50, p99 = np.percentile(taken, [50, 99])
    print(
        f"{name:34} n={len(taken)}  median {p50:5.1f} ms  p99 {p99:5.1f} ms"
        f"  max {max(taken):5.1f} ms  {np.mean(sizes) / 1024:5.0f} KiB"
    )
    return {"name": name, "p99": float(p99)}


def main() -> int:
    """Measure, print, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--asks", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        return measure(given.run, Path(place), given.patients, given.asks)


def measure(run: str, folder: Path, patients: int, asks: int) -> int:
    """Measure in a folder."""
    found = find_run(run)
    few = newcomers(found, folder / "few")
    many = folder / "pages.db"
    multiply(few, many, patients, found)
    record = open_record(Places.of(folder / "reviews"))
    for name in ("ada", "ben"):
        set_account(record.engine, name, "reviewer", PASSWORD)
    desk = Desk(found, read_prepared(many, record.key), record, Settings())
    sign(desk, min(2_000, 2 * patients))
    tokens = desk.prepared.tokens
    desk.close()
    print(f"{patients:,} pages, {many.stat().st_size / 2**20:.0f} MiB")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    arguments = (run, str(many), str(folder / "reviews"), port)
    begun = time.perf_counter()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=arguments)
    process.start()
    site = f"http://127.0.0.1:{port}"
    try:
        results = read(site, tokens, asks, begun)
    finally:
        process.terminate()
        process.join(20)
    late = [one for one in results if one["p99"] >= LIMITS[one["name"].split(",")[0]]]
    for one in late:
        print(f"too slow: {one['name']}")
    return 1 if late else 0


def read(site: str, tokens: tuple[str, ...], asks: int, begun: float) -> list[dict[str, Any]]:
    """Ask as a reader does."""
    rng = np.random.default_rng(2)
    with httpx.Client(base_url=site, headers={"origin": site}, timeout=60) as reader:
        while True:
            try:
                reader.get("/login")
                break
            except httpx.TransportError:
                time.sleep(0.2)
        print(f"started in {time.perf_counter() - begun:.1f} s")
        reader.post("/login", data={"name": "ada", "password": PASSWORD})
        first = time.perf_counter()
        text = reader.get("/").text
        print(f"the first worklist after the start: {1000 * (time.perf_counter() - first):.0f} ms")
        token = text.split('name="token" value="')[1].split('"')[0]
        pages = -(-len(tokens) // 50)
        some = rng.integers(0, len(tokens), asks)
        sorts = ("risk", "risk_up", "range", "time", "id", "readers")
        return [
            asked(reader, "worklist", ["/"] * asks),
            asked(reader, "worklist, any page",
                  [f"/?page={rng.integers(1, pages + 1)}" for _ in range(asks)]),
            asked(reader, "worklist, sorted and filtered",
                  [f"/?sort={sorts[k % 6]}&state={('unread', 'second', 'mine')[k % 3]}&band=high"
                   for k in range(asks)]),
            asked(reader, "worklist, an id looked for",
                  [f"P{row:06}"[: 4 + k % 4] for k, row in enumerate(some)], token),
            asked(reader, "patient", [f"/patient/{tokens[row]}" for row in some]),
            asked(reader, "patient, within a filtered list",
                  [f"/patient/{tokens[row]}?sort=readers&state=unread" for row in some]),
        ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
