"""Sections on the people: who was taken in, who they are, what is missing of them."""

from __future__ import annotations

from typing import Any

from magml.definitions import Catalogue
from magml.explanations.words import describe_domain, describe_feature, describe_unit
from magml.report.blocks import Block, Bullets, Cell, Notice, Section, Table, Text
from magml.report.cells import count, of_file, records
from magml.report.run import Run

#: Predictors whose missingness is shown first; the others follow in the appendix.
_MOST_USED = 25
_VISITS = {
    "VISIT//icu": "intensive-care stay",
    "VISIT//inpatient": "hospital stay",
    "VISIT//emergency": "emergency visit",
    "VISIT//outpatient": "outpatient visit",
}
_ABSENT = "The results of the run are not at hand: this was made from a bundle alone."


def cohort_section(run: Run) -> Section:
    """Return how the cohort came about."""
    card = run.model.card
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            anchor_words(str(step["name"])),
            count(step["people"]),
            count(step["times"]),
            count(step["left_out"]),
            str(step.get("reason") or ""),
        )
        for step in card["attrition"]
    )
    blocks: list[Block] = [Text(cohort_words(run))]
    if rows:
        head = ("Step", "People", "Prediction times", "Left out", "Because")
        caption = "Each step keeps those of the step above that fulfil it."
        blocks.append(Table(head, rows, caption, frozenset({1, 2, 3})))
    ordering = run.values.get("details", {}).get("ordering", {})
    if "share_tested" in ordering:
        blocks.append(
            Notice(
                f"Of {ordering['eligible']:,} who were eligible, {ordering['tested']:,} "
                f"({ordering['share_tested']:.0%}) had the measurement that defines the outcome. "
                "Cases among the others are unknown; see who gets tested for what follows."
            )
        )
    return Section("cohort", "Who was taken in", tuple(blocks))


def cohort_words(run: Run) -> str:
    """Return the cohort in one sentence."""
    card = run.model.card
    cohort = card["cohort"]
    people = card["attrition"][-1]["people"] if card["attrition"] else None
    who = f" of {people:,} people" if people is not None else ""
    cases = f"{card['events']:,} ({card['events'] / card['n']:.1%})" if card["n"] else "none"
    text = f"{card['n']:,} prediction times{who}; {cases} had the outcome."
    if cohort is None or cohort["anchor"] == ["LABELS"]:
        return text + " Prediction times and labels were given with the data."
    anchors = anchor_words(" or ".join(cohort["anchor"]))
    chosen = {"first": "first", "last": "last", "each": "each", "random": "one random"}
    return (
        f"{text} Predictions are made {cohort['offset']} after the start of {anchors} "
        f"({chosen[cohort['select']]} of a person), age {cohort['minimum_age']:g} and over; "
        f"source: {card['source']}."
    )


def anchor_words(text: str) -> str:
    """Return a text with the codes of visits in words.

    Examples
    --------
    >>> anchor_words("each VISIT//icu, 24h after its start")
    'each intensive-care stay, 24h after its start'
    """
    for code, words in _VISITS.items():
        text = text.replace(code, words)
    return text


def characteristics_section(run: Run) -> Section:
    """Return table 1."""
    found = run.tables.get("characteristics")
    if found is None:
        return Section("table-1", "Who they are (table 1)", (Notice(_ABSENT),))
    catalogue = run.model.catalogue
    rows: list[tuple[Cell, ...]] = []
    domain = ""
    for row in records(found):
        if not _text(row["overall"]):
            continue
        if row["domain"] != domain:
            domain = row["domain"]
            rows.append((describe_domain(domain, catalogue),))
        unit = describe_unit(_text(row["unit"]) or None) if row["kind"] == "quantity" else ""
        rows.append(
            (
                f"{row['label']}{f', {unit}' if unit else ''}",
                *(_text(row[key]) for key in ("overall", "with_outcome", "without_outcome")),
                of_file(row, "smd", "characteristics.csv", ("feature",), places=2),
                # What is recorded only when it is there cannot be missing.
                ""
                if row["kind"] == "share" and row["unit"] == "1"
                else of_file(
                    row, "missing", "characteristics.csv", ("feature",), places=3, percent=True
                ),
            )
        )
    head = ("", "All", "With the outcome", "Without", "Difference (SD)", "Missing")
    caption = (
        "Number (share), or median (quartiles): the latest value, or what was current or recorded, "
        "before the prediction time. Of each domain the most often recorded are shown. Difference: "
        "standardised mean difference (Austin 2009). Blank: it would speak of fewer than ten "
        "people. Nothing was tested for significance."
    )
    table = Table(head, tuple(rows), caption, frozenset({1, 2, 3, 4, 5}), small=True)
    return Section("table-1", "Who they are (table 1)", (table,))


