"""The model card in words: the facts of `magml.bundle.card.model_card` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magml.bundle.card import COMPARED
from magml.clock import seconds

_SHOWN = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "calibration_intercept": "Calibration intercept",
    "calibration_slope": "Calibration slope",
    "ici": "Integrated calibration index",
}
_SELECT = {"first": "the first", "each": "each", "last": "the last", "random": "one random"}


def card_markdown(card: Mapping[str, Any]) -> str:
    """Return a card in words.

    Parameters
    ----------
    card
        What `model_card` returned.
    """
    parts = [
        f"# {card['title']}",
        f"`{card['name']}`",
        "## Use",
        f"**For:** {card['intended_use'].strip()}",
    ]
    if card["not_for"].strip():
        parts.append(f"**Not for:** {card['not_for'].strip()}")
    if card["adults_only"]:
        parts.append("Adults (18 years and over) only.")
    parts += [
        "## Outcome",
        _outcome(card),
    ]
    if card["add_on"]:
        parts.append(
            "**Add-on use:** magnesium would be added to a sample already drawn, so results of "
            "that same specimen are among the features. Do not use the model before a sample."
        )
    bands = ", ".join(f"{band['name']} from {band['at_least']:.0%}" for band in card["bands"])
    parts += [f"Bands of risk: {bands}.", "## Learned from", _learned(card)]
    if card["attrition"]:
        rows = [
            [step["name"], step["people"], step["times"], step["left_out"]]
            for step in card["attrition"]
        ]
        parts.append(_table(["Step", "People", "Prediction times", "Left out"], rows))
    parts += ["## Performance", _performance_words(card)]
    parts += ["## Compared with baselines", _comparison_words(card)]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in card["limits"])]
    if card["notes"]:
        parts += ["## The data", "\n".join(f"- {note}" for note in card["notes"])]
    total = sum(len(names) for names in card["features"].values())
    parts.append(f"## Features ({total})")
    for domain, names in card["features"].items():
        parts.append(f"**{domain}** ({len(names)}): " + ", ".join(f"`{name}`" for name in names))
    return "\n\n".join(parts) + "\n"


def _outcome(card: Mapping[str, Any]) -> str:
    """Return in words what is predicted."""
    outcome, evidence = card["outcome"], card.get("evidence")
    if evidence is not None:
        rule = outcome["definition"]
        checked = "" if rule["verified"] else " (not checked in the source)"
        return (
            f"Low body magnesium: {rule['title']}. Level of evidence: **{evidence['label']}**. "
            f"{evidence['meaning']} Source: {rule['source'].strip()}{checked} "
            f"{rule['note'].strip()}".strip()
        )
    limits = " or ".join(f"{value:g} {unit}" for unit, value in outcome["threshold"].items())
    return (
        f"{card['outcome_label']} below {limits} ({_selected(outcome['select'])} within "
        f"{outcome['time_at_risk']} after {_beginning(outcome)}), compared in the unit reported."
    )


def _selected(select: str) -> str:
    return {"first": "the first value", "any": "any value", "lowest": "the lowest value"}[select]


def _beginning(outcome: Mapping[str, Any]) -> str:
    """Return in words when the time at risk begins."""
    gap = outcome.get("gap", "0h")
    return "the prediction time" if seconds(gap) == 0 else f"a gap of {gap}"


def _learned(card: Mapping[str, Any]) -> str:
    """Return the cohort in one paragraph."""
    share = f"{card['events'] / card['n']:.1%}" if card["n"] else "no"
    text = (
        f"{card['n']:,} prediction times of {card['groups']:,} people; {card['events']:,} "
        f"({share}) with the outcome."
    )
    cohort = card["cohort"]
    if cohort is None or cohort["anchor"] == ["LABELS"]:
        return text + " Prediction times and labels were given with the data."
    if card["source"] == "simulation":
        return text + (
            f" Experiment `{card['experiment']}`: simulated people, each predicted at the end of "
            "their records; folds are whole worlds, which share no parameter draw."
        )
    measured = {
        "none": "magnesium not known before",
        "some": "magnesium known before",
        "any": "whether or not magnesium was known before",
    }[cohort["measured_before"]]
    return text + (
        f" Experiment `{card['experiment']}`, source `{card['source']}`: prediction "
        f"{cohort['offset']} after {' or '.join(f'`{code}`' for code in cohort['anchor'])} "
        f"({_SELECT[cohort['select']]} of a person{_repeated(cohort)}), {measured}, "
        f"age {cohort['minimum_age']:g} and over." + _conditions(cohort)
    )


def _repeated(cohort: Mapping[str, Any]) -> str:
    """Return in words how prediction times follow each other."""
    every = f", every {cohort['every']} from then on" if cohort.get("every") else ""
    eligible = cohort.get("select_among") == "eligible" and cohort["select"] != "each"
    return every + (", chosen among those eligible" if eligible else "")


def _conditions(cohort: Mapping[str, Any]) -> str:
    """Return in words what else a cohort demands, and what it counts."""
    found = ""
    if cohort.get("observed_before"):
        found += f" Records reach back {cohort['observed_before']} or more."
    if cohort.get("washout"):
        found += f" No low value known in the {cohort['washout']} before."
    if cohort.get("competing_events"):
        ends = " and end the time at risk" if cohort.get("competing_rule") == "end" else ""
        events = " and ".join(cohort["competing_events"])
        found += f" Competing events ({events}) are counted, not labelled{ends}."
    return found


def how_tested(validation: Mapping[str, Any] | None) -> str:
    """Return in words how what was measured had been held out."""
    held = {
        "leave_one_site_out": "Sites held out one at a time, nothing fitted having seen them",
        "time": (
            "Temporal hold-out (the final model is then fitted in the same way on all rows, "
            "the held-out ones included)"
        ),
        "people_held_out": "People held out at random, whom the model that is shipped has not seen",
    }
    return held.get((validation or {}).get("groups", ""), "Outer folds of nested cross-validation")


def _performance_words(card: Mapping[str, Any]) -> str:
    """Return the table of the model's figures."""
    performance = card["performance"]
    if performance is None:
        return "Not measured: no cross-validation was run."
    rows = [
        [title, _interval(performance["metrics"][name])]
        for name, title in _SHOWN.items()
        if name in performance["metrics"]
    ]
    level = f"{performance['level']:.0%} interval"
    return (
        f"{how_tested(card['validation'])}: {performance['n']:,} prediction times, "
        f"{performance['events']:,} cases, {performance['groups']:,} resampled groups, "
        f"{performance['replicates']:,} bootstrap resamples.\n\n"
        + _table(["Measure", f"Value ({level})"], rows)
    )


