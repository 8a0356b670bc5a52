"""A service under load: many clients at once, each with one patient of 500 events.

    python benchmarks/service.py BUNDLE --clients 200 --seconds 60 --json figures.jsonl

Few clients (4) first and last, and many between: what overload does to the service is the ratio.
Each client sends, reads the answer, and sends again; told to wait (503 with Retry-After), it waits
so long, or not at all with ``--eager``. Clients speak HTTP over plain sockets, because those of
client libraries take more of the processors that they share with the service than it does itself.

Fails where an answer is a 5xx other than 503, a connection is dropped, a request has no answer
after a minute, or the memory of the last quarter exceeds that of the second by more than a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from timing import keep, others_during

CODES = ("LOINC//2823-3", "LOINC//2160-0", "LOINC//17861-6", "LOINC//1751-7", "LOINC//2345-7")
UNITS = ("mmol/L", "mg/dL", "mg/dL", "g/dL", "mg/dL")
USUAL = (4.0, 1.0, 9.0, 4.0, 100.0)
FEW, HANGS = 4, 60.0


def patient(rng: np.random.Generator, events: int) -> dict[str, object]:
    """Return a request: one person with laboratory values, and one prediction time."""
    rows: list[dict[str, object]] = [
        {"subject_id": 1, "time": "1950-01-01T00:00:00", "code": "MEDS_BIRTH"}
    ]
    for _ in range(events):
        kind = int(rng.integers(len(CODES)))
        moment = np.datetime64("2025-03-01T08:00:00") - np.timedelta64(int(rng.integers(9e6)), "s")
        rows.append(
            {"subject_id": 1, "time": str(moment), "code": CODES[kind],
             "numeric_value": float(USUAL[kind] * rng.lognormal(0, 0.1)), "unit": UNITS[kind]}
        )  # fmt: skip
    return {"events": rows, "at": [{"subject_id": 1, "prediction_time": "2025-03-01T08:00:00"}]}


class Client(asyncio.Protocol):
    """One connection that asks again and again until it is told to stop."""

    def __init__(self, request: bytes, until: float, eager: bool, found: list[Any]) -> None:
        self.request, self.until, self.eager, self.found = request, until, eager, found
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received, self.started, self.dropped = b"", 0.0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.received = b""
        self.started = time.perf_counter()
        if self.started < self.until and not self.transport.is_closing():
            self.transport.write(self.request)
            return
        self.started = 0.0
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, mark, body = self.received.partition(b"\r\n\r\n")
        if not mark:
            return
        status, *lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        if len(body) < int(fields["content-length"]):
            return
        self.found.append((status.split()[1], time.perf_counter() - self.started))
        wait = 0.0 if self.eager else float(fields.get("retry-after", 0))
        self.started = 0.0
        asyncio.get_running_loop().call_later(wait, self.ask)

    def connection_lost(self, error: Exception | None) -> None:
        if self.started:
            self.found.append(("dropped", time.perf_counter() - self.started))
        self.done.set_result(None)


async def load(
    port: int, clients: int, seconds: float, request: bytes, eager: bool
) -> list[tuple[str, float]]:
    """Return status and seconds of every answer that `clients` got."""
    found: list[tuple[str, float]] = []
    until, loop = time.perf_counter() + seconds, asyncio.get_running_loop()

    async def one() -> None:
        while time.perf_counter() < until:  # a connection that was closed is opened again
            _, client = await loop.create_connection(
                lambda: Client(request, until, eager, found), "127.0.0.1", port
            )
            try:
                await asyncio.wait_for(client.done, seconds + HANGS)
            except TimeoutError:
                found.append(("no answer", HANGS))
                client.transport.abort()

    await asyncio.gather(*(one() for _ in range(clients)))
    return found


def used(pid: int) -> tuple[float, float]:
    """Return the memory of a process in MB, and the processor seconds that it has used."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return megabytes, sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def phase(
    pid: int, port: int, clients: int, seconds: float, request: bytes, eager: bool
) -> dict[str, Any]:
    """Return what happened under one load."""
    memory: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(seconds / 60):
            memory.append(used(pid)[0])

    watcher, before = threading.Thread(target=watch), used(pid)[1]
    watcher.start()
    try:
        found, others = others_during(
            lambda: asyncio.run(load(port, clients, seconds, request, eager))
        )
    finally:
        stop.set()
        watcher.join()
    spent = used(pid)[1] - before
    statuses = Counter(status for status, _ in found)
    ok = [1000 * s for status, s in found if status == "200"] or [float("nan")]
    refused = [1000 * s for status, s in found if status == "503"]
    figures: dict[str, Any] = {
        "clients": clients, "seconds": seconds, "answers": dict(statuses),
        "answered_per_second": round(statuses["200"] / seconds, 1),
        "p50_ms": round(float(np.percentile(ok, 50)), 1),
        "p99_ms": round(float(np.percentile(ok, 99)), 1),
        "processor_ms_an_answer": round(1000 * spent / max(1, statuses["200"]), 1),
        "others": round(max(0.0, others - spent / seconds / (os.cpu_count() or 1)), 2),
        "memory_mb": [round(value) for value in memory[:: max(1, len(memory) // 8)]],
    }  # fmt: skip
    if refused:
        figures |= {"p50_refused_ms": round(float(np.percentile(refused, 50)), 1),
                    "p99_refused_ms": round(float(np.percentile(refused, 99)), 1)}  # fmt: skip
    quarter = max(1, len(memory) // 4)
    grown = max(memory[-quarter:]) > 1.1 * max(memory[quarter : 2 * quarter] or memory)
    bad = [s for s in statuses if not s.isdigit() or (s.startswith("5") and s != "503")]
    figures["failed"] = [*bad, *(["memory grew"] if grown else [])]
    return figures


def main() -> None:
    """Serve, load and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--route", default="/score")
    parser.add_argument("--waiting", type=int)
    parser.add_argument("--eager", action="store_true", help="ask again at once when refused")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [] if chosen.waiting is None else ["--waiting", str(chosen.waiting)]
    service = subprocess.Popen(
        [Path(sys.executable).with_name("magml"), "serve", chosen.bundle, "--port", str(port),
         *options],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    body = json.dumps(patient(np.random.default_rng(1), chosen.events)).encode()
    head = (
        f"POST {chosen.route} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    few, many = (FEW, chosen.seconds / 4), (chosen.clients, chosen.seconds)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ready").close()
                break
            except OSError:
                time.sleep(0.5)
        asyncio.run(load(port, 2, 3, head.encode() + body, False))  # warm
        phases = [
            phase(service.pid, port, *one, head.encode() + body, chosen.eager)
            for one in (few, many, few)
        ]
    finally:
        service.terminate()
        service.wait(60)
    usual = (phases[0]["answered_per_second"] + phases[2]["answered_per_second"]) / 2
    share = phases[1]["answered_per_second"] / usual
    result = {"phases": phases, "share_of_few": round(share, 2), "exit": service.returncode}
    print(json.dumps(result, indent=2))
    keep(
        chosen.json, "service", {"route": chosen.route, "events": chosen.events,
                                 "eager": chosen.eager, "body_bytes": len(body)},
        {f"{place} {one['clients']} clients": one
         for place, one in zip(("first", "then", "last"), phases, strict=True)},
    )  # fmt: skip
    if failed := [fault for one in phases for fault in one["failed"]]:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
