"""More requests than a service can do, over real connections."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from magml.bundle import write_bundle
from magml.bundle.model import Model
from magml.service import Settings, create_app, guard
from tests import bundle_parts as parts
from tests.browser_parts import free_port, served

REQUEST = {
    "events": [{"subject_id": 1, "time": "1960-03-01T00:00:00", "code": "MEDS_BIRTH"}] * 2_000,
    "at": [{"subject_id": 1, "prediction_time": "2025-03-01T08:00:00"}],
}
BODY = json.dumps(REQUEST).encode()


def ask(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    connection.request("POST", "/score", BODY, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("retry-after")


def test_a_refusal_is_quick_reads_nothing_and_keeps_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "bundle", parts.contents())
    release, entered, real = threading.Event(), threading.Event(), Model.score
    bodies = []

    def slow(self: Model, *args: Any, **more: Any) -> Any:
        entered.set()
        release.wait(30)
        return real(self, *args, **more)

    async def counted(receive: Any, most: int) -> bytes | None:
        bodies.append(most)
        return await read(receive, most)

    read = guard.read_body
    monkeypatch.setattr(Model, "score", slow)
    monkeypatch.setattr(guard, "read_body", counted)
    app = create_app(str(tmp_path / "bundle"), Settings(waiting=2, workers=1, patience=30, poll=0))
    answers: list[int] = []
    port = free_port()
    with served(app, port):
        inside = [
            threading.Thread(
                target=lambda: answers.append(
                    ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60))[0]
                )
            )
            for _ in range(2)
        ]
        for thread in inside:
            thread.start()
        entered.wait(20)
        while app.state.engine.pending < 2:
            time.sleep(0.01)
        refused = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        refused.connect()
        its_own = refused.sock
        started = time.monotonic()
        assert [ask(refused) for _ in range(20)] == [(503, "1")] * 20
        assert time.monotonic() - started < 10
        assert len(bodies) == 2  # of those inside; of who was refused, none was read or parsed
        release.set()
        for thread in inside:
            thread.join(30)
        assert ask(refused)[0] == 200
        assert refused.sock is its_own
        refused.close()
    assert answers == [200, 200]


def test_who_would_wait_longer_than_patience_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "bundle", parts.contents())
    release = threading.Event()
    app = create_app(str(tmp_path / "bundle"), Settings(waiting=20, workers=2, patience=9, poll=0))
    engine = app.state.engine
    for _ in range(3):
        engine._learn(6)
    # 2 of workers run at once: a third waits for half a turn of 6 s, the fifth for three halves.
    assert [engine.wait(ahead) for ahead in (0, 1, 2, 4)] == pytest.approx([0, 0, 3, 9])
    assert engine.retry_after() == 1  # nobody is inside
    engine._learn(66)  # a tenth of the way from 6
    assert engine.wait(4) == pytest.approx(18)
    engine.pending = 4
    assert engine.retry_after() == 3 * 12 / 2
    engine.pending = 10_000
    assert engine.retry_after() == 30
    engine.pending = 0

    monkeypatch.setattr(Model, "score", lambda *_, **__: release.wait(30))
    port = free_port()
    with served(app, port):
        threads = [
            threading.Thread(
                target=ask, args=[http.client.HTTPConnection("127.0.0.1", port, timeout=60)]
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        while engine.pending < 3:  # the third waits
            time.sleep(0.01)
        fourth = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        started = time.monotonic()
        fourth.request("POST", "/score", BODY, {"content-type": "application/json"})
        answer = fourth.getresponse()
        assert (answer.status, answer.getheader("retry-after")) == (503, "12")
        assert b"more than 9 seconds" in answer.read()
        assert time.monotonic() - started < 5
        fourth.close()
        release.set()
        for thread in threads:
            thread.join(30)
