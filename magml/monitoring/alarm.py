"""A comparison with what is expected, and whether it is an alarm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Alarm:
    """One comparison.

    Attributes
    ----------
    kind
        ``input``, ``missing``, ``recorded``, ``code``, ``unit``, ``score``, ``alert``,
        ``calibration``, ``discrimination`` or ``labels``.
    what
        Feature, concept or figure.
    period, site
        Where; no site is all sites together.
    size
        How much it differs, on the scale of its threshold.
    p
        Probability of such a difference if nothing has changed.
    words
        What is seen, what was before.
    large
        Whether the size reaches the threshold.
    """

    kind: str
    what: str
    period: str
    site: str | None
    size: float
    p: float
    words: str
    large: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "size": round(self.size, 6), "p": float(f"{self.p:.3g}")}


def raised(comparisons: Iterable[Alarm], false_alarms: float) -> tuple[Alarm, ...]:
    """Return the comparisons that are alarms: large, and sure among so many.

    Bonferroni: each must be less probable than `false_alarms` over the number of comparisons.

    Examples
    --------
    >>> a = Alarm("missing", "x", "2025-01", None, 0.3, 0.004, "", True)
    >>> len(raised([a], 0.01)), len(raised([a] * 10, 0.01))
    (1, 0)
    """
    made = list(comparisons)
    limit = false_alarms / max(1, len(made))
    return tuple(one for one in made if one.large and one.p <= limit)


def worst(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
    """Return one alarm for each kind, thing and site: the first period, the others counted."""
    first: dict[tuple[str, str, str | None], Alarm] = {}
    more: dict[tuple[str, str, str | None], set[str]] = {}
    for alarm in sorted(alarms, key=lambda one: one.period):
        key = (alarm.kind, alarm.what, alarm.site)
        first.setdefault(key, alarm)
        more.setdefault(key, set()).add(alarm.period)
    return tuple(
        replace(alarm, words=alarm.words + _also(len(more[key]) - 1))
        for key, alarm in first.items()
    )


def _also(periods: int) -> str:
    return "" if not periods else f" (and in {periods} more period{'s' if periods > 1 else ''})"
