"""The section on who gets tested: raw beside corrected figures, or that nothing was corrected."""

from __future__ import annotations

from typing import Any

from magml.ascertainment.words import ASSUMPTION
from magml.evaluation.measures import METRICS
from magml.models.nested import MODEL
from magml.report.blocks import Block, Bullets, Cell, Notice, Section, Table, Text
from magml.report.cells import interval_of_file, records
from magml.report.performance import figure
from magml.report.run import Run

_NAME, _TITLE = "tested", "Who gets tested"
_KEYS = ("model", "metric", "threshold")
_ESTIMATES = ("raw", "weighted", "robust")
#: Shown of the model, after the share with the outcome.
_MEASURES = ("auroc", "calibration_intercept", "calibration_slope", "observed_expected", "brier")
#: Shown over the range of what was not recorded.
_RANGED = ("prevalence", "auroc", "calibration_intercept")
_PREVALENCE, _NET_BENEFIT = "prevalence", "net_benefit"


def tested_section(run: Run) -> Section:
    """Return raw and corrected figures side by side, or say plainly that none were corrected."""
    if not corrected(run):
        return Section(_NAME, _TITLE, (_uncorrected(run),))
    table = run.tables.get("ascertainment")
    if table is None:
        text = (
            "The experiment corrects for who was tested, and the results of the run are not at "
            "hand: the corrected figures stand among the limits, the others are of those tested."
        )
        return Section(_NAME, _TITLE, (Notice(text, "warning"),))
    words = run.values["ascertainment"]["words"]
    blocks: list[Block] = [Text(words[0]), _side_by_side(run), Notice(ASSUMPTION)]
    blocks += [Notice(text, "warning") for text in words if text.startswith("Caution")]
    blocks += [_range(run), _weights(run.values["ascertainment"]["diagnostics"])]
    caption = "Raw and corrected figures, the range of what was not recorded, and who is tested."
    return Section(_NAME, _TITLE, (*blocks, *figure(run, "ascertainment", caption)))


def corrected(run: Run) -> bool:
    """Return whether the run corrected its figures for who was tested."""
    return run.experiment.get("ascertainment") is not None


def _uncorrected(run: Run) -> Notice:
    ordering = run.values.get("details", {}).get("ordering", {})
    who = (
        f"those {ordering['tested']:,} of {ordering['eligible']:,} whom somebody had tested"
        if "share_tested" in ordering
        else "people whose outcome is known"
    )
    return Notice(
        "No correction was made for who gets tested: every figure in this report is of "
        f"{who}, and none says how the model does in the others. The key `ascertainment` of an "
        "experiment adds figures for everybody who could have been tested.",
        "warning",
    )


def _side_by_side(run: Run) -> Table:
    """Return each figure raw, weighted and doubly robust."""
    rows = records(run.tables["ascertainment"])
    shown: list[tuple[Cell, ...]] = []
    for metric in (_PREVALENCE, *_MEASURES, _NET_BENEFIT):
        for row in rows:
            if row["metric"] != metric or (metric != _PREVALENCE and row["model"] != MODEL):
                continue
            cells: list[Cell] = [_title(row)]
            for estimate in _ESTIMATES:
                ends = (estimate, f"{estimate}_low", f"{estimate}_high")
                percent = metric == _PREVALENCE
                cells.append(
                    interval_of_file(row, ends, "ascertainment.csv", _KEYS, percent=percent)
                )
            shown.append(tuple(cells))
    head = ("", "Raw: those tested", "Everybody, by weights", "Everybody, doubly robust")
    caption = (
        "Each with its 95% interval. Weights rest on the model of who is tested; the doubly "
        "robust figures on that one or on the model of what would have been found."
    )
    return Table(head, tuple(shown), caption)


def _range(run: Run) -> Table:
    """Return the doubly robust figures over the range of what was not recorded."""
    rows = records(run.tables["ascertainment_sensitivity"])
    found: dict[float, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["metric"] in _RANGED and (row["metric"] == _PREVALENCE or row["model"] == MODEL):
            found.setdefault(row["odds_ratio"], {})[row["metric"]] = row
    keys = ("model", "metric", "odds_ratio")
    lines = []
    for ratio, of_ratio in found.items():
        cells: list[Cell] = [f"{ratio:g}"]
        for metric in _RANGED:
            cells.append(
                interval_of_file(
                    of_ratio[metric], ("value", "low", "high"), "ascertainment_sensitivity.csv",
                    keys, percent=metric == _PREVALENCE,
                )
            )  # fmt: skip
        lines.append(tuple(cells))
    head = (
        "Odds, untested : tested",
        *(_title({"metric": metric, "threshold": None}) for metric in _RANGED),
    )
    caption = (
        "What the figures in everybody would be, if the odds of the outcome in the untested were "
        "so many times those of tested people with the same records. At 1 all reasons for testing "
        "were recorded."
    )
    return Table(head, tuple(lines), caption)


def _weights(found: dict[str, Any]) -> Bullets:
    """Return what tells whether to trust the weights."""
    return Bullets(
        (
            f"The {found['tested']:,} tested count as {found['effective']:,.0f} under the weights.",
            f"Largest weight {found['largest']:.1f} (1 is the average), "
            f"{found['before_truncation']:.1f} before {found['truncated']:,} were cut.",
            f"Chance of being tested {found['least']:.1%} to {found['greatest']:.1%}; below 5% in "
            f"{found['rarely']:.1%} of everybody; {found['unlike']:.1%} of the untested are unlike "
            "nearly everybody tested.",
            f"The records tell who is tested with an AUROC of {found['auroc']:.2f}; columns that "
            f"differ by 0.1 standard deviations or more: {found['imbalanced_before']} before and "
            f"{found['imbalanced_after']} after weighting.",
        )
    )


def _title(row: dict[str, Any]) -> str:
    if row["metric"] == _PREVALENCE:
        return "Share with the outcome"
    if row["metric"] == _NET_BENEFIT:
        return f"Net benefit at {row['threshold']:.0%}"
    return METRICS[row["metric"]].title
