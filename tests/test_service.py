"""The service: answers equal to the model's own, and refusals of everything else."""

from __future__ import annotations

import io
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("httpx2", reason="needs httpx2")

from fastapi.testclient import TestClient

from magml.bundle import load, write_bundle
from magml.errors import InputError
from magml.service import Settings, create_app
from magml.service.engine import Engine
from magml.service.keys import make_key
from magml.service.messages import ScoreRequest, event_table, time_table
from magml.service.run import JsonLines
from tests import bundle_parts as parts

MARK = "ZZPATIENT77"
REQUEST: dict[str, Any] = {
    "events": [
        {"subject_id": 1, "time": "1960-03-01T00:00:00", "code": "MEDS_BIRTH"},
        {
            "subject_id": 1,
            "time": "2025-03-01T05:00:00",
            "code": "LOINC//2823-3",
            "numeric_value": 3.1,
            "unit": "mmol/L",
            "source": f"labs:{MARK}",
        },
        {
            "subject_id": 2,
            "time": "2025-03-01T06:00:00+02:00",
            "code": "LOINC//1751-7",
            "numeric_value": 28,
            "unit": "g/L",
        },
    ],
    "at": [
        {"subject_id": 2, "prediction_time": "2025-03-01T08:00:00"},
        {"subject_id": 1, "prediction_time": "2025-03-01T08:00:00"},
    ],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[TestClient]:
    app = create_app(str(bundle), Settings(max_bytes=20_000, max_rows=3, max_events=50, workers=2))
    with TestClient(app) as found:
        yield found


def test_the_answer_is_the_models_own(client: TestClient, bundle: Path) -> None:
    answer = client.post("/score", json=REQUEST)
    assert answer.status_code == 200
    parsed = ScoreRequest(**REQUEST)
    own = load(bundle).score(event_table(parsed.events, "UTC"), time_table(parsed.at, "UTC"))
    rows = answer.json()["rows"]
    assert [row["subject_id"] for row in rows] == [2, 1]
    assert [row["risk"] for row in rows] == own["risk"].tolist()
    assert [row["warnings"] for row in rows] == own["warnings"].tolist()
    assert answer.json()["model"]["bundle"] == load(bundle).hash


def test_reasons_add_up_to_the_risk(client: TestClient) -> None:
    rows = client.post("/explain", json={**REQUEST, "top": 1000}).json()["rows"]
    assert len(rows) == 2
    for row in rows:
        total = row["base_risk"] + sum(reason["risk"] for reason in row["reasons"])
        assert total == pytest.approx(row["risk"], abs=1e-6)
        sizes = [abs(reason["log_odds"]) for reason in row["reasons"]]
        assert sizes == sorted(sizes, reverse=True)
    assert MARK in json.dumps(rows[1])  # the evidence of the potassium value


def without(change: Any) -> dict[str, Any]:
    """Return the request with one thing wrong."""
    found = json.loads(json.dumps(REQUEST))
    change(found)
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("at"), "body.at"),
        (lambda r: r.update(at=[]), "body.at"),
        (lambda r: r.update(more=1), "body.more"),
        (lambda r: r["events"][0].update(subject_id=2**63), "subject_id"),
        (lambda r: r["events"][0].update(subject_id="1"), "subject_id"),
        (lambda r: r["events"][0].update(code=""), "code"),
        (lambda r: r["events"][0].update(time=1_700_000_000), "ISO 8601"),
        (lambda r: r["events"][0].update(time="0001-01-01T00:00:00+14:00"), "years 1 to 9999"),
        (lambda r: r["at"].append(r["at"][0]), "more than once"),
    ],
)
def test_what_does_not_fit_is_refused(client: TestClient, change: Any, said: str) -> None:
    answer = client.post("/score", json=without(change))
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"null", 422),
        (b"[" * 15_000, 422),
        (b'{"events": [{"subject_id": 1, "code": "\\ud800"}], "at": []}', 422),
        (b'{"events": [{"subject_id": 1, "code": "a", "numeric_value": NaN}], "at": []}', 422),
        (b"\xff\xfe", 422),
        (b" " * 20_001, 413),
    ],
)
def test_what_is_no_request_is_refused(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/score", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status or (answer.status_code == 400 and status == 422)
    assert set(answer.json()) == {"error"}


def test_limits_hold_without_a_declared_length_too(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 1000

    assert client.post("/score", content=chunks()).status_code == 413
    at = [{"subject_id": n, "prediction_time": "2025-03-01T08:00:00"} for n in range(4)]
    answer = client.post("/score", json={**REQUEST, "at": at})
    assert answer.status_code == 413
    assert answer.json() == {"error": "4 prediction times, at most 3 in one request"}


def test_counts_and_contract_hold_no_patient(client: TestClient) -> None:
    client.post("/score", json=REQUEST)
    client.get(f"/patients/{MARK}")
    text = client.get("/metrics").text
    assert 'magml_requests_total{route="/score",status="200"}' in text
    assert MARK not in text
    assert client.get("/ready").json()["name"] == parts.DEFINITION.name
    assert client.get("/health").json() == {"status": "alive"}
    contract = client.get("/openapi.json").json()
    assert contract["components"]["schemas"]["ScoreRequest"]["examples"]
    assert client.get("/docs").status_code == 404  # it would load scripts from a network
    assert client.get("/health").headers["x-content-type-options"] == "nosniff"


def test_logs_hold_no_patient(client: TestClient) -> None:
    stream, logger = io.StringIO(), logging.getLogger("magml.service")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        client.post("/explain", json=REQUEST)
        client.post("/score", json=without(lambda r: r["events"][0].update(code=MARK * 200)))
        client.get(f"/score/{MARK}?name={MARK}")
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["status"] for line in lines] == [200, 422, 404]
    assert lines[0]["route"] == "/explain"
    assert MARK not in stream.getvalue()


def test_keys_are_asked_for_everything_but_health(bundle: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.json", "ward 7")
    assert key not in (tmp_path / "keys.json").read_text()
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    with TestClient(create_app(str(bundle), Settings(keys=tmp_path / "keys.json"))) as found:
        assert found.get("/health").status_code == 200
        for headers in ({}, {"X-API-Key": "magml_guess"}, {"Authorization": "Basic eA=="}):
            assert found.get("/metrics", headers=headers).status_code == 401
            assert found.post("/score", json=REQUEST, headers=headers).status_code == 401
        for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
            assert found.post("/score", json=REQUEST, headers=headers).status_code == 200


def test_it_does_not_listen_to_the_world_unasked(tmp_path: Path) -> None:
    Settings().check()
    with pytest.raises(InputError, match="nobody asked"):
        Settings(host="0.0.0.0").check()
    make_key(tmp_path / "keys.json", "a")
    with pytest.raises(InputError, match="without TLS"):
        Settings(host="::", keys=tmp_path / "keys.json").check()
    Settings(host="::", keys=tmp_path / "keys.json", behind_proxy=True).check()
    with pytest.raises(InputError, match="without its key"):
        Settings(tls_certificate=tmp_path / "keys.json").check()


def test_overload_is_answered_at_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, entered = threading.Event(), threading.Event()
    from magml.bundle.model import Model

    real = Model.score

    def slow(self: Model, *args: Any, **more: Any) -> Any:
        entered.set()
        release.wait(10)
        return real(self, *args, **more)

    monkeypatch.setattr(Model, "score", slow)
    answers: list[int] = []
    app = create_app(str(bundle), Settings(waiting=2, workers=1))
    with TestClient(app) as found:
        threads = [
            threading.Thread(
                target=lambda: answers.append(found.post("/score", json=REQUEST).status_code)
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        entered.wait(10)
        while app.state.engine.pending < 2:
            time.sleep(0.01)
        refused = found.post("/score", json=REQUEST)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert found.get("/health").status_code == 200
        release.set()
        for thread in threads:
            thread.join()
    assert answers == [200, 200]
    assert app.state.engine.pending == 0


def test_who_waits_too_long_for_a_turn_is_told_in_time(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magml.bundle.model import Model

    release, begun = threading.Event(), []

    def slow(*_: Any, **__: Any) -> Any:
        begun.append(1)
        release.wait(20)
        raise InputError("x", "y")

    monkeypatch.setattr(Model, "score", slow)
    app = create_app(str(bundle), Settings(waiting=5, workers=1, patience=0.3))
    answers: list[int] = []
    with TestClient(app) as found:
        first = threading.Thread(
            target=lambda: answers.append(found.post("/score", json=REQUEST).status_code)
        )
        first.start()
        while not begun:
            time.sleep(0.01)
        started = time.monotonic()
        refused = found.post("/score", json=REQUEST)
        assert refused.status_code == 503
        assert "no turn within 0.3 seconds" in refused.json()["error"]
        assert refused.headers["retry-after"] == "1"
        assert 0.25 < time.monotonic() - started < 5
        release.set()
        first.join()
    assert answers == [422]  # it had begun, and was answered
    assert len(begun) == 1  # nobody worked for who was refused
    assert app.state.engine.pending == 0


def test_a_late_answer_is_a_503(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from magml.bundle.model import Model

    monkeypatch.setattr(Model, "score", lambda *_, **__: time.sleep(0.5))
    app = create_app(str(bundle), Settings(timeout=0.1, workers=1))
    with TestClient(app) as found:
        assert found.post("/score", json=REQUEST).status_code == 503


def test_a_newer_model_is_taken_into_service(bundle: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    shutil.copytree(bundle, served)
    engine = Engine(str(served), Settings(poll=0))
    first = engine.loaded.model.hash
    assert engine.refresh() is False
    contents = parts.contents()
    newer = type(contents)(**{**vars(contents), "card": {**contents.card, "note": "newer"}})
    write_bundle(served, newer)
    assert engine.refresh() is True
    assert engine.loaded.model.hash != first
    second = engine.loaded.model.hash
    # One that does not load leaves the model in service as it is.
    (served / "calibrator.json").write_text("{}")
    manifest = json.loads((served / "manifest.json").read_text())
    (served / "manifest.json").write_text(json.dumps({**manifest, "hash": "0" * 64}))
    assert engine.refresh() is False
    assert engine.loaded.model.hash == second
    engine.close()


def test_promoting_and_rolling_back(bundle: Path, tmp_path: Path) -> None:
    import mlflow

    from magml.experiments.registry import promote, registered_version, rollback
    from magml.experiments.store import session

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with session(uri) as client:
        client.create_registered_model("screen")
        for number in range(3):
            client.create_model_version(
                "screen", str(bundle), tags={"magml.bundle": f"{number}" * 64}
            )
        client.set_registered_model_alias("screen", "champion", "1")
    assert registered_version("models:/screen@champion", uri) == "1"
    assert registered_version("models:/screen/2", uri) == "2"
    assert promote("screen", "2", silent=True, tracking_uri=uri).alias == "silent"
    assert registered_version("models:/screen@champion", uri) == "1"
    moved = promote("screen", tracking_uri=uri)  # the silent one
    assert (moved.before, moved.after, moved.bundle) == ("1", "2", "1" * 64)
    with pytest.raises(InputError, match="already"):
        promote("screen", "2", tracking_uri=uri)
    assert promote("screen", tracking_uri=uri).after == "3"  # the newest
    assert rollback("screen", tracking_uri=uri).after == "2"
    assert rollback("screen", tracking_uri=uri).after == "3"
    assert registered_version("models:/screen@champion", uri) == "3"
    with pytest.raises(InputError, match="reference"):
        registered_version("models:/screen", uri)
    assert mlflow is not None


def test_scores_do_not_depend_on_who_else_asks(client: TestClient) -> None:
    alone = client.post("/score", json=REQUEST).json()["rows"]
    found: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(client.post("/score", json=REQUEST).json()["rows"])
        )
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert all(rows == alone for rows in found)
    assert np.isfinite([row["risk"] for row in alone]).all()
