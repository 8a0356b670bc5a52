"""The section on what clinicians thought of the model, from the record of their reviews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magml.report.blocks import Block, Cell, Notice, Section, Table, Text
from magml.report.cells import count, interval, metric_key
from magml.report.run import Run

_TITLE = "What clinicians thought of it"


def review_section(run: Run) -> Section:
    """Return the summary of the reviews of the model's explanations."""
    found = run.review
    if found is None:
        text = (
            "No summary of reviews is at hand. Clinicians review the reasons for single risks with "
            "magml review; magml review-summary puts what they thought of them here."
        )
        return Section("review", _TITLE, (Notice(text),))
    agree, kappa = found["agree"], found["kappa"]
    rows: list[tuple[Cell, ...]] = [
        ("Pages reviewed", _count(found, "pages"), ""),
        ("Readers", _count(found, "readers"), ""),
        (
            "First reader agreed",
            interval(agree, metric=metric_key("review", "agreement")),
            _of(agree["of"], "agreement_n"),
        ),
        ("First reader could not judge", _count(found, "cannot_judge"), ""),
        (
            "Cohen's kappa of two blind readers",
            interval(kappa, metric=metric_key("review", "kappa"), places=2),
            _of(kappa["n"], "kappa_n"),
        ),
    ]
    blocks: list[Block] = [
        Text(
            "Clinicians read the reasons for single risks and signed what they thought. They "
            "judged whether the reasons are plausible, not whether the outcome came."
        ),
        Table(("", "Value (95% interval)", "Of"), tuple(rows), numeric=frozenset({1, 2})),
        _objections(found),
        Text(f"Record of reviews at {found['head']}."),
    ]
    return Section("review", _TITLE, tuple(blocks))


def _objections(found: Mapping[str, Any]) -> Block:
    from magml.review.entry import CODES
    from magml.review.summary import LEAST

    rows: list[tuple[Cell, ...]] = [
        (CODES[code], count(pages, metric=metric_key("review", "objection", code)))
        for code, pages in found["objections"]
    ]
    if found["concepts"]:
        rows.append(("Reasons that were disagreed with",))
        rows += [(concept, f"{pages:,}") for concept, pages in found["concepts"]]
    if not rows:
        return Text("No reader objected to anything.")
    few = f"{found['few']} further reasons were disagreed with on under {LEAST} pages."
    return Table(("Objection", "Pages"), tuple(rows), few if found["few"] else "", frozenset({1}))


def _count(found: Mapping[str, Any], name: str) -> Cell:
    return count(found[name], metric=metric_key("review", name))


def _of(value: int, name: str) -> Cell:
    return (count(value, metric=metric_key("review", name)), " pages")
