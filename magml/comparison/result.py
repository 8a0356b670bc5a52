"""What a comparison found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.comparison.ladder import WITH, WITHOUT, Rung

if TYPE_CHECKING:
    import pandas as pd

_TABLES = (
    "metrics", "net_benefit", "differences", "likelihood", "reclassified", "normal_serum",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Comparison:
    """A ladder of models on the same rows.

    Attributes
    ----------
    name, outcome
        The study, and what is predicted, in words.
    n, events, groups
        Rows, rows with the outcome, and groups that were resampled.
    rungs
        Every rung of the ladder; those that the data do not allow carry the reason.
    threshold
        Risk at which people are reclassified.
    metrics, net_benefit
        As in :class:`magml.evaluation.Performance`, `model` being the rung.
    differences, reclassified, likelihood
        As :mod:`magml.comparison.paired` describes them.
    normal_serum
        As :func:`magml.evaluation.yield_of_testing` returns it, among people whose last serum
        magnesium was normal, with `tested_people` and `found_cases`; empty where not computable.
    normal_bound
        Serum magnesium from which on it counts as normal, mmol/L.
    normal_reason
        Why `normal_serum` is empty.
    replicates, seed, level
        Of the resamples.
    notes
        What to know of the rows.
    folder
        Where the files are; None when nothing was written.
    run_id, tracking_uri
        MLflow's run; None when nothing was recorded.
    warnings
        What went otherwise than asked.
    """

    name: str
    outcome: str
    n: int
    events: int
    groups: int
    rungs: tuple[Rung, ...]
    threshold: float
    metrics: pd.DataFrame
    net_benefit: pd.DataFrame
    differences: pd.DataFrame
    reclassified: pd.DataFrame
    likelihood: pd.DataFrame
    normal_serum: pd.DataFrame
    normal_bound: float
    normal_reason: str
    replicates: int
    seed: int
    level: float
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    run_id: str | None = None
    tracking_uri: str | None = None
    warnings: tuple[str, ...] = ()

    def value(self, rung: str, metric: str) -> tuple[float, float, float]:
        """Return a rung's metric with its interval."""
        table = self.metrics
        row = table[(table["model"] == rung) & (table["metric"] == metric)].iloc[0]
        return float(row["value"]), float(row["low"]), float(row["high"])

    def difference(self, rung: str, over: str, metric: str) -> tuple[float, float, float]:
        """Return what a rung gains over another, with its paired interval."""
        table = self.differences
        row = table[
            (table["rung"] == rung) & (table["over"] == over) & (table["metric"] == metric)
        ].iloc[0]
        return float(row["difference"]), float(row["low"]), float(row["high"])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-safe values, NaN as None."""
        plain: dict[str, Any] = {
            "name": self.name,
            "outcome": self.outcome,
            "n": self.n,
            "events": self.events,
            "groups": self.groups,
            "rungs": [
                {"title": r.title, "computable": r.computable, "reason": r.reason, "note": r.note}
                for r in self.rungs
            ],
            "threshold": self.threshold,
            "normal_serum_from": self.normal_bound,
            "normal_serum_reason": self.normal_reason,
            "replicates": self.replicates,
            "seed": self.seed,
            "level": self.level,
            "notes": list(self.notes),
            "out": None if self.folder is None else str(self.folder),
            "run_id": self.run_id,
            "tracking_uri": self.tracking_uri,
            "warnings": list(self.warnings),
        }
        for table in _TABLES:
            rows = getattr(self, table).to_dict(orient="records")
            plain[table] = [{str(key): _plain(cell) for key, cell in row.items()} for row in rows]
        return plain

    def summary(self) -> str:
        """Return the ladder as lines for a terminal."""
        lines = [
            f"{self.name}: {self.outcome}. {self.n} rows, {self.events} cases; predicted by models "
            f"that never saw them, {self.level:.0%} intervals of {self.groups} groups",
            "",
            f"{'':28}{'AUROC':26}{'log loss':26}",
        ]
        for rung in self.rungs:
            if rung.computable:
                cells = [_cell(self.value(rung.title, name)) for name in ("auroc", "log_loss")]
                lines.append(f"{rung.title:28}{cells[0]:26}{cells[1]:26}")
            else:
                lines.append(f"{rung.title:28}not computable: {rung.reason}")
        own = WITH if any(r.title == WITH and r.computable for r in self.rungs) else WITHOUT
        gains = self.differences[
            (self.differences["rung"] == own) & (self.differences["metric"] == "auroc")
        ]
        if len(gains):
            lines += ["", f"AUROC of '{own}' minus that of"]
            for over in gains["over"]:
                gained = self.difference(own, str(over), "auroc")
                lines.append(f"  {over:26}{_cell(gained):26}")
        lines += ["", *self._normal()]
        if self.folder is not None:
            lines += ["", f"results  {self.folder}"]
        if self.run_id:
            lines.append(f"MLflow   run {self.run_id} in {self.tracking_uri}")
        return "\n".join([*lines, *(f"Warning: {warning}" for warning in self.warnings)])

    def _normal(self) -> list[str]:
        """Say what is found among people whose serum magnesium was normal."""
        if self.normal_reason:
            return [f"Among people with normal serum magnesium: {self.normal_reason}"]
        table = self.normal_serum
        rows = table[(table["kind"] == "capacity") & (table["at"] == 0.2)]
        counts = table.iloc[0]
        lines = [
            f"Among {int(counts['n'])} with a last serum magnesium of {self.normal_bound:.2f} "
            f"mmol/L or more, {int(counts['events'])} cases; testing a fifth of them finds"
        ]
        for row in rows[rows["found"].notna()].to_dict(orient="records"):
            people, cases = row["tested_people"], row["found_cases"]
            lines.append(f"  {row['model']:26}{cases:.0f} cases for {people:.0f} tests")
        return lines if len(rows) else lines[:0]


def normal_lower_bound(concept: Any, threshold: dict[str, float] | None) -> float:
    """Return the serum magnesium, mmol/L, from which on a value counts as normal.

    The outcome's own threshold where it is one of serum magnesium: the least of its equivalents,
    so that a value reported as 1.7 mg/dL is as normal as the outcome says. Else 0.75 mmol/L, the
    lower limit of the reference interval (Institute of Medicine 1997).

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> magnesium = read_catalogue().by_name["lab.magnesium"]
    >>> normal_lower_bound(magnesium, None)
    0.75
    >>> round(normal_lower_bound(magnesium, {"mmol/L": 0.70, "mg/dL": 1.7}), 4)
    0.6994
    """
    from magml.units import conversion

    if not threshold:
        return 0.75
    found = []
    for unit, bound in threshold.items():
        scale, shift = conversion(unit, concept)
        found.append(bound * scale + shift)
    return float(min(found))


def _cell(value: tuple[float, float, float]) -> str:
    if not np.isfinite(value[0]):
        return "not estimable"
    return "{:.3f} ({:.3f} to {:.3f})".format(*value)


def _plain(cell: Any) -> Any:
    value = cell.item() if isinstance(cell, np.generic) else cell
    return None if isinstance(value, float) and not np.isfinite(value) else value
