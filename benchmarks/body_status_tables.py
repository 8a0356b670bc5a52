"""Tables of the recovery of body status, for `benchmarks/body_status.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from body_status_truths import truth_tables

FULL = "model, whole record and serum measured today"
SERUM, SCORE = "serum alone, measured today", "depletion score, age, sex"
LOGISTIC = "logistic, whole record and serum measured today"


def summary(result: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    rows = pd.DataFrame(result["rows"])
    parts = [_facts(result, rows), _aurocs(rows), _gains(rows), _found(result), _slopes(result)]
    parts.append(truth_tables(result["truths"], result["limits"]))
    return "\n\n".join(parts)


def _facts(result: dict[str, Any], rows: pd.DataFrame) -> str:
    one = rows.groupby("world").first()
    return (
        f"{len(one)} test worlds, {one['n'].mean():.0f} people in each on average, "
        f"{one['events'].mean():.0f} depleted ({one['events'].min()} to {one['events'].max()}); "
        f"with normal serum {one['n_normal'].mean():.0f}, "
        f"{one['events_normal'].mean():.0f} of them depleted. "
        f"Comparators were fitted on {result['train_people']:,} people of "
        f"{result['train_worlds']} training worlds. Simulator {result['simulator'][:16]}, bundle "
        f"{result['bundle'][:16]}."
    )


def _aurocs(rows: pd.DataFrame) -> str:
    lines = ["| | everybody | normal serum |", "|---|---|---|"]
    for name in rows["model"].unique():
        own = rows[rows["model"] == name]
        cells = [
            f"{own[m].mean():.3f} ({own[m].std():.3f}; {own[m].min():.3f} to {own[m].max():.3f})"
            for m in ("auroc", "auroc_normal")
        ]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "Mean AUROC (SD; range over worlds):\n\n" + "\n".join(lines)


def _gains(rows: pd.DataFrame) -> str:
    wide = rows.pivot(index="world", columns="model")
    pairs = [
        (FULL, SERUM),
        (FULL, SCORE),
        (FULL, LOGISTIC),
        (FULL, "weight, age, sex"),
        ("model, whole record", SERUM),
        ("model, whole record", SCORE),
        ("model, whole record", "logistic, whole record"),
        ("bound: causes and flows known", SERUM),
        ("bound: and nature known", SERUM),
    ]
    lines = ["| less | everybody | normal serum |", "|---|---|---|"]
    for one, other in pairs:
        cells = []
        for metric in ("auroc", "auroc_normal"):
            gain = wide[metric][one] - wide[metric][other]
            cells.append(
                f"{gain.mean():+.3f} ({gain.std():.3f}; above 0 in "
                f"{int((gain > 0).sum())} of {len(gain)})"
            )
        lines.append(f"| {one}, less {other} | {cells[0]} | {cells[1]} |")
    return "Differences, mean (SD over worlds):\n\n" + "\n".join(lines)


def _found(result: dict[str, Any]) -> str:
    table = pd.DataFrame(result["found"])
    shares = sorted(table["capacity"].unique())
    lines = [
        "| " + " | ".join(["tested", *(f"{s:.0%}" for s in shares)]) + " |",
        "|---" * (len(shares) + 1) + "|",
    ]
    for name in table["model"].unique():
        cells = []
        for share in shares:
            own = table[(table["model"] == name) & (table["capacity"] == share)]
            cells.append(
                f"{100 * (own['found'] / own['depleted']).mean():.0f}% "
                f"(1 in {own['tested'].sum() / max(own['found'].sum(), 1):.1f})"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return (
        "Among people with normal serum: share of the depleted that are found, and how many are "
        "tested for each found, by the share that can be tested:\n\n" + "\n".join(lines)
    )


def _slopes(result: dict[str, Any]) -> str:
    table = pd.DataFrame(result["recalibration"])
    cases = table["cases_measured"]
    lines = ["| update | slope, mean (SD; range) | prevalence off by |", "|---|---|---|"]
    for name in ("before", "intercept", "slope", "closed_test"):
        own = table[f"slope_{name}"]
        off = np.exp(np.abs(np.log(table[f"expected_{name}"] / table["observed"])).mean()) - 1
        lines.append(
            f"| {name} | {own.mean():.2f} ({own.std():.2f}; {own.min():.2f} to {own.max():.2f}) "
            f"| {100 * off:.0f}% |"
        )
    return (
        f"Calibration of the model on whole records in {len(table)} worlds, on all but the 300 "
        f"measured people to whom the update was fitted ({cases.min()} to {cases.max()} cases, "
        f"mean {cases.mean():.0f}):\n\n" + "\n".join(lines)
    )
