"""Sections on use: net benefit, and the tests that it takes to find a case."""

from __future__ import annotations

from magml.models.nested import MODEL
from magml.report.blocks import Block, Cell, Notice, Section, Table
from magml.report.cells import interval_of_file, readable, records
from magml.report.performance import NOTHING, figure
from magml.report.run import Run


def decision_section(run: Run) -> Section:
    """Return net benefit and what testing by the model would yield."""
    blocks: list[Block] = []
    table = run.tables.get("net_benefit")
    if table is not None:
        wanted = ("model", "treat all", "last_magnesium")
        shown = [name for name in wanted if name in set(table["model"])]
        rows = []
        for threshold in sorted(set(table["threshold"])):
            cells: list[Cell] = [f"{threshold:.0%}"]
            for name in shown:
                row = table[(table["model"] == name) & (table["threshold"] == threshold)]
                cells.append(
                    interval_of_file(
                        records(row)[0], ("net_benefit", "low", "high"), "net_benefit.csv",
                        ("model", "threshold"),
                    )
                )  # fmt: skip
            rows.append(tuple(cells))
        head = ("Risk from which to act", *(readable(name) for name in shown))
        caption = (
            "Net benefit: true positives a person after paying for false positives. The model is "
            "of use at a threshold where it is above treating all and above 0."
        )
        blocks.append(Table(head, tuple(rows), caption))
    blocks += figure(run, "decision_curve", "Decision curve: net benefit over thresholds.")
    blocks += _testing(run)
    if not blocks:
        blocks.append(Notice(NOTHING, "warning"))
    return Section("decision", "Of use for which decision", tuple(blocks))


def _testing(run: Run) -> list[Block]:
    """Return the tests needed per case found, by capacity."""
    table = run.tables.get("testing")
    if table is None:
        return []
    rows = []
    model = table[(table["model"] == MODEL) & (table["kind"] == "capacity")]
    for row in records(model):
        keys = ("model", "kind", "at")
        if row["found"] != row["found"]:
            continue
        rows.append(
            (
                f"{row['at']:.0%}",
                interval_of_file(
                    row, ("found", "found_low", "found_high"), "testing.csv", keys, percent=True
                ),
                interval_of_file(
                    row, ("tests_per_case", "low", "high"), "testing.csv", keys, places=1
                ),
            )
        )
    ordering = run.values.get("details", {}).get("ordering", {})
    head = ("Share tested, highest risk first", "Share of the cases found", "Tests per case found")
    blocks: list[Block] = [Table(head, tuple(rows), str(ordering.get("meaning", "")))]
    return blocks + figure(run, "testing", "Tests needed for one case, by the share tested.")
