"""What magml promises, each with a check that fails when the promise is broken.

Each check is run as it is, and once more with that broken which keeps the promise: it must fail
then. The rooms behind a promise have tests of their own; `ALSO` names the most important of them.
``python -m tests.promises`` breaks each promise in the source itself, in several ways.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from magml.bundle import load, write_bundle
from magml.bundle.write import bundle_files
from magml.definitions.model import ModelDefinition
from magml.errors import BundleError, InputError
from magml.events import read_events
from magml.models import nested
from magml.models.bag import fit_bag
from magml.models.outer import OuterSplit
from magml.validation import export_aggregate
from tests import bundle_parts as parts
from tests.conftest import ROOT
from tests.promises.breaks import BREAKS

ALSO = {
    1: ["test_train.test_equal_training_gives_equal_bytes_for_one_and_two_threads"],
    2: ["test_models_outer.test_a_person_is_on_one_side_and_no_outcome_lies_beyond_the_cut"],
    3: ["test_bundle.test_a_crash_while_writing_leaves_the_last_bundle",
        "test_review_kills.test_sqlite_loses_nothing"],
    4: ["test_bundle.test_an_added_file_is_refused", "test_bundle.test_a_link_is_refused",
        "test_bundle.test_a_path_out_of_the_bundle_is_refused",
        "test_bundle_sign.test_an_attacker_who_writes_a_new_manifest_is_found"],
    5: ["test_privacy.test_no_command_lets_a_patient_out",
        "test_models_leaves.test_a_person_with_many_rows_has_no_leaf_alone"],
    6: [],
}  # fmt: skip


def check_equal_bytes(_: Path) -> None:
    """1: same input, same seed, same bytes, whatever the number of threads."""
    X, y = parts.matrix(300)
    contents = parts.contents()
    made = [
        bundle_files(replace(contents, bag=fit_bag(
            X, y, np.arange(len(y)), parts.DEFINITION.estimator, seed=7, threads=threads,
            features=parts.FEATURES,
        )))
        for threads in (1, 2, 2)
    ]  # fmt: skip
    assert made[0] == made[1] == made[2]


def check_nothing_of_the_tested(_: Path) -> None:
    """2: nothing that is fitted changes when the tested rows' outcomes and neighbours do."""
    X, y = parts.matrix(240)
    people = np.arange(len(y))
    fold = (people % 3).astype(np.int64)
    split = OuterSplit(fold, tuple(fold != held for held in range(3)), "")
    content = parts.DEFINITION.model_dump(mode="json")
    content["estimator"] |= {"members": 2, "rounds": 8}
    content["calibration"] = {"methods": ["logistic", "beta"], "folds": 2}
    content["search"] = {
        "trials": 2,
        "folds": 2,
        "space": {"learning_rate": {"low": 0.1, "high": 0.3}},
    }
    definition = ModelDefinition.model_validate(content)

    def risks(outcome: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
        return nested.nested_cross_validation(
            matrix, parts.FEATURES, outcome, people, people, definition, folds=3, seed=4,
            split=split, baselines=("logistic", "plain_xgboost"),
        ).risks  # fmt: skip

    before = risks(y, X)
    tested = fold == 0
    other, changed = y.copy(), X.copy()
    other[tested] = 1 - other[tested]
    half = tested & (people % 2 == 0)
    changed[half] = np.nan
    after = risks(other, changed)
    for name in before:
        same = tested & ~half
        np.testing.assert_array_equal(before[name][same], after[name][same], err_msg=name)


WRITER = """
import os, signal, sys
sys.path.insert(0, {root!r})
from tests import bundle_parts as parts
from magml.bundle import write_bundle
import magml.bundle.write as write
{broken}
contents = parts.contents()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        while True:
            write_bundle({target!r}, contents)
    print(child, flush=True)
"""
#: Writes in place, as one would without thinking of crashes.
IN_PLACE = """
import contextlib, pathlib, shutil
@contextlib.contextmanager
def in_place(path):
    folder = pathlib.Path(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
write.atomic_directory = in_place
"""


def check_crashes(folder: Path, broken: str = "") -> None:
    """3: a bundle that is written again and again, killed at any moment, is a whole one."""
    target = folder / "bundle"
    expected = write_bundle(target, parts.contents())
    rng = random.Random(5)
    code = WRITER.format(root=str(ROOT), target=str(target), broken=broken)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for _ in range(25):
            parent.stdin.write("go\n")
            parent.stdin.flush()
            writer = int(parent.stdout.readline())
            time.sleep(rng.uniform(0.0, 0.1))
            os.kill(writer, signal.SIGKILL)
            # On a busy machine it writes on for a while: its end is waited for.
            with contextlib.suppress(ProcessLookupError):
                while True:
                    os.kill(writer, 0)
                    time.sleep(0.005)
            # Between two renames the last bundle stands beside its place.
            found = [
                path
                for path in (target, *folder.glob(".bundle.magml-old-*/bundle"))
                if path.exists()
            ]
            states = [state(path, expected) for path in found]
            if "whole" not in states:
                break
        parent.stdin.close()
    assert "whole" in states, f"no whole bundle is left: {states or 'none'}"


def state(folder: Path, expected: str) -> str:
    """Return whether a bundle is whole, or what is wrong with it."""
    try:
        found = load(folder).hash
    except BundleError as error:
        return str(error)
    return "whole" if found == expected else f"another one: {found}"


def check_refusals(folder: Path) -> None:
    """4: a bundle changed by one bit does not load; a table that does not fit is refused."""
    target = folder / "bundle"
    write_bundle(target, parts.contents())
    for path in sorted(target.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            kept = path.read_bytes()
            data = bytearray(kept)
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            with pytest.raises(BundleError, match=path.name):
                load(target)
            path.write_bytes(kept)
    load(target)
    table = pd.DataFrame({
        "subject_id": [1, 2, 3], "time": pd.to_datetime(["2025-01-01"] * 3),
        "code": ["LOINC//2823-3", None, None], "numeric_value": [4.0, 4.0, 4.0],
        "unit": ["mmol/L"] * 3,
    })  # fmt: skip
    with pytest.raises(InputError, match="2 "):
        read_events(table)


def check_small_cells(folder: Path) -> None:
    """5: what leaves is counts, none that stands for one to nine people."""

    def group(n: int, events: int) -> dict[str, object]:
        return {"kind": "group", "n": n, "events": events}

    def steps(left_out: int) -> dict[str, object]:
        return {"name": "adults", "people": 500, "times": 500, "left_out": left_out}

    value = {
        "model": "m", "bundle": "b", "case_mix": {},
        "performance": {
            "n": 500, "events": 100, "groups": 500, "metrics": [], "net_benefit": [],
            "calibration": [group(100, 4), group(120, 30), group(130, 40), group(150, 26)],
        },
        "subgroups": [{"dimension": "sex", "subgroup": s, "n": 40} for s in ("a", "b")],
        "subgroups_suppressed": {"sex": 1},
        "attrition": [steps(0), steps(7), steps(30)],
        "predictors": [{"feature": "x", "known": 4}, {"feature": "y", "known": 495},
                       {"feature": "z", "known": 250}],
    }  # fmt: skip
    source = folder / "validation"
    source.mkdir()
    (source / "validation.json").write_text(json.dumps(value))
    found = export_aggregate(source)
    groups = found["calibration"]
    assert all(min(row["events"], row["n"] - row["events"]) >= 10 for row in groups)
    # Nobody is to be had by subtraction either.
    assert len(groups) <= 2
    assert len(found["subgroups"]) == 1
    assert [row["known"] for row in found["predictors"]] == [None, None, 250]
    assert [step["left_out"] for step in found["attrition"]] == [0, None, 30]
    assert found["attrition"][1]["people"] is None


LISTENER = """
import os, socket, sys, threading
for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "NO_PROXY", "CI", "PYTEST_CURRENT_TEST"):
    os.environ.pop(name, None)
calls = []
whole = socket.getaddrinfo
def asked(host, *rest, **more):
    if host not in ("localhost", "127.0.0.1", "::1", None, ""):
        calls.append(str(host))
        raise OSError("no network")
    return whole(host, *rest, **more)
socket.getaddrinfo = asked
connect = socket.socket.connect
def connected(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
        calls.append(str(address[0]))
        raise OSError("no network")
    return connect(self, address)
socket.socket.connect = connected
sys.path.insert(0, {root!r})
import magml
import magml.experiments.store as store
{broken}
from tests import bundle_parts as parts
from magml.bundle import write_bundle
from magml.experiments.tracking import RunRecord, record
write_bundle("bundle", parts.contents())
model = magml.load("bundle")
definitions = {{"model": parts.DEFINITION, "catalogue": parts.CATALOGUE}}
from pathlib import Path
record(RunRecord("small", "hypomagnesemia_small", Path("bundle"), definitions),
       tracking_uri="sqlite:///mlflow.db")
import time
time.sleep(2)  # telemetry works in a thread of its own
print("CALLS", sorted(set(calls)))
"""


def check_no_call_home(folder: Path, broken: str = "") -> None:
    """6: nothing asks for a host that is not this machine, with no variable of the user's set."""
    done = subprocess.run(
        [sys.executable, "-c", LISTENER.format(root=str(ROOT), broken=broken)],
        capture_output=True, text=True, cwd=folder, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("CALLS []"), done.stdout


CHECKS: dict[int, Callable[[Path], None]] = {
    1: check_equal_bytes,
    2: check_nothing_of_the_tested,
    3: check_crashes,
    4: check_refusals,
    5: check_small_cells,
    6: check_no_call_home,
}


@pytest.mark.parametrize("number", CHECKS)
def test_the_promise_is_kept(number: int, tmp_path: Path) -> None:
    CHECKS[number](tmp_path)


def test_seeds_that_depend_on_the_run_break_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = itertools.count()
    monkeypatch.setattr("magml.models.bag.derive_seed", lambda *_: next(counter))
    with pytest.raises(AssertionError):
        check_equal_bytes(Path())


@pytest.mark.parametrize("what", ["training", "calibration"])
def test_a_leak_breaks_the_second(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nested._fit_fold

    def leaking(setting, number, train, test, report):  # type: ignore[no-untyped-def]
        if what == "training":
            return whole(setting, number, train | test, test, report)
        found = whole(setting, number, train, test, report)
        # Recalibrated on the outcomes that it is tested on.
        shift = 0.1 * setting.outcome[test].mean()
        return replace(found, risks={name: r + shift for name, r in found.risks.items()})

    monkeypatch.setattr(nested, "_fit_fold", leaking)
    with pytest.raises(AssertionError):
        check_nothing_of_the_tested(Path())


def test_writing_in_place_breaks_the_third(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no whole bundle"):
        check_crashes(tmp_path, IN_PLACE)


def test_a_load_that_compares_nothing_breaks_the_fourth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magml.bundle.manifest._refuse", lambda *_: None)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_refusals(tmp_path)


def test_showing_small_cells_breaks_the_fifth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magml.validation.aggregate.SMALL", 1)
    with pytest.raises(AssertionError):
        check_small_cells(tmp_path)


def test_leaving_telemetry_on_breaks_the_sixth(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="CALLS"):
        check_no_call_home(tmp_path, "store._QUIET.pop('MLFLOW_DISABLE_TELEMETRY'); "
                                     "store._QUIET.pop('DO_NOT_TRACK')")  # fmt: skip


def test_the_other_tests_that_hold_a_promise_exist() -> None:
    assert set(ALSO) == set(CHECKS)
    for named in itertools.chain.from_iterable(ALSO.values()):
        module, _, test = named.partition(".")
        assert callable(getattr(importlib.import_module(f"tests.{module}"), test)), named


def test_each_promise_can_be_broken_in_the_source_as_it_is_now() -> None:
    assert {one.promise for one in BREAKS} == set(CHECKS)
    for one in BREAKS:
        found = (ROOT / one.file).read_text(encoding="utf-8").count(one.text)
        assert found == 1, f"{one.how}: adapt tests/promises/breaks.py to {one.file}"
        module, _, test = one.named_test.partition("::")
        named = importlib.import_module(module.removesuffix(".py").replace("/", "."))
        assert callable(getattr(named, test.partition("[")[0])), one.named_test
