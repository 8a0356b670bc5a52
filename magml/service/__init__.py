"""A model in service: events in, risks and reasons out, over HTTP on loopback by default."""

from __future__ import annotations

from magml.service.app import create_app
from magml.service.run import serve
from magml.service.settings import Settings

__all__ = ["Settings", "create_app", "serve"]