def missingness_section(run: Run) -> Section:
    """Return how much is missing of the predictors that matter most."""
    found = run.tables.get("missingness")
    if found is None:
        return Section("missingness", "Missing predictors", (Notice(_ABSENT),))
    by_name = {row["feature"]: row for row in records(found)}
    used = run.model.features
    weight = dict(zip(used, run.model.baseline.mean_absolute, strict=True))
    leading = sorted(used, key=lambda name: -weight[name])[:_MOST_USED]
    rows = tuple(
        _missing_row(run.model.catalogue, by_name[name]) for name in leading if name in by_name
    )
    head = ("Predictor", "Missing", "With the outcome", "Without")
    complete = sum(row["missing"] == 0 for name, row in by_name.items() if name in weight)
    few = sum(row["missing"] != row["missing"] for name, row in by_name.items() if name in weight)
    text = (
        "Missing values stay missing: the trees learn on which side of each split they go, and "
        "nothing is imputed. What is recorded only when it is there (a drug, a diagnosis) counts "
        f"as absent, not as missing. Of {len(used):,} predictors in use {complete:,} are never "
        f"missing; of {few:,} it is not told, as fewer than ten people lack or have them."
    )
    caption = (
        f"The {len(rows)} predictors that the model uses most, in that order. All others are in "
        "the appendix. Blank: it would speak of fewer than ten people."
    )
    table = Table(head, rows, caption, frozenset({1, 2, 3}))
    return Section("missingness", "Missing predictors", (Text(text), table))


def predictors_section(run: Run) -> Section:
    """Return every predictor in use with its definition and missingness: the appendix."""
    found = run.tables.get("missingness")
    missing = {} if found is None else {row["feature"]: row for row in records(found)}
    catalogue = run.model.catalogue
    blocks: list[Block] = [
        Text(
            "Each predictor is computed from what was known strictly before the prediction time. "
            "Codes, units and plausible ranges of every concept are in the bundle "
            "(catalogue.json) and in the catalogue's dictionary."
        )
    ]
    domains: dict[str, list[tuple[Cell, ...]]] = {}
    for feature in run.model.schema:
        row = missing.get(feature.name)
        domains.setdefault(feature.domain, []).append(
            (
                describe_feature(feature),
                feature.name,
                describe_unit(feature.unit),
                "" if row is None else _percent(row, "missing"),
            )
        )
    for domain, rows in domains.items():
        blocks.append(
            Table(
                ("Predictor", "Name", "Unit", "Missing"),
                tuple(rows),
                f"{describe_domain(domain, catalogue)} ({len(rows)})",
                frozenset({3}),
                small=True,
            )
        )
    return Section("predictors", "Appendix: all predictors", tuple(blocks))


def data_section(run: Run) -> Section:
    """Return what was done to the data before anything was learned."""
    data = dict(run.model.training.get("data") or {})
    blocks: list[Block] = []
    counts = [
        f"{data[key]:,} {name}"
        for key, name in (("rows", "events"), ("people", "people"), ("codes", "codes"))
        if isinstance(data.get(key), int)
    ]
    if counts:
        fingerprint = data.get("sha256")
        blocks.append(
            Text(
                f"{', '.join(counts)}; layout {data.get('layout', 'events')}."
                + (f" Fingerprint of the input: {fingerprint}." if fingerprint else "")
            )
        )
    units = run.values.get("units")
    if units:
        blocks.append(Text(_units_words(units)))
    notes = run.model.training.get("notes") or ()
    if notes:
        blocks.append(Text("", strong="What the source and the cohort decided"))
        blocks.append(Bullets(tuple(str(note) for note in notes)))
    return Section("data", "The data and their preparation", tuple(blocks))


def _units_words(units: dict[str, Any]) -> str:
    """Return in one paragraph how records became values."""
    mapped = sum(units["mapped"].values())
    converted = sum(units["converted"].values())
    rejected = sum(item["rows"] for item in units["rejected"])
    implausible = sum(units["implausible"].values())
    return (
        f"{units['rows']:,} rows could be used by some prediction time; they served "
        f"{mapped:,} times for a concept of the catalogue. {converted:,} values were converted to "
        f"the catalogue's unit, {rejected:,} were left out because their unit does not fit and "
        f"{implausible:,} because they are not plausible. {units['unmapped_rows']:,} rows of "
        f"{units['unmapped_codes']:,} codes belong to no concept."
    )


def _missing_row(catalogue: Catalogue, row: dict[str, Any]) -> tuple[Cell, ...]:
    name = describe_feature(catalogue.features[row["feature"]])
    columns = ("missing", "missing_in_cases", "missing_in_others")
    return (name, *(_percent(row, column) for column in columns))


def _percent(row: dict[str, Any], column: str) -> Cell:
    return of_file(row, column, "missingness.csv", ("feature",), places=3, percent=True)


def _text(value: Any) -> str:
    """Return a cell of a table as text; a missing one is empty."""
    return "" if value is None or value != value else str(value)
