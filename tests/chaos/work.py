"""What is interrupted, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from tests.chaos.world import Lost, World


def train(world: World, out: str = "runs", track: bool = False, seed: int = 5) -> dict[str, Any]:
    """Train the small model."""
    from magml.experiments import train as run

    found = run(
        "demo", data=world.records, out=world.folder / out, quick=True, threads=1, seed=seed,
        track=track, tracking_uri=world.uri if track else None, workspace=world.workspace,
    )  # fmt: skip
    return {"run_id": found.run_id, "warnings": list(found.warnings)}


def score(world: World, name: str = "scores.csv") -> dict[str, Any]:
    """Score and write a table."""
    from magml.bundle import load
    from magml.cli.rows import write_table

    table = load(world.bundle).score(world.events, world.labels, threads=1)
    write_table(table, world.folder / name)
    return {"rows": len(table)}


def recalibrate(world: World) -> dict[str, Any]:
    """Recalibrate into a new bundle."""
    from magml.validation import recalibrate as run

    done = run(
        world.bundle, events=world.events, labels=world.labels, method="intercept",
        out=world.folder / "recalibrated" / "bundle", replicates=5,
    )  # fmt: skip
    return {"bundle": done.bundle}


def register(world: World) -> dict[str, Any]:
    """Put the bundle into the registry, and a version into service."""
    from magml.bundle import load
    from magml.errors import InputError
    from magml.experiments.registry import promote
    from magml.experiments.sync import _run
    from magml.experiments.tracking import record

    done = record(_run(world.bundle, world.bundle, load(world.bundle)), tracking_uri=world.uri)
    version = done.model_uri.rsplit("/", 1)[1]
    with contextlib.suppress(InputError):  # the first version serves already
        promote("hypomagnesemia_small", version, tracking_uri=world.uri)
    return {"run_id": done.run_id, "version": version}


def review(world: World, count: int = 40, name: str = "reviews") -> dict[str, Any]:
    """Sign reviews; each that is acknowledged is a line in a file beside the record."""
    from magml.review.entry import Judgement, Review
    from magml.review.record import Places, open_record

    record = open_record(Places.of(world.folder / name))
    begin = os.urandom(4).hex()
    with open(world.folder / f"{name}.acknowledged", "ab", buffering=0) as said:
        for number in range(count):
            form = f"{begin}-{number}"
            made = Review(
                form, "2025-03-01T08:00:00Z", "ada", "reviewer", True, "m" * 64, "d" * 64,
                "e" * 64, form, 7, "2025-02-28T08:00:00", {"risk": 0.25}, Judgement("agree"),
            )  # fmt: skip
            entry, _ = record.add(form, form, lambda _, made=made: made)
            said.write(f"{form} {entry}\n".encode())
    record.close()
    return {"reviews": count}


def check_reviews(world: World, name: str = "reviews") -> dict[str, Any]:
    """Find every acknowledged review once, under its number, in a chain that is whole."""
    from magml.review import verify_reviews
    from magml.review.record import Places, open_record

    folder, said = world.folder / name, world.folder / f"{name}.acknowledged"
    lines = said.read_text().splitlines() if said.exists() else []
    if not (folder / "head.json").exists() and not lines:
        return {"acknowledged": 0, "entries": 0}
    record = open_record(Places.of(folder), begin=False)
    stored = {review.form: number for number, review in record.reviews()}
    record.close()
    for form, number in map(str.split, lines):
        if stored.get(form) != int(number):
            raise Lost("an acknowledged review is gone, or under another number")
    found = verify_reviews(folder)
    if found.faults or found.entries != len(stored):
        raise Lost(f"the record of reviews is not whole: {found.text()}")
    return {"acknowledged": len(lines), "entries": len(stored)}


def check_bundles(world: World) -> dict[str, Any]:
    """Load every bundle that can be seen; the one that was there must be as it was."""
    from magml.bundle import load

    hashes = {"bundle": load(world.bundle).hash}
    for place in ("runs/demo", "recalibrated"):
        folder = world.folder / place
        if (folder / "bundle").exists():
            hashes[place] = load(folder / "bundle").hash
        if place == "runs/demo" and folder.exists():
            for name in ("bundle/manifest.json", "results/metrics.json", "tracking.json"):
                if not (folder / name).is_file():
                    raise Lost(f"a run without its {name} can be seen")
    return hashes


def check_store(world: World, acknowledged: list[dict[str, Any]]) -> dict[str, Any]:
    """Find every acknowledged run and version, and load what serves."""
    from magml.bundle import load
    from magml.experiments.store import session

    with session(world.uri) as client:
        for one in acknowledged:
            run = client.get_run(one["run_id"])
            if run.info.status != "FINISHED":
                raise Lost("an acknowledged run is not finished")
            if "version" in one:
                found = client.get_model_version("hypomagnesemia_small", one["version"])
                if found.run_id != one["run_id"]:
                    raise Lost("an acknowledged version is another's")
    serving = None
    if any("version" in one for one in acknowledged):
        serving = load("models:/hypomagnesemia_small@champion", tracking_uri=world.uri).hash
    return {"serving": serving}


def check_table(path: Path, whole: bytes | None) -> None:
    """Refuse a table that is there in part."""
    if path.exists() and path.read_bytes() != whole:
        raise Lost(f"a part of {path.name} can be seen")


def forget_bundle(world: World) -> None:
    """Remove a recalibrated bundle, and leave what lies beside it."""
    shutil.rmtree(world.folder / "recalibrated" / "bundle", ignore_errors=True)


def forget(world: World) -> None:
    """Remove what recalibration made, so that it can be made again."""
    shutil.rmtree(world.folder / "recalibrated", ignore_errors=True)
