"""`magml features --check`: a changed catalogue, its definition tests, and what it changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from magml.definitions import read_catalogue
from magml.definitions.read import search_path
from magml.errors import InputError
from magml.features.cases import CaseResult, read_cases, run_cases
from magml.features.changes import (
    ConceptChange,
    FeatureChange,
    concept_changes,
    feature_changes,
    shown,
)

#: Where the catalogue that magml ships is looked up.
_SHIPPED = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class DefinitionCheck:
    """What was found."""

    folder: Path
    results: tuple[CaseResult, ...]
    concepts: tuple[ConceptChange, ...]
    features: tuple[FeatureChange, ...] | None

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """Expectations that do not hold."""
        return tuple(result for result in self.results if not result.passed)

    def to_dict(self) -> dict[str, Any]:
        """Return it for machines; counts below 10 are not told."""
        return {
            "cases": {
                "expectations": len(self.results),
                "failed": [
                    {**asdict(result), "found": _value(result.found)}
                    | {"expected": _value(result.expected)}
                    for result in self.failed
                ],
            },
            "concepts": [{**asdict(item), "keys": list(item.keys)} for item in self.concepts],
            "features": None
            if self.features is None
            else [
                {
                    "feature": item.feature,
                    "before": shown(item.before),
                    "now": shown(item.now),
                    "changed": shown(item.changed),
                }
                for item in self.features
            ],
        }

    def text(self) -> str:
        """Return it for people."""
        lines = [f"Definition tests: {len(self.results)} expectations, {len(self.failed)} not met"]
        for result in self.failed:
            lines.append(
                f"  {result.case}: {result.feature} is {_value(result.found)}, expected "
                f"{_value(result.expected)}. {result.why}"
            )
        lines.append(f"Concepts that differ: {len(self.concepts)}")
        for item in self.concepts:
            keys = f" ({', '.join(item.keys)})" if item.keys else ""
            lines.append(f"  {item.kind:<8} {item.name}{keys}")
        if self.features is not None:
            lines.append(f"Features that differ in these records: {len(self.features)}")
            if self.features:
                width = max(len(item.feature) for item in self.features)
                lines.append(f"  {'':<{width}}  rows before  rows now  rows changed")
                for row in self.features:
                    lines.append(
                        f"  {row.feature:<{width}}  {shown(row.before):>11}  "
                        f"{shown(row.now):>8}  {shown(row.changed):>12}"
                    )
        return "\n".join(lines)


def check_definitions(events: Path | None, at: str | None, against: Path | None) -> DefinitionCheck:
    """Check the catalogue of the working directory.

    Parameters
    ----------
    events, at
        Records and prediction times on which both catalogues are compared; neither or both.
    against
        Folder with another ``features/``; default the one that magml ships.
    """
    if (events is None) != (at is None):
        raise InputError(
            "--events without --at, or --at without --events", "both or neither", "add the other"
        )
    folder = search_path("features")[0]
    now = read_catalogue()
    if against is not None and not any((against / "features").glob("*.yaml")):
        raise InputError(f"no features/ with YAML files in '{against.name}'", "one", "correct it")
    before = read_catalogue(against or _SHIPPED)
    return DefinitionCheck(
        folder,
        run_cases(read_cases(folder), now),
        concept_changes(before, now),
        None if events is None else feature_changes(before, now, events, at),
    )


def _value(number: float) -> float | str:
    """Return a number, or what stands for a missing one."""
    return "missing" if number != number else number
