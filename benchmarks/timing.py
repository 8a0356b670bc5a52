"""Timing several ways of doing one thing: in turn, each in a process of its own.

A benchmark names its ways; each run of a way is a new process that prepares its input, times the
thing alone, and reports seconds and its own peak memory. Ways take turns, so that a machine whose
speed drifts slows all of them; medians and their ratios count, not single readings.
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


def once(way: Callable[[], Any]) -> None:
    """Time one call in this process and print the figures for the parent."""
    started = time.perf_counter()
    further = way()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    further = further if isinstance(further, dict) else {}
    print(MARK + json.dumps({"seconds": seconds, "peak_gb": peak, **further}), flush=True)


def compare(
    script: str, ways: list[str], repeat: int, arguments: list[str]
) -> dict[str, dict[str, float]]:
    """Run each way `repeat` times in turn and return its medians."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(repeat):
        for way in ways:
            done = subprocess.run(
                [sys.executable, script, "--one", way, *arguments],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )
            line = next(x for x in done.stdout.splitlines() if x.startswith(MARK))
            found[way].append(json.loads(line.removeprefix(MARK)))
    return {
        way: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for way, runs in found.items()
    }


def table(figures: Mapping[str, Mapping[str, float]], base: str) -> str:
    """Return the figures as text, with the ratio of each way to `base`."""
    lines = [f"{'':44s}{'seconds':>10s}{'peak GB':>9s}{'ratio':>8s}"]
    for way, values in figures.items():
        ratio = values["seconds"] / figures[base]["seconds"]
        lines.append(f"{way:44s}{values['seconds']:10.2f}{values['peak_gb']:9.2f}{ratio:8.2f}")
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
    _draw(path.with_name(f"{path.stem}-{what}.png"), what, figures)


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
