"""Kill and fault runs, scripted and repeatable."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from tests.chaos import disk, faults
from tests.chaos.disk import Skipped
from tests.chaos.kills import Kills
from tests.chaos.world import World

#: Of 200 runs, how many of each kind.
PLAN = {
    "kill train": 30, "kill score": 30, "kill recalibrate": 30, "kill review": 25,
    "kill registry": 30, "no room": 10, "full disk": 14, "read-only": 6, "truncated": 10,
    "locked": 3, "server gone": 4, "clock back": 4, "two at once": 4,
}  # fmt: skip
FAULTS: dict[str, Callable[[World, random.Random], None]] = {
    "no room": faults.no_room,
    "full disk": disk.full_disk,
    "read-only": faults.read_only,
    "truncated": faults.truncated,
    "locked": faults.locked,
    "server gone": faults.server_gone,
    "clock back": faults.clock_back,
    "two at once": faults.two_at_once,
}


class Chaos:
    """A series of runs on one world.

    Attributes
    ----------
    counts, skipped
        Runs by kind, and kinds that cannot be done here with the reason.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.rng = world, random.Random(seed)
        self.kills = Kills(world, self.rng)
        self.counts: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}

    def run(self, kind: str) -> None:
        """Do one run.

        Raises
        ------
        Lost
            If something partial can be seen, something acknowledged is gone, or a rerun fails.
        """
        if kind not in FAULTS:
            getattr(self.kills, kind.removeprefix("kill "))()
        else:
            try:
                FAULTS[kind](self.world, self.rng)
            except Skipped as reason:
                self.skipped[kind] = str(reason)
                return
        self.counts[kind] += 1


def schedule(runs: int, seed: int, kinds: dict[str, int] | None = None) -> list[str]:
    """Return the kinds of so many runs in their shares, shuffled."""
    shares = kinds or PLAN
    total = sum(shares.values())
    listed = [k for k, n in shares.items() for _ in range(max(1, round(runs * n / total)))]
    random.Random(seed).shuffle(listed)
    return listed


def warm() -> None:
    """Import what a run needs, and start no thread: forks of this process then begin at once."""
    import duckdb  # noqa: F401
    import mlflow.pyfunc  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import sqlalchemy  # noqa: F401
    import xgboost  # noqa: F401

    import magml.experiments.audit
    import magml.experiments.details
    import magml.experiments.explaining
    import magml.experiments.run
    import magml.experiments.sync
    import magml.review.record
    import magml.validation  # noqa: F401
