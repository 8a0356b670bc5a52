"""The demonstration: a synthetic hospital through the same path as real records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from magml.errors import InputError
from magml.experiments.run import train
from magml.files import atomic_file
from magml.progress import Report, part, silent
from magml.simulation import generate_hospital
from magml.spreadsheet import neutralised

_MARK = "made-by-magml-demo"


def run_demo(
    out: str | Path = "demo-output", *, subjects: int = 4000, seed: int = 1, report: Report = silent
) -> dict[str, Any]:
    """Generate a hospital, train on it, score and explain new patients of another one.

    Parameters
    ----------
    out
        Folder for everything, the MLflow store included. A folder of an earlier demonstration
        is written into again.
    subjects
        Number of synthetic people to train on.
    seed
        Seed of everything.
    report
        Progress.

    Returns
    -------
    dict
        Paths, figures, and ``text``: what to look at, as printed by ``magml demo``.
    """
    from magml.bundle import load

    folder = Path(out)
    if folder.exists() and not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise InputError(
            f"'{folder.name}' exists and is not a demonstration's",
            "a new folder",
            "choose another --out",
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text("This folder was made by 'magml demo' and may be removed.\n")
    report(0.0, "generating a synthetic hospital")
    records = generate_hospital(subjects, seed).write(folder / "records")
    newcomers = generate_hospital(200, seed + 1_000_003)
    result = train(
        "demo",
        data=records,
        out=folder,
        quick=True,
        tracking_uri=f"sqlite:///{(folder / 'mlflow.db').resolve().as_posix()}",
        report=part(report, 0.02, 0.92),
    )
    report(0.93, "scoring and explaining new patients")
    model = load(result.bundle)
    from magml.events import read_events

    events = read_events(newcomers.events)
    at = events.connection.execute(
        "SELECT subject_id, time + INTERVAL 6 HOUR AS prediction_time "
        f"FROM {events.relation} WHERE code = 'VISIT//inpatient' ORDER BY subject_id"
    ).df()
    scores = model.score(events, at)
    with atomic_file(folder / "scores.csv") as beside:
        scores.to_csv(beside, index=False)
    highest = at.iloc[np.argsort(-scores["risk"].to_numpy(), kind="stable")[:20]]
    why = model.explain(events, highest)
    with atomic_file(folder / "reasons.csv") as beside:
        neutralised(why.reasons()).to_csv(beside, index=False)
    why.plot(row=0, level="concept", path=folder / "waterfall.png")
    report(1.0, "done")
    return {**result.to_dict(), "folder": str(folder), "text": _text(folder, result.summary())}


def _text(folder: Path, summary: str) -> str:
    """Return what the demonstration prints at its end."""
    return f"""
{summary}

The people are synthetic: these figures show that magml finds a generator's rules again, and
nothing about patients.

Look at
  {folder}/demo/results/plots/       calibration, ROC, decision curve and more
  {folder}/demo/bundle/card.md       the model card
  {folder}/scores.csv                200 new patients: risk, instability range, band, warnings
  {folder}/reasons.csv               why, for the 20 of highest risk, with the evidence
  {folder}/waterfall.png             the same for one patient, as a picture

The runs, with parameters, figures and the registered model:
  mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db

Next: docs/getting-started.md trains on your own records.""".strip("\n")
