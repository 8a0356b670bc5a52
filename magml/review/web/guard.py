"""Around every request: who may connect, what may be sent, and headers that keep pages apart."""

from __future__ import annotations

import hmac
import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from magml.review.web.settings import Settings
from magml.service.body import read_body, replayed
from magml.service.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Largest body: a comment of 4,000 characters and a verdict on every reason fit many times.
_MAX_BYTES = 200_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not none at all: browsers would then hide where a form comes from, which is checked below.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
#: What a proxy sends to show that a request came through it.
SECRET_HEADER = "x-magml-proxy-secret"
_log = logging.getLogger("magml.review")


class Guard:
    """ASGI middleware that refuses what no reader's browser sends, and hardens every answer."""

    def __init__(self, app: App, settings: Settings, secret: str | None) -> None:
        self._app, self._settings, self._secret = app, settings, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        begun = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _hardened(message.get("headers", []), self._settings.secure)
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(sending, *refusal)
            return
        scope.setdefault("state", {})["address"] = self._address(scope, headers)
        scope["state"]["user"] = self._user(headers)
        body = (
            await read_body(receive, _MAX_BYTES) if scope["method"] not in ("GET", "HEAD") else b""
        )
        if body is None:
            await _answer(sending, 413, f"More was sent than {_MAX_BYTES:,} bytes.")
            return
        try:
            await self._app(scope, replayed(body, receive), sending)
        except Exception as error:
            # The text of an unforeseen error could hold a value, so only its kind is logged.
            shown = bool(os.environ.get("MAGML_DEBUG"))
            _log.error("a defect of magml: %s", type(error).__name__, exc_info=shown)
            if not begun:
                await _answer(sending, 500, "This is a defect of magml. Nothing was signed.")

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return why a request is refused, or None."""
        settings = self._settings
        peer = (scope.get("client") or ("", 0))[0]
        if settings.proxies and peer not in settings.proxies:
            return 403, "These pages are reached through their proxy only."
        if self._secret is not None and not hmac.compare_digest(
            headers.get(SECRET_HEADER, "").encode(), self._secret.encode()
        ):
            return 403, "These pages are reached through their proxy only."
        host = headers.get("host", "")
        if not self._named(host):
            # Another site's name that points to this machine must not read the pages.
            return 421, "These pages are not served under this name: see --name."
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "Pages are read and forms are sent; nothing else."
        if scope["method"] == "POST" and not self._from_here(headers, host):
            return 403, "This form was not sent from these pages."
        return None

    def _named(self, host: str) -> bool:
        """Return whether the pages are served under a name."""
        name = _name(host)
        settings = self._settings
        if settings.names or is_loopback(settings.host):
            return is_loopback(name) or name in (settings.host, *settings.names)
        return True

    def _from_here(self, headers: dict[str, str], host: str) -> bool:
        """Return whether a form comes from these pages; browsers say so and scripts cannot."""
        site = headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        origin = headers.get("origin")
        if origin is None:
            return site == "same-origin"
        place = urlsplit(origin).netloc
        return place == host or (bool(place) and _name(place) in self._settings.names)

    def _address(self, scope: Scope, headers: dict[str, str]) -> str:
        """Return the reader's address."""
        forwarded = headers.get("x-forwarded-for", "")
        if self._settings.proxies and forwarded:
            return forwarded.rpartition(",")[2].strip()[:64]
        return str((scope.get("client") or ("", 0))[0])[:64]

    def _user(self, headers: dict[str, str]) -> str | None:
        """Return who the proxy says is there; it was shown above that the proxy says it."""
        if self._settings.user_header is None:
            return None
        return headers.get(self._settings.user_header.lower()) or ""


def _name(host: str) -> str:
    """Return a host's name without its port.

    Examples
    --------
    >>> _name("localhost:8765"), _name("[::1]:80"), _name("a.example")
    ('localhost', '::1', 'a.example')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _hardened(headers: Any, secure: bool) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with those that every answer has; its own go first."""
    own = {name.lower() for name, _ in headers}
    more = {name: value for name, value in _HEADERS.items() if name.encode("latin-1") not in own}
    if secure:
        more["strict-transport-security"] = "max-age=31536000"
    return [*headers, *((name.encode(), value.encode()) for name, value in more.items())]


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
