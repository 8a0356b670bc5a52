"""Checks of the leak audit that go back to the records."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.evaluation.checks import SMALL_CELL
from magml.experiments.audit import Check
from magml.experiments.audit_rows import feature_aurocs
from magml.experiments.inputs import REVEALED
from magml.features.names import matches
from magml.models.seeds import derive_seed

if TYPE_CHECKING:
    from magml.definitions import Catalogue
    from magml.experiments.study import Study

#: Rows whose features are built again from the past alone.
_SAMPLE = 150
#: Shares of a visit's diagnoses known at its very start from which they look backdated: of all
#: diagnoses, and of those of one concept.
_BACKDATED, _BACKDATED_CONCEPT = 0.1, 0.5
_DIAGNOSES = ("ICD9CM", "ICD10CM", "SNOMED", "CONDITION")
#: Share of a concept's records that name magnesium from which the concept reveals the outcome.
_REVEALING = 0.5
#: Vocabularies in which magnesium in a name is no salt of something else.
_SPEAKING = ("ORDER", "PROCEDURE", "CARE", "LAB")
_MAGNESIUM = re.compile(r"\b(magnes\w*|mgso4)\b", re.IGNORECASE)
_SHOWN = 20


def outcome_as_feature(study: Study, strong: float) -> Check:
    """Offer the outcome's own specimen as a feature: the check of single features must object."""
    name = "outcome as a feature"
    rows = study.rows
    if rows.specimens is None:
        return Check(name, None, "labels were given without their specimens")
    found = rows.events.connection.execute(
        f"SELECT r.row_id, s.canonical FROM {rows.relation} r JOIN {rows.specimens.relation} s "
        "ON s.subject_id = r.subject_id AND s.time = r.outcome_time "
        "QUALIFY row_number() OVER (PARTITION BY r.row_id ORDER BY s.known DESC, "
        "s.canonical DESC) = 1"
    ).df()
    values = np.full(len(rows.labels), np.nan)
    values[found["row_id"].to_numpy()] = found["canonical"].to_numpy()
    area, _ = feature_aurocs(values[rows.evaluated], rows.labels[rows.evaluated] == 1)
    noticed = area >= strong
    return Check(
        name,
        not noticed,
        f"the outcome's value as a feature has an AUROC of {area:.3f} and "
        + ("is noticed" if noticed else "is not noticed: labels and specimens do not belong"),
        {"auroc": area, "bound": strong},
    )


def past_alone(study: Study, *, seed: int, threads: int | None = None) -> Check:
    """Delete what was not yet known, build the features again, and compare."""
    from magml.features import build_matrix, compile_plan

    rows = study.rows
    connection, relation = rows.events.connection, rows.events.relation
    _, first = np.unique(rows.persons[rows.evaluated], return_index=True)
    candidates = np.flatnonzero(rows.evaluated)[first]
    random = np.random.default_rng(derive_seed(seed, "audit", "sample"))
    chosen = np.sort(random.permutation(candidates)[:_SAMPLE])
    listed = ", ".join(str(int(row)) for row in chosen)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE magml_audit_rows AS SELECT "
        "(row_number() OVER (ORDER BY row_id) - 1)::BIGINT AS row_id, subject_id, prediction_time "
        f"FROM {rows.relation} WHERE row_id IN ({listed}) ORDER BY row_id"
    )
    # An end that is still to come was not known either.
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE magml_audit_events AS SELECT e.* REPLACE ("
        "CASE WHEN e.end_time > r.prediction_time THEN NULL ELSE e.end_time END AS end_time) "
        f"FROM {relation} e JOIN magml_audit_rows r USING (subject_id) "
        "WHERE coalesce(e.known_time, e.time) IS NULL "
        "OR coalesce(e.known_time, e.time) < r.prediction_time ORDER BY e.subject_id"
    )
    try:
        plan = compile_plan(study.definitions.catalogue).with_assumed(
            study.matrix.report.assumed_units
        )
        past = replace(rows.events, relation="magml_audit_events")
        built = build_matrix(plan, past, "magml_audit_rows", threads=threads, strict=False)
    finally:
        connection.execute("DROP TABLE magml_audit_events")
        connection.execute("DROP TABLE magml_audit_rows")
    place = {name: position for position, name in enumerate(built.names)}
    own = {name: position for position, name in enumerate(study.matrix.names)}
    both = [name for name in study.features if name in place]
    before = study.matrix.values[chosen][:, [own[name] for name in both]]
    after = built.values[:, [place[name] for name in both]]
    # Sums of fewer rows may differ in their last bits.
    same = np.asarray(np.isclose(before, after, rtol=1e-4, atol=1e-5, equal_nan=True))
    differing = [both[place] for place in np.flatnonzero(~same.all(axis=0))]
    other = len(study.features) - len(both)
    return Check(
        "features of the past alone",
        bool(differing),
        f"{len(differing)} features change when later records are deleted "
        f"({', '.join(differing[:3])}): they see what was not yet known"
        if differing
        else f"{len(both)} features of {len(chosen)} rows stay the same without later records",
        {
            "rows": len(chosen),
            "features": len(both),
            "not_rebuilt": other,
            "differing": differing[:_SHOWN],
            "rows_differing": int((~same.all(axis=1)).sum()),
        },
    )


