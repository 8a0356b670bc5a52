"""A disk that is full: a small file system in memory, which only root can make."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos import work
from tests.chaos.faults import done, refused, synced
from tests.chaos.world import Lost, World, in_child, litter

#: Room for everything.
_LARGE = "64m"


class Skipped(Exception):
    """A kind of run that cannot be done here, with the reason."""


@contextlib.contextmanager
def small_disk(kilobytes: int) -> Iterator[Path]:
    """Yield a folder with so much room."""
    with tempfile.TemporaryDirectory(prefix="magml-disk-") as name:
        try:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", name],
                check=True, capture_output=True,
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            raise Skipped("a full disk needs root, to mount a small file system") from error
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=False, capture_output=True)


def full_disk(world: World, rng: random.Random) -> None:
    """Write on a disk without room; with room again the same work is done."""
    kind = rng.choice(sorted(_SIZES))
    with small_disk(rng.choice(_SIZES[kind])) as place:
        there = World(**{**vars(world), "folder": place})
        _KINDS[kind](there, world)


def _room(place: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={_LARGE}", str(place)], check=True)


def _output(name: str, what: Callable[[World], Any]) -> Callable[[World, World], None]:
    """Return a run of work whose output appears whole or not at all."""

    def run(there: World, _: World) -> None:
        found = in_child(lambda: what(there))
        if found[0] != 0:
            said = refused(found, f"full disk for {name}")
            if "room on the disk" not in said and "No space" not in said:
                raise Lost(f"full disk for {name}, and the message says: {said}")
            seen = [path.name for path in there.folder.iterdir() if path.name != "runs"]
            whole = [path for path in there.folder.glob("runs/*") if path.name[0] != "."]
            if [n for n in seen if not n.startswith(".")] not in ([], ["recalibrated"]) or whole:
                raise Lost(f"full disk for {name}, and {seen} can be seen")
        _room(there.folder)
        work.forget(there)
        done(in_child(lambda: what(there)), f"{name} with room again")
        for folder in (there.folder, there.folder / "runs", there.folder / "recalibrated"):
            if litter(folder):
                raise Lost(f"full disk for {name} left {litter(folder)}")

    return run


def _review(there: World, _: World) -> None:
    """Sign until the disk is full: what was acknowledged stays, and signing goes on with room."""
    found = in_child(lambda: work.review(there, 2_000))
    refused(found, "full disk for reviews")
    before = json.loads(done(in_child(lambda: work.check_reviews(there)), "reviews, full"))
    _room(there.folder)
    done(in_child(lambda: work.review(there, 5)), "reviews with room again")
    after = json.loads(done(in_child(lambda: work.check_reviews(there)), "reviews, room again"))
    if after["acknowledged"] != before["acknowledged"] + 5:
        raise Lost(f"reviews: {before}, then {after}")


def _store(there: World, world: World) -> None:
    """Train while the store's disk is full; the run is finished, and recorded later."""
    store = World(**{**vars(world), "uri": f"sqlite:///{there.folder / 'mlflow.db'}"})
    said = done(in_child(lambda: work.train(store, "full-store", track=True)), "full store")
    if "magml sync" not in said:
        raise Lost(f"a run that was not recorded does not say so: {said}")
    _room(there.folder)
    for path in there.folder.iterdir():  # a store that was never made whole is made anew
        path.unlink()
    synced(world, world.folder / "full-store" / "demo", store.uri)


_KINDS: dict[str, Callable[[World, World], None]] = {
    "score": _output("score", work.score),
    "recalibrate": _output("recalibrate", work.recalibrate),
    "train": _output("train", work.train),
    "review": _review,
    "store": _store,
}
#: Kilobytes of room.
_SIZES: dict[str, tuple[int, ...]] = {
    "score": (4, 8), "recalibrate": (8, 40, 80), "train": (12, 60, 150, 400),
    "review": (200, 400), "store": (40, 400),
}  # fmt: skip
