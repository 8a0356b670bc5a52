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
    parser.add_argument("--part", help="only this part of the runs, on a world of its own: 2/4")
    chosen = parser.parse_args()
    warm()
    started = time.monotonic()
    lost: list[str] = []
    kinds = dict.fromkeys(chosen.only, 1) if chosen.only else None
    planned = list(enumerate(schedule(chosen.runs, chosen.seed, kinds), start=1))
    part, _, parts = (chosen.part or "1/1").partition("/")
    planned = planned[int(part) - 1 :: int(parts)]
    with tempfile.TemporaryDirectory(prefix="magml-chaos-") as name:
        Path(name).chmod(0o755)
        chaos = Chaos(build(Path(name)), chosen.seed + int(part) - 1)
        for number, kind in planned:
            try:
                chaos.run(kind)
            except Lost as error:
                lost.append(f"run {number}, {kind}: {error}")
                print(lost[-1], file=sys.stderr, flush=True)
        try:
            reviews = chaos.kills.all_acknowledged()
        except Lost as error:
            lost.append(f"at the end: {error}")
            print(lost[-1], file=sys.stderr, flush=True)
            reviews = 0
    counts = dict(sorted(chaos.counts.items()))
    print(json.dumps({
        "runs": sum(counts.values()), "by kind": counts, "skipped": chaos.skipped,
        "killed before the end": sum(n for kind, n in counts.items() if kind.startswith("kill")),
        "ended before its kill": dict(chaos.kills.ended),
        "acknowledged registrations": len(chaos.kills.acknowledged),
        "acknowledged reviews": reviews, "lost": len(lost),
        "seed": chosen.seed, "seconds": round(time.monotonic() - started),
    }))  # fmt: skip
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
