"""What monitoring has found."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from magml.monitoring.alarm import Alarm, worst
from magml.monitoring.findings import findings, in_doubt

if TYPE_CHECKING:
    import pandas as pd

    from magml.monitoring.baseline import Baseline
    from magml.monitoring.thresholds import Thresholds


#: Changes of one kind that a terminal shows.
_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Monitoring:
    """What has changed.

    Attributes
    ----------
    model, bundle
        The model's name, and the hash of its bundle.
    baseline
        What was expected, and where that is from.
    every, as_of
        Length of the periods, and the moment up to which the records reach.
    alert
        Name of the alert band (the lowest band that counts as an alert).
    periods
        One mapping a period: ``period``, ``judged``, ``n``, ``people``, ``mean_risk``,
        ``score_psi``, ``alert_rate``, ``largest_psi``, ``largest_missing_change``, ``due``,
        ``labelled``, ``cases``, ``outcome`` and, where ten cases and ten others are known,
        ``observed_expected``, ``intercept``, ``slope`` and ``auroc`` with intervals. Counts
        from 1 to 9 are None.
    features
        By feature, by period: stability index and share of rows with a value.
    alarms
        What exceeds its threshold, surely.
    unsure
        What exceeds its threshold, though chance is not excluded.
    comparisons
        How many comparisons were made.
    thresholds
        From when on a change is an alarm.
    notes
        What to know.
    foreign
        What to know first, where the records are of another source than the baseline's.
    """

    model: str
    bundle: str
    baseline: Baseline
    every: str
    as_of: pd.Timestamp
    alert: str
    periods: tuple[dict[str, Any], ...]
    features: dict[str, dict[str, dict[str, float | None]]]
    alarms: tuple[Alarm, ...]
    unsure: tuple[Alarm, ...]
    comparisons: int
    thresholds: Thresholds
    notes: tuple[str, ...] = ()
    foreign: str = ""

    @property
    def findings(self) -> tuple[Alarm, ...]:
        """One alarm for each thing that changed; later periods of the same are counted."""
        return worst(self.alarms)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; they hold no person's row."""
        return {
            "model": self.model,
            "bundle": self.bundle,
            "baseline": self.baseline.origin,
            "every": self.every,
            "as_of": self.as_of.isoformat(),
            "alert_band": self.alert,
            "periods": [dict(period) for period in self.periods],
            "features": self.features,
            "alarms": [alarm.to_dict() for alarm in self.alarms],
            "unsure": [alarm.to_dict() for alarm in self.unsure],
            "comparisons": self.comparisons,
            "thresholds": self.thresholds.model_dump(),
            "notes": list(self.notes),
            "foreign": self.foreign,
        }

    def summary(self) -> str:
        """Return the findings as lines for a terminal."""
        judged = sum(period["judged"] for period in self.periods)
        lines = [
            f"{self.model}: {len(self.periods)} periods by {self.every}, {judged} judged against "
            f"{self.baseline.origin}; {self.comparisons} comparisons"
        ]
        if not self.findings:
            lines.append("No alarm.")
        if self.foreign:
            lines.append(self.foreign)
        for kind, group in groupby(findings(self.alarms), key=lambda one: one.kind):
            several = list(group)
            for one in several[:_SHOWN]:
                site = f", site {one.site}" if one.site is not None else ""
                lines.append(f"{kind:15}{one.period}{site}: {one.what}: {one.words}")
            if several[_SHOWN:]:
                lines.append(f"{kind:15}and {len(several) - _SHOWN} more: --html or --json")
        if beyond := in_doubt(self.unsure):
            lines.append(f"Beyond its threshold, though chance is not excluded: {beyond}.")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])
