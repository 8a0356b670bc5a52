"""Serving the pages."""

from __future__ import annotations

import logging
import sys
from typing import Any

from magml.errors import InputError
from magml.review.web.desk import Desk, has_users

_GRACE = 10


def serve(desk: Desk) -> None:
    """Serve the pages of a desk until told to stop."""
    import uvicorn

    settings = desk.settings
    settings.check(users=has_users(desk.record))
    # Defects by kind alone: an address or a message could name a patient.
    logger = logging.getLogger("magml.review")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    tls: dict[str, Any] = {}
    if settings.tls_certificate is not None and settings.tls_key is not None:
        tls = {
            "ssl_certfile": str(settings.tls_certificate),
            "ssl_keyfile": str(settings.tls_key),
        }
    config = uvicorn.Config(
        desk.app(),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the guard reads them, and only from the proxies that are named
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=64_000,
        **tls,
    )
    try:
        uvicorn.Server(config).run()
    except (OSError, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:
            raise
        raise InputError(
            f"port {settings.port} of {settings.host} cannot be used",
            "a free port",
            "choose another --port",
        ) from error
