"""Alarms as people read them: the gravest first, those of one concept together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from magml.monitoring.alarm import Alarm, worst

#: Kinds of alarms, the gravest first: their title, and what they mean for who reads them.
KINDS = {
    "unit": ("Units", "Values do not fit the unit beside them. Scores of this site are wrong: "
             "correct the mapping, then monitor again."),
    "calibration": ("Calibration", "Risks no longer match outcomes. If the records are as they "
                    "were, recalibrate."),
    "discrimination": ("Discrimination", "The model tells people apart less well than in "
                       "development. Recalibrating does not help."),
    "score": ("Risks", "Risks are distributed otherwise. Look below for what changed in the "
              "records or the people."),
    "alert": ("Alerts", "More or fewer people reach the alert band."),
    "labels": ("Outcomes known", "More or fewer due outcomes are known: who is tested may have "
               "changed, so read calibration with care."),
    "code": ("Codes and units", "A concept comes in other codes or units. Check that they are "
             "mapped."),
    "recorded": ("Recorded at all", "More or fewer people have any record of a concept."),
    "missing": ("Known values", "A feature is known in more or fewer rows."),
    "input": ("Distributions", "A feature's values are distributed otherwise (stability index: "
              "0 as expected, above 0.25 much)."),
}  # fmt: skip
#: Kinds that are few, and speak of the model's risks and outcomes.
_FIGURES = ("calibration", "discrimination", "score", "alert", "labels")


@dataclass(frozen=True)
class Finding:
    """Alarms of one kind, concept and site.

    Attributes
    ----------
    kind
        As of `magml.monitoring.alarm.Alarm`.
    what
        Concept or figure.
    period, site
        The first period in which it was seen; no site is all sites together.
    words
        The largest of its alarms in words, and how many more features of the concept moved.
    """

    kind: str
    what: str
    period: str
    site: str | None
    words: str


def findings(alarms: Iterable[Alarm]) -> tuple[Finding, ...]:
    """Return what changed, features of one concept together.

    Examples
    --------
    >>> seen = [Alarm("missing", f"lab.sodium.{name}", "2025", None, size, 0.0, name, True)
    ...         for name, size in (("last", -0.2), ("max", -0.4))]
    >>> [(one.what, one.words) for one in findings(seen)]
    [('lab.sodium', 'max; lab.sodium.max and 1 more of its features')]
    """
    found: dict[tuple[str, str, str | None], list[Alarm]] = defaultdict(list)
    for alarm in worst(alarms):
        found[alarm.kind, _concept(alarm), alarm.site].append(alarm)
    rank = {kind: place for place, kind in enumerate(KINDS)}
    made = []
    for (kind, what, site), several in found.items():
        chief = max(several, key=lambda one: abs(one.size))
        words = chief.words
        if chief.what != what:
            words += f"; {chief.what}"
            words += f" and {len(several) - 1} more of its features" if several[1:] else ""
        made.append(Finding(kind, what, min(one.period for one in several), site, words))
    made.sort(key=lambda one: (rank[one.kind], one.period, one.site or "", one.what))
    return tuple(made)


def in_doubt(alarms: Iterable[Alarm]) -> str:
    """Return in words what is beyond its threshold without being an alarm.

    Figures of scores and outcomes are named; features and codes, of which many are compared, are
    counted.

    Examples
    --------
    >>> in_doubt([Alarm("calibration", "observed / expected", "2025", None, 2.0, 0.1, "2.0", True),
    ...           Alarm("input", "lab.sodium.last", "2025", None, 0.3, 0.1, "", True)])
    'observed / expected in 2025: 2.0; 1 of features and codes'
    """
    several = list(alarms)
    named = [one for one in several if one.kind in _FIGURES]
    parts = [f"{one.what} in {one.period}: {one.words}" for one in named]
    if others := len(several) - len(named):
        parts.append(f"{others} of features and codes")
    return "; ".join(parts)


def _concept(alarm: Alarm) -> str:
    """Return the concept of a feature, ``domain.name``; other alarms are their own."""
    if alarm.kind not in ("missing", "input"):
        return alarm.what
    return ".".join(alarm.what.split(".")[:2])
