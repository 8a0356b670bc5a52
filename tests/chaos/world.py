"""A hospital, a bundle and a store small enough to be broken hundreds of times."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from magml.errors import MagmlError

ROOT = Path(__file__).resolve().parent.parent.parent


class Lost(AssertionError):
    """Something partial was visible, something acknowledged is gone, or a rerun fails."""


@dataclass(frozen=True)
class World:
    """Where everything stands.

    Attributes
    ----------
    folder
        The whole.
    records
        A synthetic hospital of the training.
    workspace
        Small definitions.
    events, labels
        Records and outcomes for scoring and recalibrating.
    bundle
        A complete bundle.
    uri
        An MLflow store (SQLite).
    """

    folder: Path
    records: Path
    workspace: Path
    events: Path
    labels: Path
    bundle: Path
    uri: str


def build(folder: Path) -> World:
    """Make a world; in a process of its own, so that none of its threads is forked later."""
    world = World(
        folder, folder / "records", folder / "workspace", folder / "events.parquet",
        folder / "labels.csv", folder / "bundle", f"sqlite:///{folder / 'store' / 'mlflow.db'}",
    )  # fmt: skip
    status, said = in_child(lambda: _fill(world))
    if status:
        raise RuntimeError(f"the world could not be made: {said}")
    return world


def _fill(world: World) -> None:
    from magml.bundle import load, write_bundle
    from magml.experiments.store import session
    from magml.simulation import generate_hospital
    from tests.monitoring_worlds import contents_with_baseline, outcomes
    from tests.monitoring_worlds import world as hospital

    generate_hospital(700, seed=4).write(world.records)
    model = yaml.safe_load((ROOT / "models" / "hypomagnesemia_screen.yaml").read_text())
    model["estimator"] = {"members": 1, "rounds": 5}
    model["calibration"] = {"methods": ["logistic"], "folds": 2}
    model["features"] = {"domains": ["vital", "demographic"]}
    experiment = yaml.safe_load((ROOT / "experiments" / "demo.yaml").read_text())
    experiment["validation"] = {"folds": 2, "replicates": 100, "seed": 5}
    experiment["baselines"] = ["age_sex"]
    for kind, content in (("models", model), ("experiments", experiment)):
        (world.workspace / kind).mkdir(parents=True)
        path = world.workspace / kind / f"{content['name']}.yaml"
        path.write_text(yaml.safe_dump(content))
    write_bundle(world.bundle, contents_with_baseline(300))
    found = hospital(300, 1, seed=2)
    found.events.to_parquet(world.events)
    outcomes(load(world.bundle), found, 3, shift=1.0).to_csv(world.labels, index=False)
    (world.folder / "store").mkdir()
    with session(world.uri) as client:
        client.search_experiments()


def in_child(
    work: Callable[[], Any],
    kill_after: float | None = None,
    before: Callable[[], None] | None = None,
) -> tuple[int, str]:
    """Run work in a forked process, perhaps killed after some seconds.

    Returns
    -------
    tuple
        -9 for killed; 0 for done; 2 for a `MagmlError`; 1 for anything else. And what it said:
        the result as JSON, or the error.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        status, said = 1, ""
        try:
            if before is not None:
                before()
            said, status = json.dumps(work()), 0
        except MagmlError as error:
            status, said = 2, str(error)
        except BaseException:
            said = traceback.format_exc()
        finally:
            os.write(writing, said.encode()[-60_000:])
            os._exit(status)
    os.close(writing)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode("utf-8", "replace")
    _, code = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(code), said


def litter(folder: Path) -> list[str]:
    """Return what was written beside targets in a folder and is there no longer than its writer."""
    return sorted(path.name for path in folder.glob(".*.magml-*"))
