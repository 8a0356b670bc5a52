"""From codes and units as they stand in the events to the concepts of a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.clock import seconds
from magml.errors import UnitError
from magml.features.arrow import to_arrow
from magml.features.matrix import MappingReport, Rejected
from magml.features.plan import MICROSECONDS, Plan

if TYPE_CHECKING:
    import pyarrow as pa

    from magml.definitions.catalogue import Concept
    from magml.events.table import Events

_LARGEST = 1.7e308
_LEAST = 1e-300
#: Most codes and units that a plan remembers, and the longest: a service meets any number of them.
_REMEMBERED, _LONGEST = 100_000, 200
_UNKNOWN, _NONE, _NO_DOSE = "unknown unit", "no unit", "no dose"


@dataclass(frozen=True)
class Entry:
    """How values of one code and unit become values of one concept.

    `value` replaces the recorded number; `reason` says why nothing is taken over. Doses have no
    value to fall back on; those given `per_hour` are rows of an id of their own.
    """

    concept_id: int
    scale: float = 1.0
    shift: float = 0.0
    low: float = -_LARGEST
    high: float = _LARGEST
    value: float | None = None
    status: str = "plain"
    reason: str = ""
    per_hour: bool = False
    lasts_us: int = 0

    @property
    def used(self) -> bool:
        """Whether values are taken over."""
        return not self.reason


@dataclass(frozen=True)
class Group:
    """Usable rows of one code and unit; an empty unit is none."""

    code: str
    unit: str
    rows: int
    values: int


@dataclass(frozen=True)
class ConceptMap:
    """The map of all codes and units of some events, and what is counted on the way."""

    entries: tuple[tuple[Group, tuple[Entry, ...]], ...]
    assumed_units: Mapping[str, str]
    units: Any = None

    def to_arrow(self, plan: Plan) -> pa.Table:
        """Return the relation ``concept_map`` of the plan's queries."""
        columns = self.lines(plan)
        groups = [self.entries[place][0] for place in columns.pop("group")]
        codes, units = [group.code for group in groups], [group.unit for group in groups]
        return to_arrow({"code": codes, "unit": units, **columns})

    def lines(self, plan: Plan) -> dict[str, NDArray[Any]]:
        """Return every use of a code and unit by a concept; `group` is a place in `entries`."""
        lines = [(k, e) for k, (_, entries) in enumerate(self.entries) for e in entries if e.used]
        uses = [entry for _, entry in lines]
        ids = [e.concept_id + plan.drugs * e.per_hour for e in uses]
        shifts = [e.shift if e.value is None else e.value for e in uses]
        return {
            "group": np.array([group for group, _ in lines], dtype=np.intp),
            "concept_id": np.array(ids, dtype=np.int32),
            "fixed": np.array([e.value is not None for e in uses], dtype=np.bool_),
            "scale": np.array([e.scale for e in uses], dtype=np.float64),
            "shift": np.array(shifts, dtype=np.float64),
            "low": np.array([e.low for e in uses], dtype=np.float64),
            "high": np.array([e.high for e in uses], dtype=np.float64),
            "lasts_us": np.array([e.lasts_us for e in uses], dtype=np.int64),
        }

    @property
    def mapped_rows(self) -> int:
        """Upper bound of the rows that the map yields."""
        return sum(g.rows for g, entries in self.entries for e in entries if e.used)

    def report(self, plan: Plan, kept: Iterable[int]) -> MappingReport:
        """Return the account, given the number of rows kept for each id of mapped rows."""
        expected: Counter[str] = Counter()
        converted: Counter[str] = Counter()
        assumed: Counter[str] = Counter()
        unmapped: Counter[str] = Counter()
        without_dose: Counter[str] = Counter()
        doses: Counter[str] = Counter()
        rejected = []
        for group, entries in self.entries:
            if not entries:
                unmapped[group.code] += group.rows
            for entry in entries:
                concept = plan.concepts[entry.concept_id]
                name = concept.name
                if concept.doses_of is not None:
                    if not entry.used and group.values:
                        without_dose[group.unit] += group.values
                    continue
                if not entry.used:
                    rejected.append(
                        Rejected(group.code, group.unit or None, name, entry.reason, group.values)
                    )
                    continue
                number = group.values if entry.value is None else group.rows
                expected[name] += number
                if entry.status == "converted":
                    converted[name] += number
                elif entry.status == "assumed":
                    assumed[group.code] += number
        counts = [int(k) for k in kept]
        first = plan.first_dose
        mapped = {c.name: k for c, k in zip(plan.concepts[:first], counts, strict=False) if k}
        drugs = plan.concepts[first:] * 2  # totals, then rates
        for drug, k in zip(drugs, counts[first:], strict=True):
            doses[str(drug.doses_of)] += k
        lost = {name: n - mapped.get(name, 0) for name, n in expected.items()}
        return MappingReport(
            rows=sum(group.rows for group, _ in self.entries),
            mapped=mapped,
            converted=dict(sorted(converted.items())),
            assumed=dict(sorted(assumed.items())),
            assumed_units=dict(self.assumed_units),
            implausible={name: n for name, n in sorted(lost.items()) if n},
            rejected=tuple(rejected),
            unmapped=dict(sorted(unmapped.items())),
            doses={name: n for name, n in sorted(doses.items()) if n},
            without_dose=dict(sorted(without_dose.items())),
            units=self.units,
        )


