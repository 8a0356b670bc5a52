"""Cohorts: who gets a prediction and when, with every exclusion counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from magml.clock import seconds
from magml.cohort.anchors import NO_RECORD, anchor_codes, anchor_words, choice_sql, times_sql
from magml.cohort.competing import competing_sql
from magml.definitions.catalogue import Catalogue
from magml.definitions.experiment import Cohort
from magml.definitions.model import SerumOutcome
from magml.errors import CohortError, DefinitionError
from magml.events.table import Events
from magml.outcomes import Specimens, below_threshold, label_sql

if TYPE_CHECKING:
    import pandas as pd

_DAYS_PER_YEAR = 365.25
PERIOD = "OBSERVATION_PERIOD"
_CHOSEN = {"first": "the first", "last": "the last", "random": "one random"}


@dataclass(frozen=True)
class Step:
    """One step of the attrition table: who remains after it, how many it left out, and why."""

    name: str
    people: int
    times: int
    left_out: int
    reason: str = ""


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
    notes
        What to know of the prediction times, in words.
    untested
        When labelled, table with ``row_id``, ``subject_id``, ``prediction_time`` and ``site`` of
        the prediction times that the last step left out, because nobody measured the outcome.
    """

    events: Events
    relation: str
    attrition: tuple[Step, ...]
    labelled: bool
    notes: tuple[str, ...] = ()
    untested: str | None = None

    def frame(self) -> pd.DataFrame:
        """Return the table as pandas, by ``row_id``."""
        return self.events.connection.execute(f"SELECT * FROM {self.relation} ORDER BY row_id").df()


