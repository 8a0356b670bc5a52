"""One patient's page as plain values: what the reader sees, and what the signature covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.explanations.words import (
    describe_domain,
    describe_feature,
    describe_unit,
    describe_value,
)
from magml.review.extras import (
    next_tests,
    place_in_cohort,
    rank_ranges,
    stable_reasons,
    what_ifs,
)
from magml.review.timeline import timeline

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.bundle.model import Risks
    from magml.events import Events
    from magml.explanations import Explanation
    from magml.explanations.explain import Level
    from magml.features import FeatureMatrix
    from magml.features.evidence import EvidenceRow

#: Layout of a page; prepared pages of another layout are prepared again.
FORMAT = 1
#: Concepts whose recorded rows are looked up, the largest first.
_CONCEPTS = 12
#: Rows shown of one feature, the newest.
_ROWS = 20
#: Decimals kept: far below what additivity is held to.
_DECIMALS = 9


def pages(
    model: Model,
    events: Events,
    matrix: FeatureMatrix,
    warnings: Sequence[str],
    shown: Mapping[int, str],
) -> list[dict[str, Any]]:
    """Return the pages of all rows of a matrix.

    Parameters
    ----------
    model
        The model.
    events
        The records.
    matrix
        The plan's matrix (`Model.build`).
    warnings
        Each row's warnings (`Model.warnings`).
    shown
        By person, the id that readers know.

    Returns
    -------
    list of dict
        Plain values for JSON.
    """
    from magml.explanations import explain
    from magml.features import find_evidence

    why = explain(model, matrix)
    risks = model.score_matrix(model.columns(matrix.values))
    bands = model.bands(risks.risk)
    chosen = [_looked_up(why, row) for row in range(len(why))]
    evidence = find_evidence(
        model.plan,
        events,
        [
            (int(why.subject_id[row]), why.prediction_time[row], names)
            for row, names in enumerate(chosen)
        ],
    )
    view = _View(model, why, matrix, risks)
    return [
        {
            "format": FORMAT,
            "model": model.hash,
            "subject_id": int(why.subject_id[row]),
            "shown": shown.get(int(why.subject_id[row]), str(int(why.subject_id[row]))),
            "prediction_time": np.datetime_as_string(why.prediction_time[row], unit="s"),
            "band": str(bands[row]),
            "warnings": [part for part in warnings[row].split("; ") if part],
            **view.page(row, evidence[row]),
        }
        for row in range(len(why))
    ]


class _View:
    """Rows of an explanation as plain values."""

    def __init__(self, model: Model, why: Explanation, matrix: FeatureMatrix, risks: Risks) -> None:
        self.model, self.why, self.matrix, self.risks = model, why, matrix, risks
        levels: tuple[Level, ...] = ("feature", "concept", "domain")
        self.stable = {level: stable_reasons(why, level) for level in levels}
        self.ranks = {level: rank_ranges(why, level) for level in levels}
        self.amounts = {level: why.at_level(level) for level in levels}
        self.place = {
            level: {name: k for k, name in enumerate(self.amounts[level][0])} for level in levels
        }

    def page(self, row: int, evidence: Mapping[str, tuple[EvidenceRow, ...]]) -> dict[str, Any]:
        """Return what one row's page shows."""
        why = self.why
        domains: dict[str, dict[str, list[int]]] = {}
        for column, feature in enumerate(why.schema):
            if why.log_odds[row, column] != 0:
                concepts = domains.setdefault(feature.domain, {})
                concepts.setdefault(feature.concept, []).append(column)
        values = self.matrix.values[row]
        absent = [
            concept
            for concepts in domains.values()
            for concept, columns in concepts.items()
            if self._may_be_absent(row, concept, columns)
        ]
        absent.sort(key=lambda concept: -abs(self._amount("concept", row, concept)))
        when = why.prediction_time[row].astype("datetime64[us]").item()
        return {
            "risk": _round(self.risks.risk[row]),
            "low": _round(self.risks.low[row]),
            "high": _round(self.risks.high[row]),
            "base_risk": _round(why.base_risk),
            "margin": _round(self.risks.margin[row]),
            "base": _round(why.base),
            "domains": _largest_first(
                [self._domain(row, name, found, evidence) for name, found in domains.items()]
            ),
            "timeline": timeline(self.model.catalogue, evidence, when),
            "next": next_tests(self.model, values),
            "what_if": what_ifs(self.model, values, absent),
        }

    def _domain(
        self,
        row: int,
        name: str,
        concepts: Mapping[str, list[int]],
        evidence: Mapping[str, tuple[EvidenceRow, ...]],
    ) -> dict[str, Any]:
        return {
            "name": name,
            "label": describe_domain(name, self.model.catalogue),
            **self._reason("domain", row, name),
            "concepts": _largest_first(
                [self._concept(row, key, found, evidence) for key, found in concepts.items()]
            ),
        }

    def _concept(
        self,
        row: int,
        name: str,
        columns: list[int],
        evidence: Mapping[str, tuple[EvidenceRow, ...]],
    ) -> dict[str, Any]:
        item = self.model.catalogue.described(name)
        features = _largest_first([self._feature(row, column, evidence) for column in columns])
        largest = features[0]
        return {
            "name": name,
            "label": item.label,
            # The value that stands for the concept is that of its largest feature.
            "detail": largest["value"] if len(features) == 1 else _detail(item.label, largest),
            **self._reason("concept", row, name),
            "features": features,
        }

    def _feature(
        self, row: int, column: int, evidence: Mapping[str, tuple[EvidenceRow, ...]]
    ) -> dict[str, Any]:
        feature = self.why.schema[column]
        value = float(self.why.values[row, column])
        rows = evidence.get(feature.name)
        return {
            "name": feature.name,
            "label": describe_feature(feature),
            "value": describe_value(feature, value, self.model.catalogue),
            "place": place_in_cohort(self.why, row, feature.name),
            **self._reason("feature", row, feature.name),
            "evidence": None if rows is None else [_line(one) for one in rows[::-1][:_ROWS]],
            "earlier": 0 if rows is None else max(0, len(rows) - _ROWS),
        }

    def _reason(self, level: Level, row: int, name: str) -> dict[str, Any]:
        place = self.place[level][name]
        ranks = self.ranks[level]
        return {
            "risk": _round(self.amounts[level][2][row, place]),
            "log_odds": _round(self.amounts[level][1][row, place]),
            "agreement": round(float(self.why.stability[level][row, place]), 4),
            "stable": bool(self.stable[level][row, place]),
            "ranks": None if ranks is None else [int(rank) for rank in ranks[row, place]],
        }

    def _amount(self, level: Level, row: int, name: str) -> float:
        return float(self.amounts[level][1][row, self.place[level][name]])

    def _may_be_absent(self, row: int, concept: str, columns: list[int]) -> bool:
        """Return whether a modifiable exposure or condition is recorded of the patient."""
        known = self.model.catalogue.by_name.get(concept)
        if known is None or not known.modifiable or known.kind not in ("exposure", "condition"):
            return False
        return bool((np.nan_to_num(self.why.values[row, columns]) > 0).any())


def _looked_up(why: Explanation, row: int) -> tuple[str, ...]:
    """Return the features whose rows are looked up: all of the largest concepts'."""
    names, log_odds, _ = why.at_level("concept")
    order = np.argsort(-np.abs(log_odds[row]), kind="stable")[:_CONCEPTS]
    largest = {names[k] for k in order if log_odds[row, k] != 0}
    return tuple(feature.name for feature in why.schema if feature.concept in largest)


def _detail(label: str, feature: Mapping[str, Any]) -> str:
    """Return what stands behind a concept's name: the statistic and its value."""
    rest = str(feature["label"]).removeprefix(label).lstrip(", ")
    return f"{rest}: {feature['value']}" if rest else str(feature["value"])


def _line(row: EvidenceRow) -> dict[str, Any]:
    return {
        "time": _moment(row.time),
        "end": _moment(row.end_time),
        "code": row.code,
        "value": None if row.value is None else float(f"{row.value:.6g}"),
        "unit": describe_unit(row.unit),
        "text": row.text_value or "",
        "source": row.source or "",
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(sep=" ", timespec="minutes")


def _largest_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda reason: -abs(reason["log_odds"]))


def _round(value: float) -> float:
    return round(float(value), _DECIMALS)
