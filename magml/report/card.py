"""Sections on the model: its card, its making, its sample size, the leak audit, limits, use."""

from __future__ import annotations

import json
from typing import Any

from magml.definitions.model import BodyStatusOutcome
from magml.report.blocks import Block, Bullets, Cell, Notice, Section, Table, Text
from magml.report.cells import readable
from magml.report.people import cohort_words
from magml.report.performance import verdict_words
from magml.report.run import Run
from magml.report.sample_size import (
    SOURCE,
    parameters_supported,
    r2_of_auroc,
    riley_sample_size,
)

NO_DEVICE = "A research tool, not a medical device; it replaces no measurement and no judgement."


def card_section(run: Run) -> Section:
    """Return the model card: use, outcome, bands, what it learned from, and the verdict."""
    card = run.model.card
    rows: list[tuple[Cell, ...]] = [
        ("For", card["intended_use"].strip()),
        ("Not for", card["not_for"].strip() or "Nothing stated."),
        ("Outcome", outcome_words(run)),
        ("Answer", bands_words(run)),
        ("Learned from", cohort_words(run)),
        ("Against simpler models", verdict_words(run) if run.metrics else "Not measured."),
        ("Bundle", f"{run.model.definition.name}, hash {run.model.hash}"),
    ]
    if run.run_id is not None:
        rows.append(("MLflow run", run.run_id))
    blocks: list[Block] = [Table(("", ""), tuple(rows))]
    if run.simulated:
        blocks.insert(
            0,
            Notice(
                "The people are simulated: the figures show that magml finds the simulator's rules "
                "again, and nothing about patients.",
                "warning",
            ),
        )
    lost = [
        row for row in card["comparisons"] if row["baseline"] and row["verdict"] == "does not beat"
    ]
    if lost:
        names = " and ".join(dict.fromkeys(readable(row["model"]) for row in lost))
        blocks.insert(
            0,
            Notice(
                f"The model does not beat {names}, which is simpler: there is no reason in these "
                "figures to prefer the model.",
                "warning",
            ),
        )
    if card["add_on"]:
        blocks.append(
            Notice(
                "Add-on use: magnesium would be added to a sample already drawn, so results of "
                "that same specimen are among the features. Not to be used before a sample.",
                "warning",
            )
        )
    return Section("card", "Model card", tuple(blocks))


def outcome_words(run: Run) -> str:
    """Return the outcome in one sentence."""
    outcome, card = run.model.definition.outcome, run.model.card
    if isinstance(outcome, BodyStatusOutcome):
        return (
            f"Low body magnesium: {outcome.definition.title}. Level of evidence: "
            f"{outcome.level.label}. {outcome.level.meaning}"
        )
    limits = " or ".join(f"{value:g} {unit}" for unit, value in outcome.threshold.items())
    chosen = {"first": "first value", "any": "any value", "lowest": "lowest value"}
    gap = "" if outcome.gap in ("0h", "0d") else f", from {outcome.gap} on"
    return (
        f"{card['outcome_label']} below {limits}, each compared in the unit reported: the "
        f"{chosen[outcome.select]} within {outcome.time_at_risk} after the prediction time{gap}."
    )


def bands_words(run: Run) -> str:
    """Return what the model answers."""
    bands = ", ".join(
        f"{band.name} from {band.at_least:.0%}" for band in run.model.definition.bands
    )
    return f"A calibrated risk with the range over the model's members, and a band: {bands}."


def limits_section(run: Run) -> Section:
    """Return the limits that follow from how the model was made."""
    limits = tuple(str(limit).replace("`", "") for limit in run.model.card["limits"])
    return Section("limits", "Limits", (Notice(NO_DEVICE), Bullets(limits)))


