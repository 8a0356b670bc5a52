"""Building a report: a run's sections, the guidelines, and people asked for by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from magml.report import card, decision, people, performance, robustness, tested
from magml.report.answers import Answers
from magml.report.blocks import Block, Cell, Notice, Report, Section, Table, Text
from magml.report.items import Answered, Guideline, Status, answer_items, read_guideline
from magml.report.reasons import explanations_section
from magml.report.review import review_section
from magml.report.run import Run

_GUIDELINES = ("tripod_ai", "probast_ai")


def build_report(
    run: Run,
    *,
    author: Mapping[str, Mapping[str, str]] | None = None,
    patients: Sequence[Section] = (),
) -> Report:
    """Build the report of a run.

    Parameters
    ----------
    run
        What `magml.report.find_run` returned.
    author
        The author's texts by guideline (``TRIPOD+AI``) and item
        (`magml.report.items.read_answers`).
    patients
        Sections on people who were asked for by name (`magml.report.patients`).

    Raises
    ------
    InputError
        If the author answers an item or a guideline that does not exist.
    """
    sections = [
        card.card_section(run),
        card.limits_section(run),
        people.cohort_section(run),
        people.characteristics_section(run),
        people.missingness_section(run),
        performance.performance_section(run),
        tested.tested_section(run),
        performance.baselines_section(run),
        decision.decision_section(run),
        robustness.subgroups_section(run),
        robustness.sensitivity_section(run),
        robustness.stability_section(run),
        explanations_section(run),
        *patients,
        review_section(run),
        card.use_section(run),
        card.model_section(run),
        card.sample_size_section(run),
        card.audit_section(run),
        people.data_section(run),
    ]
    titles = {section.name: section.title for section in sections}
    titles |= {"predictors": "Appendix: all predictors", "title": "Title"}
    written = dict(author or {})
    absent: list[str] = []
    left: list[str] = []
    answers = Answers(run).by_name()
    for name in _GUIDELINES:
        guideline = read_guideline(name)
        found = answer_items(guideline, answers, written.pop(guideline.name, {}))
        for one in found:
            label = f"{guideline.name} {one.item.id}: {one.item.asks}"
            if one.status == "absent":
                absent.append(label)
            elif one.status == "the author's to write":
                left.append(label)
        sections.append(_guideline_section(name, guideline, found, titles))
    if written:
        _refuse_unknown(written)
    sections.append(people.predictors_section(run))
    title = str(run.model.card["title"])
    subtitle = str(run.experiment.get("title") or run.model.card["name"])
    return Report(
        title, subtitle, performance.tiles(run), tuple(sections), tuple(absent), tuple(left)
    )


def _guideline_section(
    name: str, guideline: Guideline, found: Sequence[Answered], titles: Mapping[str, str]
) -> Section:
    """Return the table of a guideline."""
    probast = name == "probast_ai"
    rows: list[tuple[Cell, ...]] = []
    heading = ""
    for one in found:
        if one.item.section != heading:
            heading = one.item.section
            rows.append((heading,))
        from_run = one.status in ("answered", "answered in part")
        where = titles.get(one.item.where, "") if from_run else ""
        rows.append((one.item.id, one.item.asks, one.text, where, "" if probast else one.status))
    counted = {status: sum(one.status == status for one in found) for status in get_args(Status)}
    said = "; ".join(f"{status}: {n}" for status, n in counted.items() if n)
    blocks: list[Block] = [Text(guideline.source), Text(guideline.note), Text(f"Items {said}.")]
    if probast:
        blocks.insert(
            2,
            Notice(
                "The answers are facts of the run. The judgement (yes, probably yes, probably no, "
                "no, no information) is an assessor's to write: magml gives no verdict on its own "
                "model. Applicability to your own question is yours to judge, too."
            ),
        )
    last = "Judgement (assessor)" if probast else "Status"
    head = ("Item", "Asked", "From the run", "Where", last)
    blocks.append(Table(head, tuple(rows), small=True))
    return Section(name.replace("_", "-"), guideline.name, tuple(blocks))


def _refuse_unknown(written: Mapping[str, Mapping[str, str]]) -> None:
    from magml.errors import InputError, nearest

    known = [read_guideline(name).name for name in _GUIDELINES]
    name = next(iter(written))
    raise InputError(f"answers to {name!r}", nearest(name, known), "correct the guideline's name")
