"""Durations as people write them in definitions: ``45min``, ``6h``, ``7d``, ``2y``."""

from __future__ import annotations

import re

from magml.errors import DefinitionError

MICROSECONDS_PER_HOUR = 3_600_000_000
_UNITS = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 31_557_600}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(min|h|d|w|y)$")


def seconds(duration: str) -> int:
    """Return the length of a duration in seconds.

    Parameters
    ----------
    duration
        A number with ``min``, ``h``, ``d``, ``w`` or ``y`` (365.25 days).

    Raises
    ------
    DefinitionError
        If the text is not a duration.

    Examples
    --------
    >>> seconds("6h"), seconds("45min"), seconds("7d")
    (21600, 2700, 604800)
    """
    match = _DURATION.match(str(duration).strip())
    if match is None:
        raise DefinitionError(
            f"{duration!r} is not a duration",
            "a number followed by min, h, d, w or y, for example 6h",
            "correct the definition",
        )
    return round(float(match[1]) * _UNITS[match[2]])


def checked(duration: str) -> str:
    """Return the duration as it is, or raise ValueError as pydantic's validators expect."""
    try:
        seconds(duration)
    except DefinitionError as error:
        raise ValueError(f"{error.seen}; expected {error.expected}") from error
    return duration