def _comparison_words(card: Mapping[str, Any]) -> str:
    """Say plainly which baselines the model beats, and which it does not."""
    lines = []
    for baseline in (True, False):
        for row in card["comparisons"]:
            if row["baseline"] != baseline:
                continue
            title = COMPARED[row["metric"]][0]
            what = f"`{row['model']}`" + ("" if baseline else " (a variant)")
            gain = _interval({"value": row["gain"], "low": row["low"], "high": row["high"]}, "+")
            said = {
                "beats": f"beats {what} in {title}: gain {gain}",
                "ahead by point estimate only": (
                    f"is ahead of {what} in {title} by point estimate only: gain {gain}"
                ),
                "does not beat": f"**does not beat** {what} in {title}: gain {gain}",
                "cannot be compared": f"cannot be compared with {what} in {title}",
            }[row["verdict"]]
            note = card["baseline_notes"].get(row["model"])
            lines.append(f"- The model {said}." + (f" ({note})" if note else ""))
    for name, reason in card["not_computable"].items():
        lines.append(f"- `{name}` is not computable: {reason}.")
    return "\n".join(lines) if lines else "No baseline was computed."


def _interval(cell: Mapping[str, float | None], sign: str = "") -> str:
    """Return a value with its interval."""
    value, low, high = cell["value"], cell["low"], cell["high"]
    if value is None:
        return "not estimable"
    if low is None or high is None:
        return f"{value:{sign}.3f} (no interval)"
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _table(header: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
