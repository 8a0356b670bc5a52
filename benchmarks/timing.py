"""Timing several ways of doing one thing: in turn, each in a process of its own.

A benchmark names its ways; each run of a way is a new process that prepares its input, times the
thing alone, and reports seconds, processor seconds and its own peak memory. Ways take turns, so
that a machine whose speed drifts slows all of them; medians and their ratios count, not single
readings. Each run also says which share of the processors others took meanwhile (Linux; elsewhere
it is not known): a run that was disturbed is made again, up to twice as many runs in all, and where
none was calm the table says so.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MARK = "magml-benchmark "
#: Share of all processors that others may take of a run that counts.
CALM = 0.10
#: Longest wait for a calm machine before a run, in seconds.
PATIENCE = 1.0


def once(way: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Time one call in this process, on a calm machine if there is one soon, and print figures."""
    _wait(patience)
    own, started = time.process_time(), time.perf_counter()
    further, others = others_during(way)
    seconds, own = time.perf_counter() - started, time.process_time() - own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    further = further if isinstance(further, dict) else {}
    figures = {"seconds": seconds, "processor": own, "peak_gb": peak, "others": others, **further}
    print(MARK + json.dumps(figures), flush=True)


def others_during(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what work returns, and the share of all processors that others took meanwhile."""
    before, own, started = _busy(), time.process_time(), time.perf_counter()
    found = work()
    own, seconds = time.process_time() - own, time.perf_counter() - started
    return found, _others(before, own, seconds)


def compare(
    script: str, ways: list[str], repeat: int, arguments: list[str], *, again: bool = True
) -> dict[str, dict[str, float]]:
    """Run each way `repeat` times in turn and return its medians.

    Disturbed runs are made again unless `again` is false, at most `repeat` more of each way; the
    calmest `repeat` count.
    """
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for turn in range(2 * repeat if again else repeat):
        for way in ways:
            calm = [run for run in found[way] if run["others"] <= CALM]
            if turn >= repeat and len(calm) >= repeat:
                continue
            found[way].append(_run(script, way, arguments))
    return {way: _median(runs, repeat) for way, runs in found.items()}


def _run(script: str, way: str, arguments: list[str]) -> dict[str, float]:
    """Run a way in a process of its own."""
    done = subprocess.run(
        [sys.executable, script, "--one", way, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    line = next(x for x in done.stdout.splitlines() if x.startswith(MARK))
    figures: dict[str, float] = json.loads(line.removeprefix(MARK))
    return figures


def _median(runs: list[dict[str, float]], count: int) -> dict[str, float]:
    """Return the medians of the calmest runs, and how many there are."""
    chosen = sorted(runs, key=lambda run: run["others"] > CALM and run["others"])[:count]
    return {**{key: statistics.median(r[key] for r in chosen) for key in chosen[0]}, "runs": count}


def table(figures: Mapping[str, Mapping[str, float]], base: str) -> str:
    """Return the figures as text, with the ratio of each way to `base`."""
    lines = [
        f"{'':44s}{'seconds':>10s}{'ratio':>8s}{'processor s':>13s}{'peak GB':>9s}{'others':>8s}"
    ]
    for way, values in figures.items():
        ratio = values["seconds"] / figures[base]["seconds"]
        lines.append(
            f"{way:44s}{values['seconds']:10.2f}{ratio:8.2f}{values.get('processor', 0):13.2f}"
            f"{values['peak_gb']:9.2f}{values.get('others', 0):8.0%}"
        )
    if any(values.get("others", 0) > CALM for values in figures.values()):
        lines.append(f"the machine was not calm: others took more than {CALM:.0%} of it")
    return "\n".join(lines)


def keep(path: Path | None, what: str, settings: Mapping[str, Any], figures: Any) -> None:
    """Append the figures to a JSON-lines file and draw them beside it."""
    if path is None:
        return
    record = {
        "what": what,
        "cores": os.cpu_count(),
        "settings": dict(settings),
        "figures": figures,
    }
    with path.open("a") as handle:
        handle.write(json.dumps(record) + "\n")
    if all("peak_gb" in values for values in figures.values()):
        _draw(path.with_name(f"{path.stem}-{what}.png"), what, figures)


def _wait(patience: float) -> None:
    """Wait until nobody else works, as long as patience lasts."""
    until = time.perf_counter() + patience
    while time.perf_counter() < until:
        before, started = _busy(), time.perf_counter()
        time.sleep(0.5)
        if _others(before, 0.0, time.perf_counter() - started) <= CALM:
            return


def _busy() -> float | None:
    """Return the processor seconds spent on this machine so far; None where nobody counts them."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, irq, soft, steal = map(int, fields)
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _others(before: float | None, own: float, seconds: float) -> float:
    """Return the share of all processors that others took; 0 where it is not known."""
    after = _busy()
    if before is None or after is None:
        return 0.0
    spent = after - before - own
    return max(0.0, spent / (seconds * (os.cpu_count() or 1)))


def _draw(path: Path, what: str, figures: Mapping[str, Mapping[str, float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(figures)[::-1]
    _, axes = plt.subplots(1, 2, figsize=(10, 0.45 * len(names) + 1.4), sharey=True)
    for axis, key, label in zip(axes, ("seconds", "peak_gb"), ("seconds", "peak GB"), strict=True):
        axis.barh(names, [figures[name][key] for name in names], color="#33658a")
        axis.set_xlabel(label)
    axes[0].set_title(what, loc="left")
    plt.tight_layout()
    plt.savefig(path, dpi=120)
    plt.close()
