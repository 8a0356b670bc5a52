"""The results of a run as files: tables, plots, and a page of text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.experiments.characteristics import characteristics, share_missing
from magml.experiments.result import metrics_of
from magml.experiments.units_account import units_account
from magml.files import pretty_json
from magml.spreadsheet import neutralised

if TYPE_CHECKING:
    import pandas as pd

    from magml.ascertainment import Correction
    from magml.evaluation import Performance
    from magml.experiments.audit import Audit
    from magml.experiments.details import Details
    from magml.experiments.explaining import Explained
    from magml.experiments.instability import Instability
    from magml.experiments.study import Study
    from magml.models.nested import NestedResult


@dataclass(frozen=True, eq=False)
class Extras:
    """What was asked for beyond a run: other thresholds, instability of risks, who was tested."""

    thresholds: pd.DataFrame | None = None
    instability: Instability | None = None
    correction: Correction | None = None


def write_results(
    folder: Path,
    study: Study,
    nested: NestedResult,
    performance: Performance,
    details: Details,
    audit: Audit,
    extras: Extras,
    explained: Explained,
) -> None:
    """Write what a run found: no row of a patient among it.

    ``metrics.json`` and CSV tables of metrics, paired differences, net benefit, calibration,
    attrition, folds and missingness; tests needed per case, subgroups and sensitivity, with
    ``details.json``; ``audit.json`` (the leak audit); ``units.json`` (how values were mapped and
    converted); ``characteristics.csv`` (table 1); ``explanations.json`` (what the final model
    uses); plots; where asked for, figures at other thresholds, the instability of risks, and raw
    beside corrected figures for who was tested (``ascertainment.json`` and tables).
    """
    from magml.evaluation import write_plots
    from magml.evaluation.testing_plot import plot_testing

    folder.mkdir(parents=True)
    kept = nested.fold >= 0
    (folder / "metrics.json").write_text(
        pretty_json(metrics_of(performance, nested.not_computable, extras.correction)),
        encoding="utf-8",
    )
    for name in ("metrics", "differences", "net_benefit", "calibration"):
        getattr(performance, name).to_csv(folder / f"{name}.csv", index=False)
    _table(folder / "attrition.csv", [asdict(step) for step in study.rows.attrition])
    _table(folder / "folds.csv", fold_rows(nested))
    _table(folder / "missingness.csv", missingness(study))
    (folder / "units.json").write_text(pretty_json(units_account(study)), encoding="utf-8")
    _table(folder / "characteristics.csv", characteristics(study))
    (folder / "notes.txt").write_text("\n".join(study.rows.notes) + "\n", encoding="utf-8")
    write_plots(
        performance,
        study.rows.labels[kept],
        {name: risk[kept] for name, risk in nested.risks.items()},
        folder / "plots",
        outcome="low magnesium",
    )
    details.testing.to_csv(folder / "testing.csv", index=False)
    _write_extras(folder, extras)
    plot_testing(performance, details.testing, folder / "plots" / "testing.png")
    neutralised(details.subgroups.table).to_csv(folder / "subgroups.csv", index=False)
    if details.sensitivity is not None:
        details.sensitivity.table.drop(columns="dimension").to_csv(
            folder / "sensitivity.csv", index=False
        )
    (folder / "audit.json").write_text(pretty_json(audit.to_dict()), encoding="utf-8")
    (folder / "details.json").write_text(pretty_json(details.summary()), encoding="utf-8")
    explained.write(folder)


def _write_extras(folder: Path, extras: Extras) -> None:
    """Write what was asked for beyond a run."""
    if extras.thresholds is not None:
        extras.thresholds.to_csv(folder / "thresholds.csv", index=False)
    if extras.instability is not None:
        from magml.experiments.instability import plot_instability

        found = extras.instability
        found.table.to_csv(folder / "instability.csv", index=False)
        (folder / "instability.json").write_text(pretty_json(found.to_dict()), encoding="utf-8")
        plot_instability(found, folder / "plots" / "instability.png")
    if extras.correction is not None:
        from magml.ascertainment.plot import plot_ascertainment

        corrected = extras.correction
        corrected.table.to_csv(folder / "ascertainment.csv", index=False)
        corrected.sensitivity.to_csv(folder / "ascertainment_sensitivity.csv", index=False)
        corrected.balance.to_csv(folder / "ascertainment_balance.csv", index=False)
        text = pretty_json(corrected.to_dict())
        (folder / "ascertainment.json").write_text(text, encoding="utf-8")
        plot_ascertainment(corrected, folder / "plots" / "ascertainment.png")


def fold_rows(nested: NestedResult) -> list[dict[str, Any]]:
    """Return one plain row a fold: sizes, what was chosen, and notes of the baselines."""
    return [
        {
            "fold": fold.number + 1,
            "train": fold.train,
            "train_cases": fold.train_cases,
            "test": fold.test,
            "test_cases": fold.test_cases,
            "features": len(fold.features),
            "rounds": fold.estimator.rounds,
            "parameters": json.dumps(fold.estimator.parameters, sort_keys=True),
            "calibrator": fold.calibrator.method,
            "notes": "; ".join(f"{name}: {note}" for name, note in fold.notes.items() if note),
        }
        for fold in nested.folds
    ]


def missingness(study: Study) -> list[dict[str, Any]]:
    """Return, for each feature, the share of rows without a value, by outcome.

    A share is left empty where it speaks of fewer than ten people, or would give such a one away.
    """
    import numpy as np

    kept = study.rows.evaluated
    labels = study.rows.labels[kept].astype(bool)
    persons = study.rows.persons[kept]
    everybody = np.ones(len(labels), dtype=bool)
    place = {name: position for position, name in enumerate(study.matrix.names)}
    rows = []
    for name in study.features:
        known = ~np.isnan(study.matrix.values[kept, place[name]])
        whole, cases, others = (
            share_missing(known[chosen], persons[chosen]) for chosen in (everybody, labels, ~labels)
        )
        if None in (whole, cases, others):
            cases = others = None  # one of three follows from the two others
        rows.append(
            {
                "feature": name,
                "missing": whole,
                "missing_in_cases": cases,
                "missing_in_others": others,
            }
        )
    return rows


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write plain rows as CSV."""
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False)


def refuse_foreign(folder: Path) -> None:
    """Refuse to replace a folder that no run of magml wrote."""
    ours = (folder / "bundle" / "manifest.json").is_file()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"'{folder.name}' exists and is not a run of magml",
            "a new folder, or an earlier run to replace",
            "choose another --out",
        )
