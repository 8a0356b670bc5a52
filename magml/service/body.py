"""A request's body, read whole before anything is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def read_body(receive: Receive, most: int) -> bytes | None:
    """Return the whole body, None if it goes beyond `most` bytes or the caller left."""
    parts, taken = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        taken += len(parts[-1])
        if taken > most:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receiver that gives a body that was read already, then what comes after it."""
    given = False

    async def replaying() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying
