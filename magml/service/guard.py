"""Around every request: its size, who asks, safe headers, one log line without patient data."""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from magml.service.body import read_body, replayed
from magml.service.keys import caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from magml.service.engine import Engine
    from magml.service.metrics import Metrics

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Answered without a key: whether the process lives says nothing of anybody.
_OPEN = ("/health", "/ready")
_TOKENS = "/cds-services"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_log = logging.getLogger("magml.service")


class Guard:
    """ASGI middleware: refuses what is too large, too much or from nobody known, counts the rest.

    A request beyond `waiting`, or whose turn would come later than `patience` by the time that
    turns took lately, is answered before its body is read: reading and parsing what will be refused
    would slow down those that are not.
    """

    def __init__(
        self,
        app: App,
        *,
        keys: dict[str, str] | None,
        max_bytes: int,
        metrics: Metrics,
        engine: Engine,
        waiting: int,
        patience: float,
        tokens: bool = False,
    ) -> None:
        self._app, self._keys, self._max, self._metrics = app, keys, max_bytes, metrics
        self._engine, self._waiting, self._patience = engine, waiting, patience
        self._tokens, self._inside = tokens, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, request = time.perf_counter(), uuid.uuid4().hex[:12]
        state = {"status": 0}

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                message["headers"] = [
                    *message.get("headers", []), *_HEADERS, (b"x-request-id", request.encode())
                ]  # fmt: skip
            await send(message)

        who = self._who(scope)
        work = int(scope["method"] == "POST")
        full = self._full() if work else None
        self._inside += work
        try:
            if who is None:
                await _answer(sending, 401, "no valid API key: send it as X-API-Key")
            elif full is not None:
                await _answer(sending, 503, full, self._engine.retry_after())
            elif (
                self._declared(scope) > self._max
                or (body := await read_body(receive, self._max)) is None
            ):
                await _answer(sending, 413, f"a body above {self._max} bytes")
            else:
                await self._app(scope, replayed(body, receive), sending)
        except Exception as error:
            # The text of an unforeseen error could hold a value, so only its kind is logged.
            _log.error("defect", extra={"request": request, "kind": type(error).__name__})
            if not state["status"]:
                await _answer(sending, 500, f"a defect of magml; request {request}")
        finally:
            self._inside -= work
        seconds = time.perf_counter() - started
        # The route's pattern: a path as sent could hold an identifier.
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.request(route, state["status"], seconds)
        _log.info(
            "request",
            extra={
                "request": request,
                "route": route,
                "status": state["status"],
                "milliseconds": round(1000 * seconds, 1),
                "caller": who,
            },
        )

    def _full(self) -> str | None:
        """Return why no more work is taken, None where it is."""
        if self._inside >= self._waiting:
            return f"{self._waiting} requests wait already: try again"
        if self._engine.wait(self._inside) > self._patience:
            return f"a turn would take more than {self._patience:g} seconds: try again"
        return None

    def _who(self, scope: Scope) -> str | None:
        """Return the caller's name; None is nobody known."""
        path = scope["path"]
        if self._keys is None or path in _OPEN:
            return "-"
        if self._tokens and (path == _TOKENS or path.startswith(f"{_TOKENS}/")):
            return "-"  # these routes ask for a signed token themselves
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            if name == b"x-api-key":
                return caller(self._keys, text)
            if name == b"authorization" and text.lower().startswith("bearer "):
                return caller(self._keys, text[7:].strip())
        return None

    @staticmethod
    def _declared(scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                return int(value)
        return 0


async def _answer(send: Send, status: int, error: str, wait: int | None = None) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if wait is not None:
        headers.append((b"retry-after", b"%d" % wait))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
