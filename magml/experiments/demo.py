"""The demonstration: one simulated hospital through the same path as real records.

Two serum models are trained on what the hospital recorded, the shipped model of body status is
applied to it, and because everybody is simulated, it is held against what nobody could measure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from magml.errors import InputError
from magml.files import atomic_file
from magml.progress import Report, part, silent
from magml.spreadsheet import neutralised

_MARK = "made-by-magml-demo"
#: A test world: nothing that magml ships was trained or settled on it. Chosen
#: because its institution measures magnesium readily (`testing`), so that few patients suffice.
WORLD = 1_047
SCREEN, FOLLOW, STATUS = "demo_screen", "demo_follow", "low_body_status"
_NEW, _EXPLAINED = 200, 20


def run_demo(
    out: str | Path = "demo-output", *, subjects: int = 3500, seed: int = 1, report: Report = silent
) -> dict[str, Any]:
    """Simulate a hospital, train on its records, and hold three models against the truth.

    Parameters
    ----------
    out
        Folder for everything, the MLflow store included. A folder of an earlier demonstration
        is written into again.
    subjects
        Number of simulated patients.
    seed
        Seed of everything.
    report
        Progress.

    Returns
    -------
    dict
        `folder`, `page`, `bundles`, `models` (figures by model), `truth` (figures of the shipped
        model and its rivals against the loading test), and ``text``: what to look at, as printed
        by ``magml demo``.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    from magml.comparison import compare
    from magml.experiments.demo_page import write_page
    from magml.experiments.demo_truth import against_truth, labels_of
    from magml.experiments.run import train
    from magml.report import write_report
    from magml.simulation.world import simulate

    folder = _own_folder(Path(out))
    uri = f"sqlite:///{(folder / 'mlflow.db').resolve().as_posix()}"
    report(0.0, "simulating a hospital")
    world = simulate(subjects, seed, world=WORLD)
    written = _write_again(world, folder / "hospital")
    results = {}
    for number, name in enumerate((SCREEN, FOLLOW)):
        results[name] = train(
            name,
            data=written / "records",
            out=folder,
            quick=True,
            tracking_uri=uri,
            report=part(report, 0.08 + 0.27 * number, 0.35 + 0.27 * number),
        )
        write_report(folder / name, html=folder / f"{name}.html")
    ladder = compare(
        STATUS,
        events=world.events,
        labels=labels_of(world),
        out=folder / "comparison",
        quick=True,
        tracking_uri=uri,
        report=part(report, 0.62, 0.90),
    )
    report(0.90, "holding the shipped model against the truth")
    truth = against_truth(world, seed)
    report(0.94, "scoring and explaining new patients")
    newcomers = simulate(_NEW, seed + 1_000_003, world=WORLD)
    for name, bundle in {**{n: r.bundle for n, r in results.items()}, STATUS: STATUS}.items():
        _score_and_explain(folder, name, bundle, newcomers)
    page = write_page(folder / "results.html", world, results, ladder, truth)
    report(1.0, "done")
    return {
        "folder": str(folder),
        "page": str(page),
        "bundles": {name: str(result.bundle) for name, result in results.items()},
        "models": {name: result.metrics for name, result in results.items()},
        "truth": truth.to_dict(),
        "text": _text(folder, results, truth),
    }


def _own_folder(folder: Path) -> Path:
    """Return the folder, new or of an earlier demonstration."""
    if folder.exists() and not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise InputError(
            f"'{folder.name}' exists and is not a demonstration's",
            "a new folder",
            "choose another --out",
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text("This folder was made by 'magml demo' and may be removed.\n")
    return folder


def _write_again(world: Any, folder: Path) -> Path:
    """Write a hospital, in place of an earlier demonstration's."""
    import shutil

    if folder.exists():
        shutil.rmtree(folder)
    return Path(world.write(folder))


def _score_and_explain(folder: Path, name: str, bundle: Any, newcomers: Any) -> None:
    """Write scores of new patients, and reasons for those of highest risk."""
    from magml.bundle import load
    from magml.events import read_events

    model, events = load(bundle), read_events(newcomers.events)
    if name == STATUS:
        at = newcomers.truth[["subject_id", "prediction_time"]]
    else:  # the first stay of each
        at = events.connection.execute(
            "SELECT subject_id, min(time) AS prediction_time "
            f"FROM {events.relation} WHERE code = 'VISIT//inpatient' GROUP BY ALL ORDER BY ALL"
        ).df()
    scores = model.score(events, at)
    with atomic_file(folder / f"{name}_scores.csv") as beside:
        neutralised(scores).to_csv(beside, index=False)
    order = np.argsort(-scores["risk"].to_numpy(), kind="stable")
    why = model.explain(events, at.iloc[order[:_EXPLAINED]])
    with atomic_file(folder / f"{name}_reasons.csv") as beside:
        neutralised(why.reasons()).to_csv(beside, index=False)
    why.plot(row=0, level="concept", path=folder / f"{name}_waterfall.png")


def _text(folder: Path, results: dict[str, Any], truth: Any) -> str:
    """Return what the demonstration prints at its end."""
    summaries = "\n\n".join(result.summary() for result in results.values())
    return f"""
{summaries}

{truth.summary()}

Everybody is simulated: these figures show that magml finds the simulator's rules again, and
nothing about patients.

Look at
  {folder}/results.html              the page of results: three models, the ladder, the truth
  {folder}/{SCREEN}.html, {FOLLOW}.html   the report of each training
  {folder}/*_scores.csv              {_NEW} new patients: risk, instability range, band, warnings
  {folder}/*_reasons.csv             why, for the {_EXPLAINED} of highest risk, with the evidence
  {folder}/hospital/records/         what the hospital recorded; hospital/truth/ what it could not

The runs, with parameters, figures and registered models:
  mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db

Next: docs/getting-started.md trains on your own records.""".strip("\n")
