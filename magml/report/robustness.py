"""Sections on how far the figures hold: subgroups, treated people, thresholds, refits."""

from __future__ import annotations

from magml.evaluation.measures import METRICS
from magml.models.nested import MODEL
from magml.report.blocks import Block, Cell, Notice, Section, Table, Text
from magml.report.cells import count, interval_of_file, records
from magml.report.performance import figure
from magml.report.run import Run

#: What is shown of each subgroup.
_BY_SUBGROUP = ("auroc", "observed_expected", "calibration_slope")


def subgroups_section(run: Run) -> Section:
    """Return performance in subgroups."""
    table = run.tables.get("subgroups")
    if table is None or not len(table):
        text = "No subgroup of ten cases or more and ten others, or no results at hand."
        return Section("subgroups", "Subgroups and hospitals", (Notice(text),))
    rows: list[tuple[Cell, ...]] = []
    for dimension in dict.fromkeys(table["dimension"]):
        rows.append((str(dimension),))
        of_dimension = table[table["dimension"] == dimension]
        for subgroup in dict.fromkeys(of_dimension["subgroup"]):
            of_group = of_dimension[of_dimension["subgroup"] == subgroup].set_index("metric")
            first = of_group.iloc[0]
            cells: list[Cell] = [str(subgroup), count(first["n"]), count(first["events"])]
            for metric in _BY_SUBGROUP:
                row = {**of_group.loc[metric].to_dict(), "metric": metric}
                cells.append(
                    interval_of_file(
                        row, ("value", "low", "high"), "subgroups.csv",
                        ("dimension", "subgroup", "model", "metric"), places=2,
                    )
                )  # fmt: skip
            rows.append(tuple(cells))
    suppressed = run.values.get("details", {}).get("subgroups_suppressed", {})
    left = ", ".join(f"{name}: {n}" for name, n in suppressed.items() if n)
    caption = (
        "Look at observed : expected before AUROC: far from 1, the risks are wrong for that group. "
        "Many groups are compared, so one interval in twenty misses by chance."
        + (f" Not shown, with fewer than ten cases or ten others: {left}." if left else "")
    )
    head = ("", "n", "Cases", *(METRICS[name].title for name in _BY_SUBGROUP))
    table_block = Table(head, tuple(rows), caption, frozenset({1, 2}), small=True)
    return Section("subgroups", "Subgroups and hospitals", (table_block,))


def sensitivity_section(run: Run) -> Section:
    """Return figures without those given magnesium, and at other thresholds."""
    blocks: list[Block] = []
    details = run.values.get("details", {}).get("sensitivity", {})
    table = run.tables.get("sensitivity")
    if table is not None and len(table):
        given = details.get("given_magnesium")
        blocks.append(
            Text(
                f"{given} of the people evaluated were given magnesium between the prediction and "
                "the outcome, which can turn a case into a normal value. Without them:"
            )
        )
        rows = []
        of_model = table[table["model"] == MODEL]
        for subgroup in dict.fromkeys(of_model["subgroup"]):
            found = of_model[of_model["subgroup"] == subgroup].set_index("metric")
            cells: list[Cell] = [str(subgroup), count(found.iloc[0]["n"])]
            cells.append(count(found.iloc[0]["events"]))
            for metric in ("auroc", "log_loss", "calibration_slope"):
                row = {**found.loc[metric].to_dict(), "metric": metric}
                cells.append(
                    interval_of_file(
                        row, ("value", "low", "high"), "sensitivity.csv",
                        ("subgroup", "model", "metric"),
                    )
                )  # fmt: skip
            rows.append(tuple(cells))
        head = ("", "n", "Cases", "AUROC", "Log loss", "Calibration slope")
        blocks.append(Table(head, tuple(rows), "", frozenset({1, 2})))
    elif details and not details.get("computable"):
        blocks.append(
            Text(
                "Whether people were given magnesium between prediction and outcome is not "
                "recorded in these data."
            )
        )
    blocks += _thresholds(run)
    if not blocks:
        blocks.append(Text("Not at hand."))
    return Section("sensitivity", "Treatment before the outcome, other thresholds", tuple(blocks))


def _thresholds(run: Run) -> list[Block]:
    """Return figures at other thresholds of magnesium, where they were asked for."""
    table = run.tables.get("thresholds")
    if table is None or "threshold" not in table:
        return [Text("Other thresholds were not asked for (magml train --thresholds all).")]
    rows = []
    found = table[(table["model"] == MODEL) & table["metric"].isin(("auroc", "calibration_slope"))]
    for row in records(found):
        rows.append(
            (
                str(row["threshold"]),
                METRICS[row["metric"]].title,
                count(row["n"]),
                count(row["events"]),
                interval_of_file(
                    row, ("value", "low", "high"), "thresholds.csv",
                    ("threshold", "model", "metric"),
                ),
            )
        )  # fmt: skip
    head = ("Outcome below", "Measure", "n", "Cases", "Value")
    return [Table(head, tuple(rows), "The same people and settings.", frozenset({2, 3}))]


def stability_section(run: Run) -> Section:
    """Return how much hangs on the people and the folds at hand."""
    blocks: list[Block] = []
    found = run.values.get("instability")
    if found:
        changed = "; ".join(f"{t}: {s:.1%}" for t, s in found["changed"].items())
        blocks.append(
            Text(
                f"The whole pipeline was refitted on {found['refits']} bootstrap samples of "
                f"people. The risks of the same people then differ by {100 * found['mape']:.1f} "
                f"points on average (MAPE). Share who change sides, by threshold: {changed}."
            )
        )
        blocks += figure(run, "instability", "Risks over the refits against the model's own risk.")
    else:
        blocks.append(
            Text(
                "Refits on bootstrap samples of people were not asked for (magml train "
                "--instability 200), so how much risks would move with other people is known only "
                "from the range over the model's members that stands beside each score."
            )
        )
    folds = run.tables.get("folds")
    if folds is not None:
        sizes = ("fold", "train", "train_cases", "test", "test_cases", "features")
        rows: tuple[tuple[Cell, ...], ...] = tuple(
            (*(count(row[key]) for key in sizes), str(row["calibrator"])) for row in records(folds)
        )
        head = ("Fold", "Train", "Cases", "Test", "Cases", "Predictors kept", "Calibration")
        blocks.append(
            Table(
                head,
                rows,
                "What each outer fold learned from, and what it chose by itself.",
                frozenset(range(6)),
            )
        )
    return Section("stability", "Stability", tuple(blocks))
