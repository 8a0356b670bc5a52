"""Sections on performance: figures, baselines, calibration, use, subgroups, stability."""

from __future__ import annotations

from typing import Any

from magml.evaluation.measures import METRICS
from magml.models.nested import MODEL
from magml.report.blocks import Block, Cell, Figure, Notice, Section, Table, Text
from magml.report.cells import (
    count,
    interval,
    metric_key,
    readable,
    share,
)
from magml.report.run import Run

#: How each figure is to be read, by metric.
_READ = {
    "auroc": "0.5 is a coin, 1 is perfect ranking",
    "auprc": "compare with the share of cases, which is what guessing gives",
    "brier": "mean squared error of the risks; lower is better",
    "scaled_brier": "0 is no better than the average risk for everybody, 1 is perfect",
    "log_loss": "lower is better",
    "ici": "mean distance of the risks from what was observed",
    "calibration_intercept": "0 is right; above 0 the risks are too low on average",
    "calibration_slope": "1 is right; below 1 the risks are too extreme",
    "observed_expected": "1 is right; above 1 there were more cases than predicted",
}
_LADDER = ("auroc", "auprc", "log_loss", "brier", "calibration_slope")
NOTHING = "Nothing was measured: the run had no cross-validation."


def performance_section(run: Run) -> Section:
    """Return the model's figures."""
    metrics = run.metrics
    if not metrics:
        return Section("performance", "How well the model does", (Notice(NOTHING, "warning"),))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (METRICS[name].title, interval(metrics[name], metric=name), _READ[name])
        for name in METRICS
        if name in metrics
    )
    blocks: list[Block] = [
        Text(counts_words(run)),
        Table(("Measure", "Value (95% interval)", "How to read it"), rows),
    ]
    for name, caption in (
        (
            "calibration",
            "Calibration: observed share of cases against predicted risk, with the risks' "
            "distribution by outcome. On the diagonal risks are right.",
        ),
        ("roc", "ROC curves of the model and its baselines on the same rows."),
        ("precision_recall", "Precision and recall; the dotted line is the share of cases."),
        ("risk_distribution", "Predicted risks of those with and without the outcome."),
    ):
        blocks += figure(run, name, caption)
    return Section("performance", "How well the model does", tuple(blocks))


def counts_words(run: Run) -> str:
    """Return how many rows, cases and groups stand behind the figures, and how they were held out.

    As `magml.bundle.card` says it, so that card and report agree.
    """
    from magml.bundle.card_words import how_tested

    performance = run.model.card["performance"] or {}
    held = how_tested(run.model.card["validation"])
    return (
        f"{held}: {performance.get('n', 0):,} prediction times, "
        f"{performance.get('events', 0):,} with the outcome ({performance.get('prevalence', 0):.1%}"
        f"), {performance.get('groups', 0):,} {groups_name(run)} resampled "
        f"{performance.get('replicates', 0):,} times for the intervals."
    )


def groups_name(run: Run) -> str:
    """Return what was resampled."""
    groups = (run.experiment.get("validation") or {}).get("groups", "subject")
    return "hospitals or sites" if "site" in groups else "people"


def baselines_section(run: Run) -> Section:
    """Return the ladder of baselines and variants, with paired gains."""
    metrics = run.metrics
    if not metrics:
        return Section("baselines", "Compared with simpler models", (Notice(NOTHING, "warning"),))
    baselines = set(run.experiment.get("baselines") or ())
    ordered = sorted(
        (name for name in metrics["models"] if name != MODEL),
        key=lambda name: (name not in baselines,),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            "the model",
            *(interval(metrics["models"][MODEL][name], metric=name) for name in _LADDER),
        )
    ]
    for name in ordered:
        rows.append(
            (
                readable(name),
                *(interval(metrics["models"][name][m], metric=m, run=name) for m in _LADDER),
            )
        )
    head = ("", *(METRICS[name].title for name in _LADDER))
    gains: list[tuple[Cell, ...]] = []
    for name in ordered:
        found = metrics["differences"][name]
        gains.append(
            (
                readable(name),
                *(
                    interval(found[m], metric=metric_key("gain_over", name, m), sign="+")
                    for m in ("auroc", "log_loss")
                ),
                _verdict(run, name),
            )
        )
    blocks: list[Block] = [
        Text(verdict_words(run)),
        Table(head, tuple(rows), "On the same rows, each with its 95% interval.", small=True),
        Table(
            ("The model minus", "AUROC (more is better)", "Log loss (less is better)", "Verdict"),
            tuple(gains),
            "Paired differences on the same rows and resamples. An interval that holds 0 shows no "
            "difference.",
        ),
    ]
    if metrics["not_computable"]:
        for name, why in metrics["not_computable"].items():
            blocks.append(Text(f"{why}.", strong=f"Not computable: {readable(name)}."))
    blocks += figure(run, "differences", "Paired differences to the baselines.")
    return Section("baselines", "Compared with simpler models", tuple(blocks))


def verdict_words(run: Run) -> str:
    """Say plainly which baselines the model beats in AUROC, and which not."""
    said: dict[str, list[str]] = {}
    for row in run.model.card["comparisons"]:
        if row["baseline"] and row["metric"] == "auroc":
            said.setdefault(row["verdict"], []).append(readable(row["model"]))
    parts = []
    if "does not beat" in said:
        parts.append(f"In AUROC the model does not beat {_join(said['does not beat'])}")
    if "beats" in said:
        parts.append(f"it beats {_join(said['beats'])}")
    if "ahead by point estimate only" in said:
        ahead = _join(said["ahead by point estimate only"])
        parts.append(f"it is ahead of {ahead} by point estimate only")
    if not parts:
        return "No baseline could be compared."
    text = "; ".join(parts) + "."
    return text if text.startswith("In AUROC") else f"In AUROC {text}"


def tiles(run: Run) -> dict[str, Cell]:
    """Return the figures that stand first."""
    metrics = run.metrics
    if not metrics:
        return {}
    found: dict[str, Cell] = {
        "prediction times": count(metrics["n"], metric="n"),
        "with the outcome": (
            count(metrics["events"], metric="events"),
            " (",
            share(metrics["prevalence"], metric="prevalence"),
            ")",
        ),
        "AUROC": interval(metrics["auroc"], metric="auroc", places=2),
        "calibration slope": interval(
            metrics["calibration_slope"], metric="calibration_slope", places=2
        ),
    }
    best = _best_baseline(metrics, set(run.experiment.get("baselines") or ()))
    if best is not None:
        found[f"AUROC gain over {readable(best)}"] = interval(
            metrics["differences"][best]["auroc"],
            metric=metric_key("gain_over", best, "auroc"),
            places=2,
            sign="+",
        )
    return found


def figure(run: Run, name: str, caption: str) -> list[Block]:
    """Return a plot of the run, if it has it."""
    return [Figure(name, run.plots[name], caption)] if name in run.plots else []


def _best_baseline(metrics: dict[str, Any], baselines: set[str]) -> str | None:
    """Return the baseline of the highest AUROC."""
    found = {
        name: values["auroc"]["value"]
        for name, values in metrics["models"].items()
        if name in baselines and values["auroc"]["value"] is not None
    }
    return max(found, key=lambda name: found[name]) if found else None


def _verdict(run: Run, name: str) -> str:
    """Return the card's verdict in AUROC."""
    for row in run.model.card["comparisons"]:
        if row["model"] == name and row["metric"] == "auroc":
            return str(row["verdict"])
    return ""


def _join(names: list[str]) -> str:
    """Join names as a sentence does.

    Examples
    --------
    >>> _join(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
