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
    "events": [{"subject_id": 1, "time": "1960-03-01T00:00:00", "code": "MEDS_BIRTH"}] * 5_000,
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
