"""MLflow: what is recorded, what is registered, and that nothing of it is a pickle."""

from __future__ import annotations

import json
import os
import pickletools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from magml.bundle import load, write_bundle
from magml.errors import BundleError, InputError, TrackingError
from magml.experiments.store import default_tracking_uri, download, session, sqlite_file
from magml.experiments.tracking import (
    ChildRun,
    Recorded,
    RunRecord,
    flat_metrics,
    flat_params,
    record,
)
from tests import bundle_parts as parts


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def run(bundle: Path) -> RunRecord:
    results = bundle.parent / "results"
    (results / "plots").mkdir(parents=True)
    (results / "metrics.json").write_text("{}")
    (results / "plots" / "calibration.svg").write_text("<svg/>")
    return RunRecord(
        name="small_experiment",
        model_name="hypomagnesemia_small",
        bundle=bundle,
        definitions={"model": parts.DEFINITION, "catalogue": parts.CATALOGUE},
        params={"estimator": {"members": 4}, "seeds": {"model": 7}, "long": "x" * 9000},
        metrics={"n": 600, "auroc": {"value": 0.75, "low": 0.7, "high": 0.8}, "ici": None},
        results=results,
        fingerprint={"rows": 4200, "files": [{"bytes": 10, "sha256": "ab"}]},
        environment={"python": "3.11"},
        tags={"quick": "true"},
        children=(
            ChildRun("fold 1", "fold", {"rounds": 20}, {"auroc": 0.74}),
            ChildRun(
                "logistic", "baseline", {}, {"auroc": {"value": 0.7, "low": 0.6, "high": 0.8}}
            ),
        ),
    )


@pytest.fixture(scope="module")
def recorded(run: RunRecord, uri: str) -> Recorded:
    return record(run, tracking_uri=uri)


def test_the_parent_run_holds_everything(recorded: Recorded, run: RunRecord, uri: str) -> None:
    with session(uri) as client:
        found = client.get_run(recorded.run_id)
        listed = {item.path for item in client.list_artifacts(recorded.run_id)}
        plots = {item.path for item in client.list_artifacts(recorded.run_id, "results/plots")}
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"n": 600, "auroc": 0.75, "auroc_low": 0.7, "auroc_high": 0.8}
    assert found.data.params["estimator.members"] == "4"
    assert found.data.params["seeds.model"] == "7"
    assert found.data.params["long"].startswith("xxx")
    assert found.data.tags["quick"] == "true"
    assert found.data.tags["magml.bundle"] == load(run.bundle).hash
    assert {"magml.definition.model", "magml.definition.catalogue", "magml.data"} <= set(
        found.data.tags
    )
    assert {
        "bundle",
        "definitions",
        "results",
        "data.json",
        "environment.json",
        "card.md",
    } <= listed
    assert plots == {"results/plots/calibration.svg"}


def test_folds_and_baselines_are_nested(recorded: Recorded, uri: str) -> None:
    with session(uri) as client:
        experiment = client.get_experiment_by_name("small_experiment")
        runs = client.search_runs(
            [experiment.experiment_id],
            f"tags.`mlflow.parentRunId` = '{recorded.run_id}'",
        )
    by_name = {item.info.run_name: item for item in runs}
    assert set(by_name) == {"fold 1", "logistic"}
    assert by_name["fold 1"].data.tags["magml.kind"] == "fold"
    assert by_name["fold 1"].data.params == {"rounds": "20"}
    assert by_name["logistic"].data.metrics["auroc_low"] == 0.6
    assert {item.info.status for item in runs} == {"FINISHED"}


def test_artifacts_lie_beside_the_store(recorded: Recorded, uri: str) -> None:
    file = sqlite_file(uri)
    assert file is not None
    assert (file.parent / "mlruns" / "small_experiment").is_dir()
    assert not (Path.cwd() / "mlruns" / "small_experiment").exists()


def test_no_artifact_is_a_pickle(recorded: Recorded, uri: str) -> None:
    file = sqlite_file(uri)
    assert file is not None
    files = [path for path in (file.parent / "mlruns").rglob("*") if path.is_file()]
    assert any(path.suffix == ".ubj" for path in files)
    assert [path for path in files if is_pickle(path)] == []


def test_the_pickle_scan_can_find_one(tmp_path: Path) -> None:
    import pickle

    for protocol in range(6):
        (tmp_path / f"{protocol}.bin").write_bytes(pickle.dumps({"a": [1]}, protocol))
    (tmp_path / "named.pkl").write_bytes(b"")
    assert all(is_pickle(path) for path in tmp_path.iterdir())


