"""Sections on what the model uses: importance, directions, interactions, subgroups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magml.explanations.directions import NEGLIGIBLE
from magml.report.blocks import Block, Cell, Notice, Section, Table, Text
from magml.report.cells import interval_of_file
from magml.report.performance import figure
from magml.report.run import Run

_FILE = "explanations.json"
_CONCEPTS = 20
_PAIRS = 12
_SUBGROUPS = 15


def explanations_section(run: Run) -> Section:
    """Return the global explanations of the final model."""
    title = "What the model uses"
    found = run.values.get("explanations")
    if found is None:
        text = "The results of the run, which hold the explanations, are not at hand."
        return Section("explanations", title, (Notice(text),))
    blocks: list[Block] = [
        Text(
            f"The final model was explained on {found['n']:,} prediction times of "
            f"{found['people']:,} people by exact Shapley values, which add up to each risk. They "
            "say what moved this model's answers. They do not say what causes a low magnesium, nor "
            "what a treatment would do. The model learned from these people: this shows what it "
            "uses, not how well it does."
        )
    ]
    blocks += figure(run, "importance", "Importance by domain and by concept.")
    blocks.append(_importance(found))
    blocks += figure(
        run,
        "beeswarm",
        "Contributions of the leading predictors. Each dot is ten people or more: to the right it "
        "raises their risk, and its colour is the predictor's value.",
    )
    blocks += figure(
        run, "dependence", "How the contribution of the leading predictors changes with the value."
    )
    blocks += [*_directions(found), *_interactions(found), *_subgroups(found)]
    return Section("explanations", title, tuple(blocks))


def _importance(found: Mapping[str, Any]) -> Table:
    """Return importance by concept as a table."""
    rows: list[tuple[Cell, ...]] = []
    for level, title, top in (("domain", "Domains", 20), ("concept", "Concepts", _CONCEPTS)):
        rows.append((title,))
        listed = [r for r in found["importance"] if r["level"] == level and r["value"] > 0][:top]
        for row in listed:
            rows.append(
                (
                    row["label"],
                    _interval(row, ("value", "low", "high"), ("level", "name")),
                    f"{row['share']:.0%}",
                )
            )
    caption = (
        "Mean absolute contribution (log-odds); intervals from resampling people. Derived counts, "
        "such as the number of drugs that waste magnesium, are concepts of their own beside the "
        "drugs they count."
    )
    return Table(("", "Importance", "Share"), tuple(rows), caption, frozenset({2}), small=True)


def _directions(found: Mapping[str, Any]) -> list[Block]:
    """Return where the model goes against the catalogue's direction."""
    rows = found["directions"]
    if not rows:
        return [Text("No concept of a stated direction could be compared with the catalogue.")]
    against = [row["label"] for row in rows if row["verdict"] == "disagrees"]
    agreeing = sum(row["verdict"] == "agrees" for row in rows)
    said = ", ".join(against) if against else "none"
    lines: list[tuple[Cell, ...]] = [
        (
            row["label"],
            str(row["direction"]),
            f"{row['compared']} ({row['people']:,})",
            _interval(
                row, ("difference", "low", "high"), ("concept",), sign="+", list_="directions"
            ),
            row["verdict"],
        )
        for row in rows
    ]
    caption = (
        "Magnesium: what the concept does to it by the catalogue. Difference: mean contribution to "
        "the log-odds of a low magnesium of those with it (or above the median) minus the others; "
        f"below {NEGLIGIBLE:g} it is negligible. A disagreement is no defect by itself: those "
        "given a drug differ from those who are not. It is for a clinician to judge."
    )
    head = ("Concept", "Magnesium", "Compared (people)", "Difference", "The model")
    return [
        Text(
            f"Of {len(rows)} concepts for which the catalogue states a direction, the model agrees "
            f"on {agreeing}; against it: {said}.",
            strong="Directions.",
        ),
        Table(head, tuple(lines), caption, small=True),
    ]


def _interactions(found: Mapping[str, Any]) -> list[Block]:
    """Return the strengths of the pairs looked at."""
    rows = found["interactions"]
    if not rows:
        return []
    lines: list[tuple[Cell, ...]] = [
        (
            row["labels"],
            _interval(
                row, ("value", "low", "high"), ("first", "second"), list_="interactions", places=4
            ),
            row["why"],
        )
        for row in rows[:_PAIRS]
    ]
    caption = (
        "What a pair adds beyond each alone: mean absolute Shapley interaction (log-odds), exact, "
        f"on {found['interaction_n']} prediction times. A short list was looked at, not all pairs."
    )
    head = ("Pair", "Strength", "Listed as")
    return [Table(head, tuple(lines), caption, small=True)]


def _subgroups(found: Mapping[str, Any]) -> list[Block]:
    """Return the domains that matter more or less in a subgroup."""
    rows = found["subgroups"]
    if not rows:
        return []
    marked = [row for row in rows if row["low"] is not None and row["low"] * row["high"] > 0]
    marked.sort(key=lambda row: -abs(row["difference"]))
    lines: list[tuple[Cell, ...]] = [
        (
            f"{row['dimension']}: {row['subgroup']} ({row['people']:,})",
            row["label"],
            _interval(
                row, ("difference", "low", "high"), ("dimension", "subgroup", "domain"),
                list_="subgroups", sign="+",
            ),
        )
        for row in marked[:_SUBGROUPS]
    ]  # fmt: skip
    text = (
        f"{len(rows)} comparisons of a domain's importance in a subgroup with everybody else's: in "
        f"{len(marked)} the interval leaves out 0 (one in twenty would by chance)."
    )
    if not marked:
        return [Text(text, strong="Subgroups.")]
    caption = f"The {len(lines)} largest differences in mean absolute contribution (log-odds)."
    head = ("Subgroup (people)", "Domain", "Difference to the others")
    return [Text(text, strong="Subgroups."), Table(head, tuple(lines), caption, small=True)]


def _interval(
    row: Mapping[str, Any],
    columns: tuple[str, str, str],
    keys: tuple[str, ...],
    *,
    list_: str = "importance",
    places: int = 3,
    sign: str = "",
) -> Cell:
    """Return a value of ``explanations.json`` with its interval."""
    return interval_of_file(row, columns, f"{_FILE}#{list_}", keys, places=places, sign=sign)