def build_cohort(
    events: Events,
    definition: Cohort,
    specimens: Specimens,
    outcome: SerumOutcome | None,
    *,
    label: bool = True,
    catalogue: Catalogue | None = None,
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
        The outcome to label with, and whose threshold the washout asks for; None for prediction
        times alone.
    label
        False for prediction times alone, as scoring needs: nothing after them is looked at.
    catalogue
        Where anchors that are concepts are looked up.
    offset
        Offset of the prediction time instead of the definition's.
    relation
        Name of the table that is made.

    Raises
    ------
    CohortError
        If nobody remains; the error tells at which step.
    DefinitionError
        If an anchor is no concept of the catalogue, or a washout has no outcome.
    """
    if definition.washout is not None and outcome is None:
        raise DefinitionError(
            "a washout without an outcome", "the outcome that must be absent", "pass the outcome"
        )
    if offset is not None:
        definition = definition.model_copy(update={"offset": offset})
    builder = _Builder(events, definition, specimens, relation, catalogue)
    return builder.build(outcome, label=label and outcome is not None)


class _Builder:
    """Holds the names shared by the steps."""

    def __init__(
        self,
        events: Events,
        definition: Cohort,
        specimens: Specimens,
        relation: str,
        catalogue: Catalogue | None,
    ) -> None:
        self.events, self.definition, self.specimens = events, definition, specimens
        self.catalogue = catalogue
        self.connection, self.relation = events.connection, relation
        self.steps: list[Step] = []

    def build(self, outcome: SerumOutcome | None, *, label: bool) -> CohortTable:
        definition, t = self.definition, "c.prediction_time"
        self._anchors()
        if definition.while_open:
            self._keep(
                "still present at the prediction time",
                f"c.end_time IS NULL OR c.end_time > {t}",
                "the anchor had ended",
            )
        self._keep(
            "alive at the prediction time", f"NOT EXISTS ({self._death()})", "had died before"
        )
        if definition.minimum_age > 0:
            days = round(definition.minimum_age * _DAYS_PER_YEAR * 86_400)
            self._keep("age recorded", "c.birth IS NOT NULL", "no date of birth")
            self._keep(
                f"{definition.minimum_age:g} years or older",
                f"c.birth + INTERVAL {days} SECOND <= {t}",
                "younger than the model is for",
            )
        if definition.observed_before is not None:
            self._observed(definition.observed_before)
        self._measured(outcome)
        if definition.select_among == "eligible" and definition.select != "each":
            self._keep(
                f"{_CHOSEN[definition.select]} prediction time of each person",
                "true",
                "another prediction time of the same person was chosen",
                choice_sql(definition),
            )
        if outcome is not None and label:
            self._label(outcome)
        notes = self._notes()
        self._number()
        untested = f"{self.relation}_untested" if label and outcome is not None else None
        return CohortTable(self.events, self.relation, tuple(self.steps), label, notes, untested)

    def _anchors(self) -> None:
        """Start with the anchors; one of a person where the definition says so."""
        definition, relation = self.definition, self.events.relation
        codes = anchor_codes(definition, self.events, self.catalogue)
        # A site holds from when it is known, as everything else; the latest one counts.
        self.connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE {self.relation} AS
            WITH times AS (
                {times_sql(definition, self.events, codes)}
            ), birth AS (
                SELECT subject_id, max(time) AS birth FROM {relation}
                WHERE code = 'MEDS_BIRTH' GROUP BY subject_id
            ), sites AS (
                SELECT subject_id, coalesce(time, TIMESTAMP '0001-01-01') AS time,
                       max(code[7:]) AS site
                FROM {relation} WHERE starts_with(code, 'SITE//') GROUP BY ALL
            )
            SELECT t.subject_id, t.end_time, t.known, t.moment, t.prediction_time, b.birth, s.site
            FROM times t
            LEFT JOIN birth b USING (subject_id)
            ASOF LEFT JOIN sites s
              ON s.subject_id = t.subject_id AND s.time <= t.prediction_time
        """)
        self._count(anchor_words(definition), 0, "")

    def _death(self) -> str:
        return (
            f"SELECT 1 FROM {self.events.relation} e WHERE e.subject_id = c.subject_id "
            f"AND e.code = 'MEDS_DEATH' AND e.time <= c.prediction_time"
        )

    def _observed(self, duration: str) -> None:
        """Demand records that reach back far enough, by observation periods where there are any."""
        relation, t = self.events.relation, "c.prediction_time"
        since = f"{t} - INTERVAL {seconds(duration)} SECOND"
        periods = self.connection.execute(
            f"SELECT count(*) FROM {relation} WHERE code = '{PERIOD}'"
        ).fetchall()[0][0]
        own = f"SELECT 1 FROM {relation} e WHERE e.subject_id = c.subject_id AND e.time <= {since}"
        if periods:
            what, test = (
                "by observation period",
                f"e.code = '{PERIOD}' AND (e.end_time IS NULL OR e.end_time >= {t})",
            )
        else:
            # What was dated back later was no record at that time.
            what, test = "by the first record", f"{NO_RECORD} AND coalesce(known_time, time) < {t}"
        self._keep(
            f"observed for {duration} before, {what}",
            f"EXISTS ({own} AND {test})",
            "too little is known of the time before",
        )

    def _measured(self, outcome: SerumOutcome | None) -> None:
        """Apply what the cohort demands of earlier values of the outcome's analyte."""
        definition, t = self.definition, "c.prediction_time"
        label, relation = self.specimens.concept.label, self.specimens.relation
        drawn = f"SELECT 1 FROM {relation} s WHERE s.subject_id = c.subject_id AND s.time < {t}"
        if definition.exclude_pending:
            self._keep(
                f"no {label} result pending",
                f"NOT EXISTS ({drawn} AND s.known >= {t})",
                "drawn before the prediction time, known at or after it",
            )
        if definition.measured_before == "none":
            self._keep(
                f"no {label} known before",
                f"NOT EXISTS ({drawn} AND s.known < {t})",
                "measured before",
            )
        elif definition.measured_before == "some":
            self._keep(
                f"{label} known before", f"EXISTS ({drawn} AND s.known < {t})", "never measured"
            )
        if definition.washout is not None and outcome is not None:
            low = below_threshold(outcome, self.specimens)
            since = f"{t} - INTERVAL {seconds(definition.washout)} SECOND"
            self._keep(
                f"no low {label} in the {definition.washout} before",
                f"NOT EXISTS ({drawn} AND s.known < {t} AND s.time >= {since} AND {low})",
                "the outcome was already known",
            )

    def _keep(self, name: str, condition: str, reason: str, choice: str = "") -> None:
        before = self.steps[-1].times
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation} AS "
            f"SELECT c.* FROM {self.relation} c WHERE {condition} {choice}"
        )
        self._count(name, before, reason)

    def _label(self, outcome: SerumOutcome) -> None:
        """Label what was measured in the time at risk; count what a competing event ended."""
        definition, rows = self.definition, f"{self.relation}_rows"
        names = definition.competing_events
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {rows} AS "
            f"SELECT *, row_number() OVER () AS row_id FROM {self.relation}"
        )
        for name in names:
            self.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {rows} AS SELECT r.*, x.at AS {name}_at FROM {rows} "
                f"r LEFT JOIN ({competing_sql(name, self.events, rows)}) x USING (row_id)"
            )
        earliest = f"least({', '.join(f'{name}_at' for name in names)})" if names else "NULL"
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {rows} AS "
            f"SELECT *, ({earliest})::TIMESTAMP AS ended FROM {rows}"
        )
        until = "ended" if definition.competing_rule == "end" else None
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation} AS "
            f"SELECT r.*, l.* EXCLUDE (row_id) FROM {rows} r LEFT JOIN "
            f"({label_sql(outcome, self.specimens, rows, until=until)}) l USING (row_id)"
        )
        self.connection.execute(f"DROP TABLE {rows}")
        label, risk = self.specimens.concept.label, outcome.time_at_risk
        after = (
            f"within {risk} after"
            if seconds(outcome.gap) == 0
            else (f"within {risk}, from {outcome.gap} after")
        )
        end = f"INTERVAL {seconds(outcome.gap) + seconds(risk)} SECOND"
        for name in names:
            self._keep(
                f"no {name} before {label} was measured",
                f"boolean_value IS NOT NULL OR {name}_at IS NULL OR {name}_at > ended "
                f"OR {name}_at >= prediction_time + {end}",
                f"competing event: {name}; counted, not labelled",
            )
        self._set_untested_apart()
        self._keep(f"{label} measured {after}", "boolean_value IS NOT NULL", "nobody measured it")
        extra = ", ".join(["row_id", "ended", *(f"{name}_at" for name in names)])
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation} AS "
            f"SELECT * EXCLUDE ({extra}) FROM {self.relation}"
        )

    def _set_untested_apart(self) -> None:
        """Keep the prediction times that nobody measured after, each moment of a person once."""
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation}_untested AS SELECT (row_number() OVER "
            "(ORDER BY subject_id, prediction_time) - 1)::BIGINT AS row_id, * FROM ("
            f"SELECT subject_id, prediction_time, max(site) AS site FROM {self.relation} "
            "GROUP BY subject_id, prediction_time HAVING count(boolean_value) = 0) ORDER BY row_id"
        )

    def _notes(self) -> tuple[str, ...]:
        """Count prediction times whose anchor nobody could know of yet."""
        late = self.connection.execute(
            f"SELECT count(*) FILTER (WHERE known > prediction_time) FROM {self.relation}"
        ).fetchall()[0][0]
        if not late:
            return ()
        return (
            f"{late} of {self.steps[-1].times} prediction times follow an anchor that was not "
            "known yet (a draw without its result, a code billed later): such people cannot be "
            "found at that time unless the anchor itself is seen; anchor_at: known avoids it",
        )

    def _number(self) -> None:
        """Give rows their order: by person and time, whatever the engine returned."""
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.relation} AS SELECT (row_number() OVER "
            f"(ORDER BY subject_id, prediction_time) - 1)::BIGINT AS row_id, "
            f"* EXCLUDE (end_time, known, moment, birth) FROM {self.relation} ORDER BY row_id"
        )

    def _count(self, name: str, before: int, reason: str) -> None:
        people, times = self.connection.execute(
            f"SELECT count(DISTINCT subject_id), count(*) FROM {self.relation}"
        ).fetchall()[0]
        left_out = max(before - times, 0)
        self.steps.append(Step(name, people, times, left_out, reason))
        if times == 0:
            so_far = "; ".join(f"{step.name}: {step.times}" for step in self.steps)
            raise CohortError(
                f"the cohort is empty after '{name}' ({so_far})",
                "at least one prediction time",
                "check the anchor's code and the offset against the events, or widen the cohort",
            )
