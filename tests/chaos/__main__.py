"""Kill and break magml so many times: ``python -m tests.chaos --runs 200 --seed 1``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Chaos, schedule, warm
from tests.chaos.world import Lost, build


def main() -> None:
    """Run as a program; the exit status is 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="kinds of runs")
    chosen = parser.parse_args()
    warm()
    started = time.monotonic()
    lost: list[str] = []
    with tempfile.TemporaryDirectory(prefix="magml-chaos-") as name:
        Path(name).chmod(0o755)
        chaos = Chaos(build(Path(name)), chosen.seed)
        kinds = dict.fromkeys(chosen.only, 1) if chosen.only else None
        for number, kind in enumerate(schedule(chosen.runs, chosen.seed, kinds), start=1):
            try:
                chaos.run(kind)
            except Lost as error:
                lost.append(f"run {number}, {kind}: {error}")
                print(lost[-1], file=sys.stderr, flush=True)
    counts = dict(chaos.counts)
    killed = counts.pop("killed in time", 0)
    print(json.dumps({
        "runs": sum(counts.values()), "by kind": counts, "killed before the end": killed,
        "acknowledged registrations": len(chaos.acknowledged), "lost": len(lost),
        "seed": chosen.seed, "seconds": round(time.monotonic() - started),
    }))  # fmt: skip
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