def use_section(run: Run) -> Section:
    """Return what happens to poor or missing input in use, and what is asked of users."""
    from magml.bundle import warnings as texts

    cases = (
        (texts.NO_EVENTS, "nothing is recorded of the person before the prediction time"),
        (texts.NO_RECENT, "no recent value that the model looks at is there"),
        (texts.AGE_UNKNOWN, "the date of birth is missing"),
        (texts.UNDER_AGE, "the person is under age"),
        (texts.MEASURED, "magnesium is known already"),
        (texts.NOT_MEASURED, "magnesium is not known yet"),
    )
    measured = "none" if run.model.definition.screening else "some"
    hidden = {texts.MEASURED if measured == "some" else texts.NOT_MEASURED}
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (text, why) for text, why in cases if text not in hidden
    )
    return Section(
        "use",
        "In use",
        (
            Text(
                "Units are converted by the catalogue; a value whose unit does not fit, or that is "
                "not plausible, is left out of the prediction, not guessed. Missing values are "
                "passed to the trees as missing. Every row is scored, and what a reader should "
                "know first stands with it as a warning:"
            ),
            Table(("Warning", "Given when"), rows),
            Text(
                "Each score comes with its reasons, the recorded rows behind them, which of them "
                "are undecided, and which missing test would most change the answer. A clinician "
                "reads them and decides; nothing is ordered or given by the model."
            ),
        ),
    )


def model_section(run: Run) -> Section:
    """Return how the model was made, step by step."""
    estimator = dict(run.model.training.get("estimator") or {})
    parameters = estimator.get("parameters") or {}
    calibrator = run.model.calibrator
    constants = ", ".join(
        f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in calibrator.to_dict().items()
        if key != "method"
    )
    rows: list[tuple[Cell, ...]] = [
        (
            "Kind",
            f"{len(run.model.bag.boosters)} XGBoost boosters, each on "
            f"{estimator.get('subsample_people', 1):.0%} of the people, averaged on the log-odds",
        ),
        ("Trees", f"{estimator.get('rounds', '?')} a booster"),
        ("Parameters", ", ".join(f"{k} {v:g}" for k, v in sorted(parameters.items()))),
        ("Search", search_words(run)),
        ("Calibration", f"{calibrator.method}: {constants}; fitted on cross-fitted bags"),
        ("Predictors", f"{len(run.model.features):,} in use{_offered(run)}"),
        ("Seeds", json.dumps(dict(run.model.training.get("seeds") or {}))),
        ("Versions", versions_words(run)),
        ("Formats", f"plan {run.model.plan.hash[:16]}, bundle {run.model.hash[:16]}"),
    ]
    domains = ", ".join(
        f"{domain} {len(names)}" for domain, names in run.model.card["features"].items()
    )
    rows.append(("By domain", domains))
    return Section("model", "How the model was made", (Table(("", ""), tuple(rows)),))


def search_words(run: Run) -> str:
    """Return how parameters were chosen."""
    search = run.model.definition.search
    if run.model.training.get("quick") or search.trials == 0:
        return "none in this run, the model file's own parameters"
    return (
        f"up to {search.trials} trials (Optuna) inside each fold's training rows, over "
        f"{', '.join(search.space)}"
    )


def versions_words(run: Run) -> str:
    """Return the versions of libraries."""
    versions = dict(run.model.training.get("versions") or {})
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def offered(run: Run) -> int:
    """Return how many predictors were offered to the model."""
    stated = run.params.get("features_offered")
    if stated:
        return int(stated)
    missingness = run.tables.get("missingness")
    return len(run.model.features) if missingness is None else len(missingness)


def _offered(run: Run) -> str:
    number = offered(run)
    return f" of {number:,} offered" if number != len(run.model.features) else ""


def size_facts(run: Run) -> dict[str, Any] | None:
    """Return the figures of the sample size; None where nothing was measured."""
    metrics = run.metrics
    auroc = (metrics.get("auroc") or {}).get("value") if metrics else None
    if auroc is None or not 0.5 < auroc < 1 or not run.model.training["events"]:
        return None
    n, events = run.model.training["n"], run.model.training["events"]
    r2 = r2_of_auroc(auroc, events / n)
    if r2 <= 0:
        return None
    return {
        "n": n,
        "events": events,
        "prevalence": events / n,
        "r2": r2,
        "auroc": auroc,
        "offered": offered(run),
        "needed": riley_sample_size(events / n, offered(run), r2),
        "supported": parameters_supported(n, events / n, r2),
    }


