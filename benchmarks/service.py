"""A service under load: many clients at once, each with one patient of 500 events.

Prints answers by status, the 50th and 99th percentile of the answered and of all, and the memory
of the service while it runs. It fails where an answer is a 5xx other than 503, a connection is
dropped, or the memory of the last quarter exceeds that of the second by more than a tenth.
Usage: python benchmarks/service.py BUNDLE [--clients 200] [--waiting N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np

CODES = ("LOINC//2823-3", "LOINC//2160-0", "LOINC//17861-6", "LOINC//1751-7", "LOINC//2345-7")


def patient(rng: np.random.Generator, events: int) -> dict[str, object]:
    rows = [{"subject_id": 1, "time": "1950-01-01T00:00:00", "code": "MEDS_BIRTH"}]
    units = dict(zip(CODES, ("mmol/L", "mg/dL", "mg/dL", "g/dL", "mg/dL"), strict=True))
    usual = dict(zip(CODES, (4.0, 1.0, 9.0, 4.0, 100.0), strict=True))
    for _ in range(events):
        code = str(rng.choice(CODES))
        moment = np.datetime64("2025-03-01T08:00:00") - np.timedelta64(int(rng.integers(9e6)), "s")
        value = float(usual[code] * rng.lognormal(0, 0.1))
        rows.append(
            {"subject_id": 1, "time": str(moment), "code": code, "numeric_value": value,
             "unit": units[code]}
        )  # fmt: skip
    return {"events": rows, "at": [{"subject_id": 1, "prediction_time": "2025-03-01T08:00:00"}]}


def memory(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def watch(pid: int, used: list[float], stop: threading.Event) -> None:
    while not stop.wait(1.0):
        used.append(memory(pid))


async def load(url: str, clients: int, seconds: float, body: bytes) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    stop = time.perf_counter() + seconds

    async def client(http: httpx.AsyncClient) -> None:
        while time.perf_counter() < stop:
            started = time.perf_counter()
            try:
                answer = await http.post(url, content=body)
                status = str(answer.status_code)
                wait = float(answer.headers.get("retry-after", 0))
            except httpx.HTTPError as error:
                status, wait = type(error).__name__, 0.0
            found.append((status, time.perf_counter() - started))
            await asyncio.sleep(wait)

    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--route", default="/score")
    parser.add_argument("--waiting", type=int)
    chosen = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("magml"))]
    options = [] if chosen.waiting is None else ["--waiting", str(chosen.waiting)]
    service = subprocess.Popen(
        [*command, "serve", chosen.bundle, "--port", str(port), *options],
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                httpx.get(f"{url}/ready")
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        body = json.dumps(patient(np.random.default_rng(1), chosen.events)).encode()
        asyncio.run(load(url + chosen.route, 2, 3, body))  # warm
        used, stop = [], threading.Event()
        watcher = threading.Thread(target=watch, args=(service.pid, used, stop))
        watcher.start()
        found = asyncio.run(load(url + chosen.route, chosen.clients, chosen.seconds, body))
        stop.set()
        watcher.join()
    finally:
        service.terminate()
        service.wait(60)
    statuses = Counter(status for status, _ in found)
    answered = [1000 * s for status, s in found if status == "200"]
    every = [1000 * s for _, s in found]
    print(json.dumps({
        "clients": chosen.clients, "seconds": chosen.seconds, "answers": dict(statuses),
        "answered_per_second": round(len(answered) / chosen.seconds, 1),
        "p50_ms": round(float(np.percentile(answered, 50)), 1),
        "p99_ms": round(float(np.percentile(answered, 99)), 1),
        "p99_all_ms": round(float(np.percentile(every, 99)), 1),
        "memory_mb": [round(value) for value in used[:: max(1, len(used) // 12)]],
        "exit": service.returncode,
    }, indent=2))  # fmt: skip
    quarter = max(1, len(used) // 4)
    grown = max(used[-quarter:]) > 1.1 * max(used[quarter : 2 * quarter] or used)
    bad = [s for s in statuses if not s.isdigit() or (s.startswith("5") and s != "503")]
    if bad or grown:
        sys.exit(f"failed: {', '.join(bad) or 'memory grew'}")


if __name__ == "__main__":
    main()
