"""The service called in this process, without a network."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from tests.fuzz.seeds import folders


@cache
def _app() -> tuple[Any, asyncio.AbstractEventLoop]:
    import logging

    from magml.bundle import write_bundle
    from magml.service import Settings, create_app
    from tests import bundle_parts as parts

    logging.getLogger("magml.service").setLevel(logging.CRITICAL)
    folder = folders()["root"] / "bundle"
    write_bundle(folder, parts.contents())
    settings = Settings(poll=0, workers=1, max_bytes=200_000, waiting=1000)
    return create_app(str(folder), settings), asyncio.new_event_loop()


def app() -> Any:
    """Return the service as an ASGI application."""
    return _app()[0]


def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Return status and body of the answer to a request with a JSON body."""
    application, loop = _app()
    sent: list[dict[str, Any]] = []
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = path.encode("utf-8", "replace")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": raw, "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "state": {},
    }  # fmt: skip
    loop.run_until_complete(application(scope, receive, send))
    text = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
    return int(sent[0]["status"]), text
