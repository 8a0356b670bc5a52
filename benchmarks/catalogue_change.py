"""Compare two catalogues on the same rows, folds and seeds, with paired intervals.

    python benchmarks/catalogue_change.py eicu_screen --data ../shared/data/eicu_demo \
        --before EARLIER --out change.md

`EARLIER` is a folder with an earlier ``features/`` (and ``models/``, ``experiments/``), as
``git worktree add EARLIER COMMIT`` makes one. Both catalogues go through the same nested
cross-validation; no row is predicted by a model that saw its fold.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from magml.experiments.study import Definitions, build_study, cross_validate, read_definitions
from magml.files import atomic_file
from magml.progress import Lines

METRICS = {"auroc": "AUROC", "log_loss": "log loss", "brier": "Brier"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--before", type=Path, required=True, help="workspace of the earlier one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="no search")
    options = parser.parse_args()
    lines = [
        "| study | n | events | features | measure | before | now | difference (95% interval) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in options.experiments:
        lines += compare(name, options)
        print("\n".join(lines), flush=True)
    with atomic_file(options.out) as beside:
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def compare(name: str, options: argparse.Namespace) -> list[str]:
    """Return the rows of one study."""
    from magml.evaluation import evaluate

    now = _plain(read_definitions(name, by_labels=False))
    then = _plain(read_definitions(name, by_labels=False, workspace=options.before))
    # The cohort, the model's settings and the seed are those of today: only the catalogue differs.
    then = replace(now, catalogue=then.catalogue)
    seed = now.experiment.validation.seed
    risks, features, study = {}, {}, None
    for label, definitions in (("now", now), ("before", then)):
        study = build_study(definitions, data=options.data, report=Lines())
        nested = cross_validate(study, seed=seed, quick=options.quick, threads=None, report=Lines())
        kept = nested.fold >= 0
        risks[label] = next(iter(nested.risks.values()))[kept]
        features[label] = len(study.features)
        labels, groups = study.rows.labels[kept], study.resampled_by[kept]
    found = evaluate(
        labels,
        risks,
        groups=groups,
        replicates=now.experiment.validation.replicates,
        seed=seed,
    )
    rows = []
    for metric, shown in METRICS.items():
        row = found.differences.query("model == 'before' and metric == @metric").iloc[0]
        rows.append(
            f"| `{name}` | {found.n} | {found.events} | {features['before']} to {features['now']} "
            f"| {shown} | {found.value(metric, 'before')[0]:.3f} | {found.value(metric)[0]:.3f} "
            f"| {row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f}) |"
        )
    return rows


def _plain(definitions: Definitions) -> Definitions:
    """Leave out what the comparison does not need."""
    experiment = definitions.experiment.model_copy(update={"ablations": (), "baselines": ()})
    return replace(definitions, experiment=experiment)


if __name__ == "__main__":
    main()