def is_pickle(path: Path) -> bool:
    """Return whether a file is named as a pickle or reads as one from its first byte to STOP."""
    if path.suffix in {".pkl", ".pickle", ".joblib", ".p", ".pt", ".cloudpickle", ".pyc"}:
        return True
    data = path.read_bytes()
    if data[:1] == b"\x80" and data[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return True
    try:
        # Text protocols have no mark, so the whole file must read as opcodes.
        operations = list(pickletools.genops(data))
    except Exception:
        return False
    return len(operations) > 1 and operations[-1][2] == len(data) - 1


def test_pyfunc_gives_the_bundles_risks(recorded: Recorded, run: RunRecord, uri: str) -> None:
    import mlflow

    X = parts.matrix(50, seed=3)[0]
    expected = load(run.bundle).score_matrix(X)
    with session(uri):
        model = mlflow.pyfunc.load_model("models:/hypomagnesemia_small@champion")
        # The columns' order and type are the caller's.
        frame = pd.DataFrame(X, columns=list(parts.FEATURES)).iloc[:, ::-1]
        for given in (frame, frame.astype("float64")):
            found = model.predict(given)
            assert list(found.columns) == ["risk", "risk_low", "risk_high"]
            np.testing.assert_array_equal(found["risk"], expected.risk)
            np.testing.assert_array_equal(found["risk_low"], expected.low)
            np.testing.assert_array_equal(found["risk_high"], expected.high)
        with pytest.raises(Exception, match=r"lab\.albumin\.last"):
            model.predict(frame.drop(columns="lab.albumin.last"))
    inputs = model.metadata.get_input_schema()
    assert [column.name for column in inputs] == list(parts.FEATURES)


def test_load_resolves_alias_and_version(
    recorded: Recorded, run: RunRecord, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(run.bundle).hash
    assert load("models:/hypomagnesemia_small@champion", tracking_uri=uri).hash == expected
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert load(recorded.model_uri).hash == expected
    assert load(f"runs:/{recorded.run_id}/bundle").hash == expected
    assert os.environ["MLFLOW_TRACKING_URI"] == uri
    with pytest.raises(BundleError, match="no_such_model"):
        load("models:/no_such_model@champion")
    with pytest.raises(BundleError, match="cannot be fetched"):
        load("models:/hypomagnesemia_small@nobody")


def test_a_tampered_registered_model_does_not_load(recorded: Recorded, uri: str) -> None:
    file = sqlite_file(uri)
    assert file is not None
    stored = (file.parent / "mlruns").glob("*/models/*/artifacts/**/member_00.ubj")
    booster = next(stored)
    original = booster.read_bytes()
    try:
        booster.write_bytes(original[:-1] + b"!")
        with pytest.raises(BundleError, match=r"member_00\.ubj"):
            load(recorded.model_uri, tracking_uri=uri)
    finally:
        booster.write_bytes(original)


def test_a_second_version_is_a_challenger(recorded: Recorded, run: RunRecord, uri: str) -> None:
    again = record(run, tracking_uri=uri)
    assert (recorded.alias, again.alias) == ("champion", "challenger")
    assert (recorded.model_uri, again.model_uri) == (
        "models:/hypomagnesemia_small/1",
        "models:/hypomagnesemia_small/2",
    )
    with session(uri) as client:
        aliases = client.get_registered_model("hypomagnesemia_small").aliases
    assert {name: str(version) for name, version in aliases.items()} == {
        "champion": "1",
        "challenger": "2",
    }


def test_a_failure_in_the_middle_leaves_the_bundle(
    recorded: Recorded, run: RunRecord, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magml.experiments import tracking

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tracking, "_register", fail)
    before = load(run.bundle).hash
    with pytest.raises(TrackingError, match="disk full"):
        record(run, tracking_uri=uri)
    assert load(run.bundle).hash == before
    with session(uri) as client:
        experiment = client.get_experiment_by_name("small_experiment")
        failed = client.search_runs([experiment.experiment_id], "attributes.status = 'FAILED'")
    assert len(failed) == 1


def test_a_store_that_cannot_be_used_is_a_clear_error(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database")
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        record(run, tracking_uri=f"sqlite:///{tmp_path / 'file'}")


def test_a_missing_store_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri() == f"sqlite:///{tmp_path.as_posix()}/mlflow.db"
    with pytest.raises(BundleError, match="no MLflow store"):
        load("models:/hypomagnesemia_small@champion")
    assert list(tmp_path.iterdir()) == []


def test_settings_are_put_back(recorded: Recorded, uri: str, tmp_path: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mine.db'}")
    try:
        with session(uri):
            assert mlflow.get_tracking_uri() == uri
        assert mlflow.get_tracking_uri().endswith("mine.db")
    finally:
        mlflow.set_tracking_uri(None)
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_telemetry_is_off(recorded: Recorded) -> None:
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()


def test_metrics_and_parameters_are_flat() -> None:
    assert flat_metrics({"a": {"b": {"value": 1, "low": float("nan"), "high": 2}}, "c": "x"}) == {
        "a.b": 1.0,
        "a.b_high": 2.0,
    }
    assert flat_params({"a": {"b": [1, 2]}, "none": None}) == {"a.b": "[1, 2]", "none": "None"}


def test_what_is_recorded_is_json(recorded: Recorded, uri: str, tmp_path: Path) -> None:
    folder = download(f"runs:/{recorded.run_id}/data.json", tmp_path, uri)
    assert json.loads(folder.read_text())["rows"] == 4200


def test_a_run_is_recorded_later_once(run: RunRecord, tmp_path: Path) -> None:
    """What `magml train` leaves behind when the server is gone is recorded by `magml sync`."""
    import shutil

    from magml.experiments.sync import sync, write_record

    folder = tmp_path / "small_experiment"
    shutil.copytree(run.bundle.parent, folder)
    write_record(run, folder)
    store = f"sqlite:///{tmp_path / 'store.db'}"
    first = sync(folder, tracking_uri=store)
    again = sync(folder, tracking_uri=store)
    assert (first.new, again.new) == (True, False)
    assert first.model_uri == again.model_uri == "models:/hypomagnesemia_small/1"
    assert first.alias == "champion"
    with session(store) as client:
        found = client.get_run(first.run_id)
        assert found.info.status == "FINISHED"
        assert found.data.metrics == {"n": 600, "auroc": 0.75, "auroc_low": 0.7, "auroc_high": 0.8}
        assert found.data.params["estimator.members"] == "4"
        assert found.data.tags["quick"] == "true"
    # A bundle alone, as recalibration writes it, is registered too.
    alone = sync(run.bundle, tracking_uri=f"sqlite:///{tmp_path / 'other.db'}")
    assert alone.new
    with pytest.raises(InputError, match="no bundle"):
        sync(tmp_path / "store.db")
