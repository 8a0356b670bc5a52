"""Cohorts: who gets a prediction and when, with every exclusion counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from magml.clock import seconds
from magml.definitions.experiment import Cohort
from magml.definitions.model import SerumOutcome
from magml.errors import CohortError
from magml.events.table import Events, text
from magml.outcomes import Specimens, label_sql

if TYPE_CHECKING:
    import pandas as pd

_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Step:
    """One step of the attrition table: who remains after it, and how many it left out."""

    name: str
    people: int
    times: int
    left_out: int


@dataclass(frozen=True)
class CohortTable:
    """Prediction times, labelled or not, on the events' connection.

    Attributes
    ----------
    relation
        Table with ``row_id`` (0, 1, ... by person and time), ``subject_id``,
        ``prediction_time``, ``site`` and, when labelled, ``boolean_value``, ``outcome_time``,
        ``on_threshold``.
    attrition
        Steps in order, the first being all anchors.
    """

    events: Events
    relation: str
    attrition: tuple[Step, ...]
    labelled: bool

    def frame(self) -> pd.DataFrame:
        """Return the table as pandas, by ``row_id``."""
        return self.events.connection.execute(f"SELECT * FROM {self.relation} ORDER BY row_id").df()


def build_cohort(
    events: Events,
    definition: Cohort,
    specimens: Specimens,
    outcome: SerumOutcome | None,
    *,
    offset: str | None = None,
    relation: str = "magml_cohort",
) -> CohortTable:
    """Apply a cohort definition to events.

    Parameters
    ----------
    events
        Events in the contract's form.
    definition
        Anchor, offset, inclusion and exclusion.
    specimens
        Specimens of the outcome's analyte: they decide who was measured before, and whose
        result is pending (drawn before the prediction time, known at or after it).
    outcome
        The outcome to label with; None for prediction times alone, as scoring needs.
    offset
        Offset of the prediction time instead of the definition's.
    relation
        Name of the table that is made.

    Raises
    ------
    CohortError
        If nobody remains; the error tells at which step.
    """
    if offset is not None:
        definition = definition.model_copy(update={"offset": offset})
    return _Builder(events, definition, specimens, outcome, relation).build()


class _Builder:
    """Holds the names shared by the steps."""

    def __init__(
        self,
        events: Events,
        definition: Cohort,
        specimens: Specimens,
        outcome: SerumOutcome | None,
        relation: str,
    ) -> None:
        self.events, self.definition = events, definition
        self.specimens, self.outcome = specimens, outcome
        self.connection, self.relation = events.connection, relation
        self.steps: list[Step] = []

    def build(self) -> CohortTable:
        definition, t = self.definition, "c.prediction_time"
        self._anchors()
        self._keep(
            "still present at the prediction time", f"c.end_time IS NULL OR c.end_time > {t}"
        )
        self._keep("alive at the prediction time", f"NOT EXISTS ({self._death()})")
        if definition.minimum_age > 0:
            days = round(definition.minimum_age * _DAYS_PER_YEAR * 86_400)
            self._keep("age recorded", "c.birth IS NOT NULL")
            self._keep(
                f"{definition.minimum_age:g} years or older",
                f"c.birth + INTERVAL {days} SECOND <= {t}",
            )
        drawn = (
            f"SELECT 1 FROM {self.specimens.relation} s "
            f"WHERE s.subject_id = c.subject_id AND s.time < {t}"
        )
        label = self.specimens.concept.label
        if definition.exclude_pending:
            self._keep(f"no {label} result pending", f"NOT EXISTS ({drawn} AND s.known >= {t})")
        if definition.measured_before == "none":
            self._keep(f"no {label} known before", f"NOT EXISTS ({drawn} AND s.known < {t})")
        elif definition.measured_before == "some":
            self._keep(f"{label} known before", f"EXISTS ({drawn} AND s.known < {t})")
        if self.outcome is not None:
            self._label(self.outcome)
        self._number()
        return CohortTable(
            self.events, self.relation, tuple(self.steps), labelled=self.outcome is not None
        )

    def _anchors(self) -> None:
        """Start with every anchor; the first of a person where the definition says so."""
        definition, relation = self.definition, self.events.relation
        codes = ", ".join(text(code) for code in definition.anchor)
        first = (
            "QUALIFY row_number() OVER (PARTITION BY e.subject_id ORDER BY e.time) = 1"
            if definition.select == "first"
            else ""
        )
        # A site holds from when it is known, as everything else; the latest one counts.
        self.connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE {self.relation} AS
            WITH anchors AS (
                SELECT e.subject_id, e.time, max(e.end_time) AS end_time
                FROM {relation} e WHERE e.code IN ({codes}) AND e.time IS NOT NULL
                GROUP BY e.subject_id, e.time {first}
            ), birth AS (
                SELECT subject_id, max(time) AS birth FROM {relation}
                WHERE code = 'MEDS_BIRTH' GROUP BY subject_id
            ), sites AS (
                SELECT subject_id, coalesce(time, TIMESTAMP '0001-01-01') AS time,
                       max(code[7:]) AS site
                FROM {relation} WHERE starts_with(code, 'SITE//') GROUP BY ALL
            ), times AS (
                SELECT a.subject_id, a.end_time,
                       a.time + INTERVAL {seconds(definition.offset)} SECOND AS prediction_time
                FROM anchors a
            )
            SELECT t.*, b.birth, s.site
            FROM times t
            LEFT JOIN birth b USING (subject_id)
            ASOF LEFT JOIN sites s
              ON s.subject_id = t.subject_id AND s.time <= t.prediction_time
        """)
        names = " or ".join(definition.anchor)
        which = "the first" if definition.select == "first" else "each"
        self._count(f"{which} {names}, {definition.offset} after its start", 0)

    def _death(self) -> str:
        return (
            f"SELECT 1 FROM {self.events.relation} e WHERE e.subject_id = c.subject_id "
            f"AND e.code = 'MEDS_DEATH' AND e.time <= c.prediction_time"
        )

    def _keep(self, name: str, condition: str) -> None:
        before = self.steps[-1].times
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation} AS "
            f"SELECT c.* FROM {self.relation} c WHERE {condition}"
        )
        self._count(name, before)

    def _label(self, outcome: SerumOutcome) -> None:
        before = self.steps[-1].times
        rows = f"{self.relation}_rows"
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {rows} AS "
            f"SELECT *, row_number() OVER () AS row_id FROM {self.relation}"
        )
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation} AS SELECT r.* EXCLUDE (row_id), "
            f"l.* EXCLUDE (row_id) FROM {rows} r "
            f"JOIN ({label_sql(outcome, self.specimens, rows)}) l USING (row_id)"
        )
        self.connection.execute(f"DROP TABLE {rows}")
        label = self.specimens.concept.label
        self._count(f"{label} measured within {outcome.time_at_risk} after", before)

    def _number(self) -> None:
        """Give rows their order: by person and time, whatever the engine returned."""
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation} AS SELECT (row_number() OVER "
            f"(ORDER BY subject_id, prediction_time) - 1)::BIGINT AS row_id, "
            f"* EXCLUDE (end_time, birth) FROM {self.relation} ORDER BY row_id"
        )

    def _count(self, name: str, before: int) -> None:
        people, times = self.connection.execute(
            f"SELECT count(DISTINCT subject_id), count(*) FROM {self.relation}"
        ).fetchall()[0]
        self.steps.append(Step(name, people, times, max(before - times, 0)))
        if times == 0:
            so_far = "; ".join(f"{step.name}: {step.times}" for step in self.steps)
            raise CohortError(
                f"the cohort is empty after '{name}' ({so_far})",
                "at least one prediction time",
                "check the anchor's code and the offset against the events, or widen the cohort",
            )