def read_groups(plan: Plan, events: Events, at_relation: str) -> list[Group]:
    """Return the codes and units of the events that some prediction time can use."""
    sql = plan.statement(
        "duckdb", "profile", {"events": events.relation, "prediction_times": at_relation}
    )
    found = events.connection.execute(sql).fetchall()
    return sorted(
        (Group(str(c), str(u), int(n), int(v or 0)) for c, u, n, v in found),
        key=lambda group: (group.code, group.unit),
    )


def map_concepts(plan: Plan, groups: Iterable[Group], *, strict: bool) -> ConceptMap:
    """Map codes and units to the concepts of a plan.

    Parameters
    ----------
    plan
        The plan; only its concepts are looked for.
    groups
        Codes and units found, as `read_groups` returns them.
    strict
        Whether an unknown unit is an error, as in training; else its values are left out and
        counted.

    Raises
    ------
    UnitError
        In strict mode, if values of a mapped analyte stand in a unit that is unknown for it.
    """
    entries = tuple((group, resolve(plan, group.code, group.unit)) for group in groups)
    if strict:
        _refuse_unknown(plan, entries)
    used = {group.code for group, found in entries for e in found if e.status == "assumed"}
    return ConceptMap(entries, {c: u for c, u in plan.assumed.items() if c in used})


def resolve(plan: Plan, code: str, unit: str) -> tuple[Entry, ...]:
    """Return the entries of one code and unit, remembered by the plan within limits."""
    known = plan.entries.get((code, unit))
    if known is None:
        from magml.features.names import matches

        ids, found = plan.ids, matches(plan.catalogue, code)
        planned = [(ids[name], plan.concepts[ids[name]].doses_of) for name in found if name in ids]
        known = tuple(
            _entry(plan, concept_id, code, unit)
            for concept_id, owner in planned
            if owner is None or owner in found
        )
        if len(plan.entries) >= _REMEMBERED:
            plan.entries.clear()
        if len(code) + len(unit) <= _LONGEST:
            plan.entries[(code, unit)] = known
    return known


def _entry(plan: Plan, concept_id: int, code: str, unit: str) -> Entry:
    from magml.units import conversion

    concept = plan.concepts[concept_id].definition
    if concept.kind != "measurement":
        lasts = seconds(concept.lasts) * MICROSECONDS if concept.lasts else 0
        if plan.concepts[concept_id].doses_of is not None:
            return _dose(concept_id, concept, unit, lasts)
        return Entry(concept_id, value=0.0, lasts_us=lasts)
    low, high = concept.plausible or (-_LARGEST, _LARGEST)
    if code in concept.values:
        return Entry(concept_id, low=low, high=high, value=concept.values[code])
    status = "plain"
    if not unit:
        if concept.values or concept.unit == "1":
            return Entry(concept_id, low=low, high=high)
        if code not in plan.assumed:
            return Entry(concept_id, reason=_NONE)
        unit, status = plan.assumed[code], "assumed"
    try:
        scale, shift = conversion(unit, concept.for_code(code))
    except UnitError:
        return Entry(concept_id, reason=_UNKNOWN)
    if status == "plain" and (scale, shift) != (1.0, 0.0):
        status = "converted"
    return Entry(concept_id, scale, shift, low, high, status=status)


def _dose(concept_id: int, concept: Concept, unit: str, lasts_us: int) -> Entry:
    """Return how the doses of a drug in a unit add up; a dose of 0 is none."""
    from magml.units.doses import dose_scale

    assert concept.dose is not None
    (drug,) = concept.dose.drugs.values()
    found = dose_scale(unit, concept.dose, drug)
    if found is None:
        return Entry(concept_id, reason=_NO_DOSE)
    scale, per_hour = found
    # A rate holds as long as its record; only a single dose lasts longer.
    lasts_us = 0 if per_hour else lasts_us
    return Entry(concept_id, scale, low=_LEAST, per_hour=per_hour, lasts_us=lasts_us)


def _refuse_unknown(plan: Plan, entries: tuple[tuple[Group, tuple[Entry, ...]], ...]) -> None:
    """Raise for values of mapped analytes in unknown units, naming the first few."""
    unknown = [
        (group, plan.concepts[entry.concept_id])
        for group, found in entries
        for entry in found
        if entry.reason == _UNKNOWN and group.values
    ]
    if not unknown:
        return
    shown = "; ".join(
        f"{group.code} has {group.values} values in {group.unit!r}, but {concept.name} is in "
        f"{concept.definition.unit}"
        for group, concept in unknown[:5]
    )
    more = f"; and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    raise UnitError(
        f"units that cannot be converted: {shown}{more}",
        "a unit that converts to the concept's own",
        "correct the unit in the source's definition, add its spelling to features/units.yaml, "
        "or exclude the code under not_codes",
    )
