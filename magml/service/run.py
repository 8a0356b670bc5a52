"""Starting a service."""

from __future__ import annotations

import json
import logging
import ssl
import sys
import time
from typing import Any

from magml.errors import InputError, MissingDependencyError
from magml.service.settings import Settings

_FIELDS = ("request", "route", "status", "milliseconds", "caller", "kind", "reason", "bundle")
#: Seconds that running requests are given when the service is told to stop.
_GRACE = 30


class JsonLines(logging.Formatter):
    """One JSON object a line, of fields that are named: nothing else can slip in."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.msg if record.name == "magml.service" else record.name,
        }
        line.update(
            (name, getattr(record, name)) for name in _FIELDS if getattr(record, name, None)
        )
        return json.dumps(line)


def serve(reference: str, settings: Settings | None = None) -> None:
    """Serve a model until told to stop; requests that run are then finished.

    Parameters
    ----------
    reference
        A bundle's folder or ``models:/NAME@ALIAS``; a newer version is taken into service when
        the alias moves or the folder changes.
    settings
        How it listens and what it accepts.

    Raises
    ------
    InputError
        If the settings would leave it open, or the address is taken.
    BundleError
        If the model does not load.
    MissingDependencyError
        If the extra ``serve`` is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingDependencyError(
            "uvicorn is not installed", "the extra serve", "pip install 'magml[serve]'"
        ) from error
    from magml.service.app import create_app

    chosen = settings or Settings()
    app = create_app(reference, chosen)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("magml.service")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    tls: dict[str, Any] = {}
    if chosen.tls_certificate is not None and chosen.tls_key is not None:
        tls = {"ssl_certfile": str(chosen.tls_certificate), "ssl_keyfile": str(chosen.tls_key)}
    if chosen.client_ca is not None:
        tls |= {"ssl_ca_certs": str(chosen.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    config = uvicorn.Config(
        app,
        host=chosen.host,
        port=chosen.port,
        log_config=None,
        access_log=False,  # the guard's own line holds no path as sent
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=75,  # longer than a proxy keeps a connection it may reuse
        h11_max_incomplete_event_size=64_000,
        **tls,
    )
    try:
        uvicorn.Server(config).run()
    except OSError as error:
        raise InputError(
            f"port {chosen.port} of {chosen.host} cannot be used ({error.strerror})",
            "a free port",
            "choose another --port",
        ) from error
