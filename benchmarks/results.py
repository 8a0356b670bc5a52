"""Run the studies on open data and write ``docs/results.md``.

    python benchmarks/results.py --data ../shared/data --out docs/results.md

Each study is run as ``magml train`` runs it, with single tuned XGBoost, LightGBM and CatBoost as
further baselines on the same rows and features. Every figure in the page comes from these runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

from magml.definitions import read_experiment
from magml.experiments import train
from magml.files import atomic_file
from magml.progress import Lines

#: What follows this line in the page is of other benchmarks and is kept as it is.
OTHERS = "<!-- written apart from here on -->"
STUDIES = {
    "physionet2012_screen": "physionet2012",
    "physionet2012_follow": "physionet2012",
    "eicu_screen": "eicu_demo",
    "eicu_follow": "eicu_demo",
    "nhanes1_screen": "nhanes1",
}
SHOWN = (
    ("auroc", "AUROC"),
    ("auprc", "AUPRC"),
    ("brier", "Brier"),
    ("log_loss", "log loss"),
    ("calibration_slope", "calibration slope"),
    ("calibration_intercept", "calibration intercept"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the open data sets")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are written")
    parser.add_argument("--only", nargs="*", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument(
        "--quick", action="store_true", help="no search (for a trial of this script)"
    )
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    for name in options.only:
        begun = time.monotonic()
        result = train(
            name,
            data=options.data / STUDIES[name],
            out=options.runs,
            quick=options.quick,
            peers=() if options.no_peers else ("xgboost", "lightgbm", "catboost"),
            report=Lines(),
        )
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        facts = {**result.to_dict(), "seconds": seconds, "peak_gib": peak, "quick": options.quick}
        (result.folder / "results" / "study.json").write_text(json.dumps(facts, indent=1))
        print(result.summary(), flush=True)
    studies = {}
    for name in STUDIES:
        path = options.runs / name / "results" / "study.json"
        if path.is_file():
            studies[name] = json.loads(path.read_text())
    kept = others(options.out)
    with atomic_file(options.out) as beside:
        beside.write_text(page(studies, options.runs) + kept, encoding="utf-8")


def others(path: Path) -> str:
    """Return the sections that other benchmarks wrote, from `OTHERS` on, or nothing."""
    written = path.read_text(encoding="utf-8") if path.is_file() else ""
    _, mark, after = written.partition(OTHERS)
    return f"\n{mark}{after}" if mark else ""


def page(studies: dict[str, dict[str, Any]], runs: Path) -> str:
    """Return the page of results."""
    parts = [INTRODUCTION]
    for name, facts in studies.items():
        parts.append(study_section(name, facts, runs / name / "results"))
    change = runs / "catalogue_change.md"
    if change.is_file():
        parts.append(CATALOGUE_CHANGE + change.read_text(encoding="utf-8"))
    return "\n".join(parts).rstrip() + "\n"


CATALOGUE_CHANGE = """## What the larger catalogue changed

Before: 634 features, labs, vital signs, medication, comorbidity, care, procedures and demographics.
Now: with the diet domain, more conditions, analytes and single drugs that the founding review
names (genetic and microbiome domains are no part of these models). Same rows, folds of hospitals,
seeds and search; differences are now minus before, intervals over hospitals
(`benchmarks/catalogue_change.py`). The published tables above are of the earlier catalogue.
**Nothing improves measurably:** the demo has no diet and few of the rarer records, and the figures
that move stay within their intervals.

