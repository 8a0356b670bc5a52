"""Kills at random moments before the work ends, a look at what is left, and the work again."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.chaos import work
from tests.chaos.faults import done
from tests.chaos.world import Lost, World, in_child, litter

#: Attempts to come before the end of work that was faster than before.
_ATTEMPTS = 20


class Kills:
    """Kills on one world.

    Attributes
    ----------
    acknowledged
        Registrations that were said to be done.
    ended
        By kind, how often work ended before its kill: it was acknowledged then, and counts as such.
    records
        Names of the records of reviews, the one in use last.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.acknowledged: list[dict[str, Any]] = []
        self.ended: Counter[str] = Counter()
        self.records: list[str] = []
        self._times: dict[str, float] = {}
        self._scores: bytes | None = None

    def train(self) -> None:
        """Kill a training; the last complete run stands, and the next one goes on."""
        seed = self.rng.randrange(1000)
        before = json.loads(self._looked(work.check_bundles))
        self._killed("train", lambda: work.train(self.world, seed=seed))
        after = json.loads(self._looked(work.check_bundles))
        if "runs/demo" in before and "runs/demo" not in after:
            raise Lost("a killed training took the last complete run with it")
        self._again("train", lambda: work.train(self.world, seed=seed))
        self._looked(work.check_bundles)

    def score(self) -> None:
        """Kill a scoring; its table is whole or not there."""
        path = self.world.folder / "scores.csv"
        if self._scores is None:
            done(in_child(lambda: work.score(self.world)), "score")
            self._scores = path.read_bytes()
        if self.rng.random() < 0.5:
            path.unlink(missing_ok=True)
        self._killed("score", lambda: work.score(self.world))
        work.check_table(path, self._scores)
        self._again("score", lambda: work.score(self.world))
        work.check_table(path, self._scores)
        if not path.exists():
            raise Lost("a table that was written is not there")

    def recalibrate(self) -> None:
        """Kill a recalibration; the old bundle stands, the new one is whole or not there."""
        work.forget(self.world)  # a run without room may have made one
        self._killed("recalibrate", lambda: work.recalibrate(self.world))
        self._looked(work.check_bundles)
        work.forget_bundle(self.world)
        self._again("recalibrate", lambda: work.recalibrate(self.world))
        if "recalibrated" not in self._looked(work.check_bundles):
            raise Lost("a recalibrated bundle that was written is not there")
        work.forget(self.world)

    def review(self) -> None:
        """Kill somebody who signs: every acknowledged review is there once."""
        if not self.records or self.rng.random() < 0.3:  # beginning a record is part of it
            self.records.append(f"reviews-{len(self.records)}")
        name = self.records[-1]
        self._killed("review", lambda: work.review(self.world, name=name))
        self._looked(work.check_reviews, name)
        self._again("review", lambda: work.review(self.world, 5, name))
        self._looked(work.check_reviews, name)

    def registry(self) -> None:
        """Kill what writes to the registry: what was acknowledged is there, something serves."""
        for said in self._killed("registry", lambda: work.register(self.world)):
            self.acknowledged.append(json.loads(said))
        self._look_at_store()
        said = self._again("registry", lambda: work.register(self.world))
        self.acknowledged.append(json.loads(said))
        self._look_at_store()

    def all_acknowledged(self) -> int:
        """Look for everything that was ever acknowledged; return the number of reviews."""
        self._look_at_store(len(self.acknowledged))
        found = [json.loads(self._looked(work.check_reviews, name)) for name in self.records]
        return sum(one["acknowledged"] for one in found)

    def _looked(self, look: Callable[..., Any], *more: str) -> str:
        return done(in_child(lambda: look(self.world, *more)), look.__name__)

    def _look_at_store(self, last: int = 10) -> None:
        kept = self.acknowledged[-last:]
        done(in_child(lambda: work.check_store(self.world, kept)), "store")

    def _killed(self, name: str, what: Callable[[], Any]) -> list[str]:
        """Kill work before it ends; return what it said where it ended before its kill.

        Writing comes last: half of the kills fall into the last quarter of the time.
        """
        if name not in self._times:
            self._again(name, what)
            self._undone(name)
        said: list[str] = []
        for _ in range(_ATTEMPTS):
            share = self.rng.random()
            share = 0.75 + 0.25 * share if self.rng.random() < 0.5 else share
            started = time.perf_counter()
            found = in_child(what, kill_after=share * self._times[name])
            if found[0] == -9:
                return said
            said.append(done(found, name))
            self.ended[name] += 1
            self._times[name] = min(self._times[name], time.perf_counter() - started) * 0.95
            self._undone(name)
        raise Lost(f"{name} always ends before its kill")

    def _undone(self, name: str) -> None:
        """Make room for the same work again."""
        if name == "recalibrate":
            work.forget(self.world)

    def _again(self, name: str, what: Callable[[], Any]) -> str:
        """Let work run to its end; nothing may be left beside what it wrote."""
        started = time.perf_counter()
        said = done(in_child(what), f"{name} again")
        taken = time.perf_counter() - started
        if name not in ("review", "train") or name not in self._times:
            # Of a review fewer are signed, and a training goes on from what is kept.
            self._times[name] = (self._times.get(name, taken) + taken) / 2
        left = [litter(self.world.folder / part) for part in (".", "runs", "recalibrated")]
        if any(left):
            raise Lost(f"{name}, done again, left {left}")
        return said