def sample_size_section(run: Run) -> Section:
    """Return the sample size against Riley's criteria."""
    facts = size_facts(run)
    title = "Is the sample large enough"
    if facts is None:
        text = "Riley's criteria need cases and an AUROC above 0.5, which are not at hand."
        return Section("sample-size", title, (Notice(text, "warning"),))
    needed = facts["needed"]

    def met(people: int) -> str:
        return "met" if facts["n"] >= people else "not met"

    rows: tuple[tuple[Cell, ...], ...] = (
        ("shrinkage of 0.9 or more", f"{needed.shrinkage:,}", met(needed.shrinkage)),
        (
            "optimism in Nagelkerke's R² of 0.05 or less",
            f"{needed.optimism:,}",
            met(needed.optimism),
        ),
        ("overall risk within 0.05", f"{needed.overall:,}", met(needed.overall)),
        ("all three", f"{needed.needed:,} ({needed.events:,} cases)", met(needed.needed)),
    )
    blocks: list[Block] = [
        Text(
            f"There are {facts['n']:,} prediction times with {facts['events']:,} cases, "
            f"{facts['events'] / facts['offered']:.2f} cases for each of the {facts['offered']:,} "
            f"predictors offered. The criteria ask for {needed.needed:,} for so many candidate "
            f"parameters; the sample at hand supports {facts['supported']:,}."
        ),
        Table(
            ("Criterion", "Prediction times needed", "Here"),
            rows,
            f"{SOURCE}. Share of cases {facts['prevalence']:.3f}; Cox and Snell R² "
            f"{facts['r2']:.3f}, from this run's own cross-validated AUROC of {facts['auroc']:.3f} "
            "(Riley 2021). It should be anticipated from an earlier model: taken from the same "
            "data it is a hope.",
            frozenset({1}),
        ),
        Text(
            "The criteria are for regression with so many parameters. For boosted trees they are "
            "an orientation and probably too hopeful. Strong regularisation and bagging lessen the "
            "harm of too many predictors; they do not replace people."
        ),
    ]
    if facts["n"] < needed.needed:
        blocks.insert(
            0,
            Notice(
                "By these criteria the sample is too small for the number of predictors offered: "
                "expect risks that would differ with other people, and see Stability.",
                "warning",
            ),
        )
    blocks.append(Text(evaluation_words(run)))
    return Section("sample-size", title, tuple(blocks))


def evaluation_words(run: Run) -> str:
    """Return whether the evaluation has cases enough."""
    metrics = run.metrics
    events = metrics["events"]
    others = metrics["n"] - events
    least = min(events, others)
    said = (
        "below the 100 that is the least usually asked for"
        if least < 100
        else "above 100, the least usually asked for; a calibration curve wants 200"
        if least < 200
        else "200 or more, as a calibration curve wants"
    )
    return (
        f"The evaluation has {events:,} cases and {others:,} others; the smaller is {said} "
        "(Collins 2016; Van Calster 2016). The intervals show what that means."
    )


def audit_section(run: Run) -> Section:
    """Return the leak audit."""
    audit = run.values.get("audit")
    if audit is None:
        text = "The results of the run, which hold the leak audit, are not at hand."
        return Section("audit", "Leak audit", (Notice(text),))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (check["name"], "found" if check["found"] else "nothing found", check["message"])
        for check in audit["checks"]
    )
    text = (
        "Nothing was found."
        if audit["clean"]
        else "Something was found. Figures of a model that has seen the answer are worth nothing."
    )
    blocks: tuple[Block, ...] = (
        Notice(text, "note" if audit["clean"] else "warning"),
        Table(("Check", "Result", "Details"), rows),
    )
    return Section("audit", "Leak audit", blocks)
