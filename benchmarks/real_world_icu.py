"""The body-status model in intensive care: does it tell who will be low later?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from magml.evaluation import evaluate
from magml.experiments.prepare import cohort_rows, open_data
from magml.experiments.study import Definitions, at_risk, read_definitions
from magml.features import build_matrix, compile_plan
from magml.models.mds import magnesium_depletion_score

NORMAL = 0.75
DIURETICS = ("thiazide", "loop_diuretic", "potassium_sparing_enac", "mineralocorticoid_antagonist")
ALSO = (*(f"medication.{name}.active" for name in DIURETICS),
        "medication.proton_pump_inhibitor.active", "lab.egfr", "demographic.female.last",
        "demographic.age.years", "lab.magnesium.last")  # fmt: skip

EXPLAINED = """\
Serum below 0.70 mmol/L (1.7 mg/dL, 1.40 mEq/L) after the prediction time, among those in whom
somebody measured it. AUROC with intervals over hospitals. The depletion score has no alcohol here,
and an item that is not recorded counts as absent. The outcome is serum, which is not what the model
predicts."""


def icu_section(model: Any, data: Path) -> str:
    """Return the table on the eICU demo."""
    lines = [
        "### Later low values in intensive care (eICU demo)",
        "",
        EXPLAINED,
        "",
        "| people | outcome | n | cases | body-status model | depletion score | age (older first) "
        "| last magnesium |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, title in (
        ("eicu_screen", "6 h after admission, never measured"),
        ("eicu_follow", "24 h after admission, measured before"),
    ):
        for horizon, select in (("24h", "first"), ("168h", "any")):
            lines += _rows(model, data / "eicu_demo", name, title, horizon, select)
    return "\n".join(lines)


def _rows(model: Any, data: Path, name: str, title: str, horizon: str, select: str) -> list[str]:
    found = read_definitions(name, by_labels=False)
    cohort = found.experiment.cohort.model_copy(
        update={"time_at_risk": horizon, "training_offsets": ()}
    )
    serum = found.model.outcome.model_copy(update={"select": select})
    changed = replace(
        found,
        experiment=found.experiment.model_copy(update={"cohort": cohort}),
        model=at_risk(found.model.model_copy(update={"outcome": serum}), cohort),
    )
    rows = _labelled(changed, data)
    own = model.build(rows.events, _at(rows)).values
    risk = model.score_matrix(model.columns(own)).risk
    plan = compile_plan(found.catalogue, list(ALSO))
    X = build_matrix(plan, rows.events, rows.relation, strict=False)
    column = {feature: X.column(feature).astype(float) for feature in ALSO}
    diuretic = np.nanmax(
        [np.nan_to_num(column[f"medication.{name}.active"]) for name in DIURETICS], axis=0
    )
    points = magnesium_depletion_score(
        diuretic=diuretic, ppi=np.nan_to_num(column["medication.proton_pump_inhibitor.active"]),
        egfr=np.nan_to_num(column["lab.egfr"], nan=95.0), drinks_per_day=np.zeros(len(diuretic)),
        female=column["demographic.female.last"],
    )  # fmt: skip
    last = column["lab.magnesium.last"]
    told = {"model": risk, "score": points, "age": column["demographic.age.years"], "last": -last}
    outcome = f"{'next value' if select == 'first' else 'any value'} within {horizon}"
    lines = [_line(title, outcome, rows, told, np.ones(len(risk), bool))]
    normal = last >= NORMAL - 1e-6
    if np.isfinite(last).any():
        lines.append(_line(f"{title}, last one 0.75 mmol/L or more", outcome, rows, told, normal))
    return lines


def _labelled(definitions: Definitions, data: Path) -> Any:
    catalogue = definitions.catalogue
    events = open_data(definitions.experiment, data, catalogue)
    return cohort_rows(definitions.experiment, definitions.model, catalogue, events)


def _at(rows: Any) -> Any:
    return rows.events.connection.execute(
        f"SELECT subject_id, prediction_time FROM {rows.relation} ORDER BY row_id"
    ).df()


def _line(title: str, outcome: str, rows: Any, told: dict[str, Any], chosen: Any) -> str:
    y, sites = rows.labels[chosen], rows.sites[chosen]
    cells = []
    for value in told.values():
        part = np.asarray(value, float)[chosen]
        if not np.isfinite(part).all():
            part = (
                np.where(np.isfinite(part), part, np.nanmedian(part))
                if np.isfinite(part).any()
                else None
            )
        if part is None:
            cells.append("not known")
            continue
        scaled = (part.argsort().argsort() + 0.5) / len(part)  # ranks: an AUROC needs no more
        _, ties = np.unique(part, return_inverse=True)
        scaled = np.array([scaled[ties == k].mean() for k in range(ties.max() + 1)])[ties]
        found = evaluate(y, {"one": scaled}, groups=sites, replicates=500, seed=1)
        cells.append("{:.3f} ({:.3f} to {:.3f})".format(*found.value("auroc")))
    return f"| {title} | {outcome} | {len(y)} | {int(y.sum())} | " + " | ".join(cells) + " |"