"""


def study_section(name: str, facts: dict[str, Any], folder: Path) -> str:
    """Return one study's section: counts, models, differences, attrition, notes."""
    metrics, definition = facts["metrics"], read_experiment(name)
    variants = [item.name for item in definition.ablations]
    groups = "hospitals" if definition.validation.groups == "site" else "people"
    lines = [
        f"## {definition.title}",
        "",
        f"`{name}`: {metrics['n']:,} prediction times, {metrics['events']:,} cases "
        f"({metrics['prevalence']:.1%}); folds and bootstrap by {groups} ({metrics['groups']:,}). "
        f"Model `{definition.model}`.",
        "",
        "| model | " + " | ".join(title for _, title in SHOWN) + " |",
        "|" + "---|" * (len(SHOWN) + 1),
    ]
    for model, values in metrics["models"].items():
        if model not in variants:
            cells = " | ".join(cell(values[metric]) for metric, _ in SHOWN)
            lines.append(f"| {LABELS.get(model, model)} | {cells} |")
    lines += [
        f"| {LABELS.get(model, model)} | not computable: {reason} |" + " |" * (len(SHOWN) - 1)
        for model, reason in metrics["not_computable"].items()
    ]
    lines += [
        "",
        "Differences, model minus the other, paired on the same rows and resamples (AUROC: above 0 "
        "favours the model; log loss: below 0 does).",
        "",
        "| other | AUROC | log loss |",
        "|---|---|---|",
    ]
    for other, values in metrics["differences"].items():
        if other not in variants:
            lines.append(
                f"| {LABELS.get(other, other)} | {cell(values['auroc'], True)} | "
                f"{cell(values['log_loss'], True)} |"
            )
    if variants:
        lines += [
            "",
            "What the domains add: the same model on fewer domains, on the same rows.",
            "",
            "| domains | AUROC | log loss | AUROC of all domains minus this | log loss likewise |",
            "|---|---|---|---|---|",
        ]
        for variant in variants:
            values, gain = metrics["models"][variant], metrics["differences"][variant]
            lines.append(
                f"| {variant} | {cell(values['auroc'])} | {cell(values['log_loss'])} | "
                f"{cell(gain['auroc'], True)} | {cell(gain['log_loss'], True)} |"
            )
    lines += ["", "Who was left out:", "", "| step | people | prediction times | left out |"]
    lines.append("|---|---|---|---|")
    for row in csv_rows(folder / "attrition.csv"):
        lines.append(f"| {row['name']} | {row['people']} | {row['times']} | {row['left_out']} |")
    lines += ["", "Notes of the run:", ""]
    lines += [f"- {line}" for line in (folder / "notes.txt").read_text().splitlines() if line]
    lines += [
        "",
        f"Wall clock {facts['seconds'] / 60:.1f} min with the three tuned boosters, on 2 cores and "
        f"whatever else they did; peak memory of the process {facts['peak_gib']:.1f} GiB"
        + (", without search." if facts["quick"] else "."),
        "",
    ]
    return "\n".join(lines)


def cell(value: dict[str, float | None], sign: bool = False) -> str:
    """Return a value with its interval."""
    if value["value"] is None:
        return "not estimable"
    form = "{:+.4f}" if sign else "{:.3f}"
    text = form.format(value["value"])
    if value["low"] is None or value["high"] is None:
        return text
    return f"{text} ({form.format(value['low'])} to {form.format(value['high'])})"


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a small CSV file."""
    import csv

    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


LABELS = {
    "model": "**magml** (bagged XGBoost)",
    "last_magnesium": "last magnesium alone",
    "age_sex": "age + sex",
    "magnesium_depletion_score": "Magnesium Depletion Score + age + sex",
    "logistic": "penalised logistic regression, same features",
    "plain_xgboost": "plain XGBoost, defaults",
    "xgboost": "single XGBoost, tuned",
    "lightgbm": "single LightGBM, tuned",
    "catboost": "single CatBoost, tuned",
}

INTRODUCTION = """# Results on open data

Written by `benchmarks/results.py` (`make results`) from its runs. Nested cross-validation: a
row's risk was predicted by a model whose columns, search and calibration never saw its person
(PhysioNet 2012, NHANES I) or its hospital (eICU). Intervals are 95% percentile
intervals from resampling people or hospitals.
All models are calibrated in the same way. The tuned boosters see the same features and the rows of
the cohort; the model also trains on further prediction times of its training people
(`cohort.training_offsets`), which is part of the method. Much of the gain lies in these rows: in
exploratory cross-validation a single LightGBM that was given them too came level with the bag
(`magml.train(..., peers=["lightgbm"], peer_rows="all")` repeats that comparison).

What to keep in mind:

- The outcome is the first magnesium that somebody chose to measure in the next 24 hours. The
  figures speak for people who are tested in that way.
- Default parameters and the search space were chosen on PhysioNet 2012 sets a and b, with
  cross-validation over the same people. The nested figures below repeat the search inside the folds
  but not that choice, so they are slightly optimistic for PhysioNet 2012; they are not for eICU.
- PhysioNet 2012 and eICU are from intensive care in the United States. PhysioNet 2012 holds no
  drugs or diagnoses; the eICU demo holds few eligible people per hospital, and its intervals are
  wide. NHANES I (1971-75) is an outpatient examination; magnesium is added on to the same sample.
"""

if __name__ == "__main__":
    main()
