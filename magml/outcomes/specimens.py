"""The specimens of an outcome's analyte: every measured value, in its reported unit."""

from __future__ import annotations

from dataclasses import dataclass

from magml.definitions.catalogue import Catalogue, Concept
from magml.errors import DefinitionError, InputError, UnitError, nearest
from magml.events.table import Events, text
from magml.features.names import matches
from magml.units import canonical_unit, conversion


@dataclass(frozen=True)
class Reported:
    """Values of the analyte in one code and unit, and their conversion.

    ``scale`` and ``shift`` bring a value to the concept's unit; 1 and 0 are no conversion.
    """

    code: str
    unit: str
    values: int
    scale: float
    shift: float


@dataclass(frozen=True)
class Specimens:
    """Specimens of one analyte on a connection.

    Attributes
    ----------
    relation
        Table with ``subject_id``, ``time``, ``known``, ``value`` (as reported), ``unit``
        (canonical spelling of the reported unit), ``canonical`` (value in the concept's unit);
        one row per person and time: the later known result, then the larger value, wins.
    concept
        The analyte.
    counts
        Rows kept and left out, by reason.
    reported
        What codes and units the values stand in.
    """

    relation: str
    concept: Concept
    counts: dict[str, int]
    reported: tuple[Reported, ...] = ()


def find_specimens(
    events: Events, catalogue: Catalogue, name: str, *, required: bool = True
) -> Specimens:
    """Collect the specimens of the analyte `name` (``lab.magnesium``) as a temporary table.

    Parameters
    ----------
    required
        False: where no event is of that analyte, nobody was measured, which is enough to know
        for prediction times without a label.

    Raises
    ------
    DefinitionError
        If the catalogue has no such analyte.
    InputError
        If no code of the events is that analyte.
    UnitError
        If values carry no unit or one that does not belong to the analyte.
    """
    concept = catalogue.by_name.get(name)
    if concept is None or concept.unit is None:
        raise DefinitionError(
            f"the outcome's analyte {name!r} is not a measurement of the catalogue",
            nearest(name, catalogue.by_name),
            "correct the model definition",
        )
    connection = events.connection
    pairs = connection.execute(
        f"SELECT code, unit, count(*) FROM {events.relation} "
        "WHERE numeric_value IS NOT NULL AND time IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    rows = []
    reported = []
    for code, unit, count in pairs:
        if name not in matches(catalogue, code):
            continue
        if unit is None:
            raise UnitError(
                f"{count} values of {code!r} carry no unit{_sites(events, code)}",
                f"the unit of {concept.label}",
                "state it in the source's option `units`, or in the column `unit`, or set these "
                "values aside (--set-aside)",
            )
        scale, shift = conversion(unit, concept.for_code(code))
        reported.append(Reported(code, unit, int(count), scale, shift))
        rows.append(
            f"({text(code)}, {text(unit)}, {text(canonical_unit(unit))}, "
            f"{scale!r}::DOUBLE, {shift!r}::DOUBLE)"
        )
    if not rows and not required:
        # A row that no event has: the table is then empty.
        rows = ["(NULL::VARCHAR, NULL::VARCHAR, NULL::VARCHAR, 1.0::DOUBLE, 0.0::DOUBLE)"]
    if not rows:
        raise InputError(
            f"no event is a measurement of {concept.label}",
            "codes " + ", ".join(concept.codes[:4]) + " or a name as written",
            "check the codes of the events against the catalogue's file",
        )
    low, high = concept.plausible or (float("-inf"), float("inf"))
    relation = "magml_specimens_" + name.replace(".", "_")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {relation}_all AS
        SELECT e.subject_id, e.time, coalesce(e.known_time, e.time) AS known,
               e.numeric_value AS value, m.canonical_unit AS unit,
               e.numeric_value * m.scale + m.shift AS canonical
        FROM {events.relation} e
        JOIN (VALUES {", ".join(rows)}) m(code, unit, canonical_unit, scale, shift)
          ON e.code = m.code AND e.unit = m.unit
        WHERE e.numeric_value IS NOT NULL AND e.time IS NOT NULL
    """)
    plausible = f"canonical >= {low!r}::DOUBLE AND canonical <= {high!r}::DOUBLE"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {relation} AS
        SELECT * FROM {relation}_all WHERE {plausible}
    """)
    total = connection.execute(f"SELECT count(*) FROM {relation}_all").fetchall()[0][0]
    kept = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
    connection.execute(f"DROP TABLE {relation}_all")
    if not kept and (total or required):
        raise InputError(
            f"none of {total} values of {concept.label} is plausible",
            f"values within {low:g} to {high:g} {concept.unit}",
            "check the unit of these values",
        )
    counts = {"values": total, "implausible": total - kept}
    return Specimens(relation, concept, counts, tuple(reported))


def _sites(events: Events, code: str) -> str:
    """Return at which sites values of a code have no unit, in brackets; nothing without sites."""
    found = events.connection.execute(
        f"SELECT s.code[7:], count(*) FROM {events.relation} e JOIN (SELECT DISTINCT subject_id, "
        f"code FROM {events.relation} WHERE starts_with(code, 'SITE//')) s USING (subject_id) "
        f"WHERE e.code = {text(code)} AND e.unit IS NULL AND e.numeric_value IS NOT NULL "
        "GROUP BY ALL ORDER BY ALL LIMIT 40"
    ).fetchall()
    return f" (site {', '.join(f'{site}: {n}' for site, n in found)})" if found else ""