def known_before(study: Study) -> Check:
    """Count results and diagnoses known before they happened, and whether a row sees them."""
    rows = study.rows
    counted = rows.events.connection.execute(
        "SELECT e.code, count(DISTINCT (e.subject_id, e.time, e.known_time)), "
        "count(DISTINCT r.row_id) FILTER "
        "(WHERE e.known_time < r.prediction_time AND e.time >= r.prediction_time) "
        f"FROM {rows.events.relation} e JOIN {rows.relation} r USING (subject_id) "
        "WHERE e.known_time < e.time GROUP BY e.code ORDER BY e.code"
    ).fetchall()
    catalogue, used = study.definitions.catalogue, _concepts(study)
    records = seen = 0
    codes: list[dict[str, Any]] = []
    for code, count, visible in counted:
        if not _happens(catalogue, code):
            continue  # an order may be known before it starts
        records += count
        if visible and used.intersection(matches(catalogue, code)):
            seen += visible
            if count >= SMALL_CELL:
                codes.append({"code": code, "records": count, "rows": visible})
    codes.sort(key=lambda item: (-item["rows"], item["code"]))
    return Check(
        "known before it happened",
        bool(seen),
        f"features see {seen} times a result or diagnosis that lies in the future: its known_time "
        "is before its time"
        if seen
        else f"{records} results and diagnoses are known before their time, none seen too early",
        {"records": records, "seen": seen, "codes": codes[:_SHOWN]},
    )


