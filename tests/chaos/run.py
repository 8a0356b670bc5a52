"""Kill and fault runs, scripted and repeatable."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.chaos import faults, work
from tests.chaos.faults import done
from tests.chaos.world import Lost, World, in_child, leftovers

#: Of 200 runs, how many of each kind.
PLAN = {
    "kill train": 34, "kill score": 40, "kill recalibrate": 34, "kill registry": 34,
    "no room": 14, "read-only": 8, "truncated": 20, "locked": 3, "server gone": 5,
    "clock back": 4, "two at once": 4,
}  # fmt: skip
FAULTS: dict[str, Callable[[World, random.Random], None]] = {
    "no room": faults.no_room,
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
    counts
        Runs by kind, and of the kills, how many came before the work was done.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.rng = world, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.acknowledged: list[dict[str, Any]] = []
        self._times: dict[str, float] = {}
        self._scores: bytes | None = None

    def run(self, kind: str) -> None:
        """Do one run.

        Raises
        ------
        Lost
            If something partial can be seen, something acknowledged is gone, or a rerun fails.
        """
        self.counts[kind] += 1
        if kind in FAULTS:
            FAULTS[kind](self.world, self.rng)
        else:
            getattr(self, kind.replace(" ", "_"))()
        for folder in (self.world.folder, self.world.folder / "runs"):
            leftovers(folder)

    def kill_train(self) -> None:
        """Kill a training; the next one replaces the run, whole or not at all."""
        before = json.loads(done(in_child(lambda: work.check_bundles(self.world)), "before"))
        seed = self.rng.randrange(1000)
        self._killed("train", lambda: work.train(self.world, seed=seed))
        after = json.loads(
            done(in_child(lambda: work.check_bundles(self.world)), "bundles after a killed train")
        )
        if "runs/demo" in before and "runs/demo" not in after:
            raise Lost("a killed training took the last complete run with it")

    def kill_score(self) -> None:
        """Kill a scoring; its table is whole or not there."""
        path = self.world.folder / "scores.csv"
        if self._scores is None:
            done(in_child(lambda: work.score(self.world)), "score")
            self._scores = path.read_bytes()
        if self.rng.random() < 0.5:
            path.unlink(missing_ok=True)
        self._killed("score", lambda: work.score(self.world))
        work.check_table(path, self._scores)

    def kill_recalibrate(self) -> None:
        """Kill a recalibration; the old bundle stands, the new one is whole or not there."""
        work.forget(self.world)
        self._killed("recalibrate", lambda: work.recalibrate(self.world))
        done(in_child(lambda: work.check_bundles(self.world)), "bundles after recalibrating")
        work.forget(self.world)

    def kill_registry(self) -> None:
        """Kill what writes to the registry: what was acknowledged is there, something serves."""
        said = self._killed("register", lambda: work.register(self.world))
        if said:
            self.acknowledged.append(json.loads(said))
        kept = self.acknowledged[-20:]
        done(in_child(lambda: work.check_store(self.world, kept)), "store after a kill")

    def _killed(self, name: str, what: Callable[[], Any]) -> str:
        """Run work and kill it at a random moment; return what it acknowledged, if anything."""
        if name not in self._times:
            started = time.perf_counter()
            said = done(in_child(what), name)
            self._times[name] = time.perf_counter() - started
            if name == "recalibrate":
                work.forget(self.world)
            if name == "register":
                self.acknowledged.append(json.loads(said))
        # Writing comes last: half of the kills fall into the last quarter of the time.
        share = self.rng.random() * 1.05
        if self.rng.random() < 0.5:
            share = 0.75 + 0.35 * self.rng.random()
        status, said = in_child(what, kill_after=share * self._times[name])
        if status not in (0, -9):
            raise Lost(f"{name} ended with {status}: {said[-1500:]}")
        self.counts["killed in time"] += status == -9
        return said


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
    import xgboost  # noqa: F401

    import magml.experiments.audit
    import magml.experiments.details
    import magml.experiments.explaining
    import magml.experiments.run
    import magml.experiments.sync
    import magml.validation  # noqa: F401
