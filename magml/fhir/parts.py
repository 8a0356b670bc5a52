"""Parts of resources as parsed JSON."""

from __future__ import annotations

from typing import Any


def get(value: Any, *path: str | int) -> Any:
    """Return what lies at a path of parsed JSON, None where it leads nowhere.

    Examples
    --------
    >>> get({"a": [{"b": 1}]}, "a", 0, "b"), get({}, "a", 0)
    (1, None)
    """
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def items(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def local(reference: str) -> str:
    """Return ``Type/id`` of a reference, whatever server it names."""
    parts = reference.split("/_history/")[0].rsplit("/", 2)
    return "/".join(parts[-2:])[:200]