def backdated_diagnoses(study: Study) -> Check:
    """Look for diagnoses of a visit that are known from its very start."""
    rows = study.rows
    connection, relation = rows.events.connection, rows.events.relation
    vocabularies = ", ".join(f"'{name}'" for name in _DIAGNOSES)
    known = "coalesce(e.known_time, e.time)"
    counted = connection.execute(
        f"""
        WITH people AS (SELECT DISTINCT subject_id FROM {rows.relation}),
        visits AS (
            SELECT subject_id, visit_id, time AS start, end_time AS stop FROM {relation}
            JOIN people USING (subject_id)
            WHERE starts_with(code, 'VISIT//') AND time IS NOT NULL
        ), diagnoses AS (
            SELECT row_number() OVER () AS id, e.* FROM {relation} e JOIN people USING (subject_id)
            WHERE split_part(e.code, '//', 1) IN ({vocabularies}) AND {known} IS NOT NULL
        ), placed AS (
            SELECT e.id, any_value(e.code) AS code, max({known}) <= min(v.start) AS early
            FROM diagnoses e JOIN visits v ON v.subject_id = e.subject_id AND (
                v.visit_id = e.visit_id OR (
                    (v.visit_id IS NULL OR e.visit_id IS NULL)
                    AND e.time >= v.start AND (v.stop IS NULL OR e.time <= v.stop)))
            GROUP BY e.id
        )
        SELECT code, count(*), count(*) FILTER (early) FROM placed GROUP BY code ORDER BY code
        """
    ).fetchall()
    catalogue, used = study.definitions.catalogue, _concepts(study)
    total = early = 0
    by_concept: dict[str, list[int]] = {}
    for code, count, soon in counted:
        total, early = total + count, early + soon
        for concept in used.intersection(matches(catalogue, code)):
            pair = by_concept.setdefault(concept, [0, 0])
            pair[0], pair[1] = pair[0] + count, pair[1] + soon
    suspect = sorted(
        concept
        for concept, (count, soon) in by_concept.items()
        if soon >= SMALL_CELL and soon >= _BACKDATED_CONCEPT * count
    )
    share = early / total if total else 0.0
    found = bool(suspect) or (early >= SMALL_CELL and share >= _BACKDATED)
    return Check(
        "backdated diagnoses",
        found if total else None,
        f"{share:.1%} of {total} diagnoses of a visit are known at or before its start"
        + (f"; most of {', '.join(suspect[:3])}" if suspect else "")
        if total
        else "no diagnosis belongs to a visit",
        {"diagnoses": total, "share_at_start": round(share, 4), "concepts": suspect[:_SHOWN]},
    )


def revealing_concepts(study: Study) -> Check:
    """Look for features of a screening model whose records speak of magnesium."""
    name = "concepts that reveal the outcome"
    model, catalogue = study.definitions.model, study.definitions.catalogue
    if not model.screening:
        return Check(name, None, "the model may use earlier magnesium values and orders")
    revealing = {
        concept for concept, definition in catalogue.by_name.items()
        if REVEALED in definition.reveals
    } | {model.outcome.analyte}  # fmt: skip
    used = _concepts(study)
    counted = study.rows.events.connection.execute(
        f"SELECT code, count(*) FROM {study.rows.events.relation} GROUP BY code ORDER BY code"
    ).fetchall()
    totals: dict[str, list[int]] = {}
    for code, count in counted:
        concepts = set(matches(catalogue, code))
        vocabulary, _, text = code.partition("//")
        speaks = bool(concepts & revealing) or (
            vocabulary in _SPEAKING and _MAGNESIUM.search(text) is not None
        )
        for concept in concepts & used:
            pair = totals.setdefault(concept, [0, 0])
            pair[0], pair[1] = pair[0] + count, pair[1] + count * speaks
    found = sorted(
        concept for concept, (count, spoken) in totals.items()
        if spoken and spoken >= _REVEALING * count
    )  # fmt: skip
    return Check(
        name,
        bool(found),
        f"{', '.join(found[:3])}: most of the records name magnesium or its disorders"
        if found
        else f"none of {len(used)} concepts is made of records that name magnesium",
        {"concepts": found[:_SHOWN]},
    )


def _concepts(study: Study) -> set[str]:
    """Return the concepts behind the model's features, those of derived features included."""
    catalogue = study.definitions.catalogue
    found: set[str] = set()

    def visit(name: str) -> None:
        feature = catalogue.features.get(name)
        if feature is None:  # a column that the catalogue does not make
            return
        if not feature.derived:
            found.add(feature.concept)
            return
        for needed in catalogue.derived[name].input_names:
            visit(needed)

    for name in study.features:
        visit(name)
    return found


def _happens(catalogue: Catalogue, code: str) -> bool:
    """Return whether a code is measured or diagnosed, and not ordered."""
    if code.partition("//")[0] in _DIAGNOSES:
        return True
    kinds = {catalogue.by_name[concept].kind for concept in matches(catalogue, code)}
    return "measurement" in kinds
