"""The command line: what it prints, how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from magml.simulation import generate_hospital
from tests.conftest import ROOT
from tests.test_train import small_workspace


def magml(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from magml.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with records and a trained bundle, made by the command line itself."""
    folder = small_workspace(tmp_path_factory.mktemp("place"))
    generate_hospital(700, seed=4).write(folder / "records")
    done = magml(
        "train", "experiments/demo.yaml", "--data", "records", "--quick", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # stdout holds that object alone
    assert {"bundle", "run_id", "metrics"} <= set(result)
    assert result["run_id"]
    assert (folder / result["bundle"] / "manifest.json").is_file()
    assert "%" in done.stderr  # progress
    return folder


BUNDLE = "runs/demo/bundle"


def test_help_names_the_verbs_and_imports_nothing_heavy(tmp_path: Path) -> None:
    done = magml("--help", cwd=tmp_path)
    assert done.returncode == 0
    for verb in ("demo", "init", "check", "train", "score", "explain", "features"):
        assert verb in done.stdout
    code = (
        "import sys; import magml.cli, magml; "
        "print([m for m in ('numpy','pandas','duckdb','xgboost','mlflow','sklearn','matplotlib') "
        "if m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_score_and_explain_by_events_and_by_experiment(place: Path) -> None:
    done = magml(
        "score", BUNDLE, "--events", "records/events.parquet", "--at", "2024-12-30",
        "--out", "scores.parquet", "--json", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 700
    scores = pd.read_parquet(place / "scores.parquet")
    assert list(scores.columns) == [
        "subject_id", "prediction_time", "risk", "risk_low", "risk_high", "band", "warnings",
    ]  # fmt: skip
    by = ("--experiment", "experiments/demo.yaml", "--data", "records")
    done = magml("score", BUNDLE, *by, "--source-ids", "--out", "cohort.csv", cwd=place)
    assert done.returncode == 0, done.stderr
    cohort = pd.read_csv(place / "cohort.csv")
    assert cohort["source_id"].str.startswith("demo-").all()
    done = magml(
        "explain", BUNDLE, *by, "--out", "why.csv", "--plots", "plots", "--plots-of", "1", cwd=place
    )
    assert done.returncode == 0, done.stderr
    why = pd.read_csv(place / "why.csv")
    assert list(why.columns) == [
        "subject_id", "prediction_time", "domain", "concept", "feature", "value", "unit",
        "log_odds", "risk", "stability", "evidence",
    ]  # fmt: skip
    assert why["subject_id"].nunique() == len(cohort)
    # Of float32, the fewest digits that say which: at most nine, a sign, a point and zeros.
    text = pd.read_csv(place / "why.csv", dtype=str)
    assert text[["value", "stability"]].stack().str.len().max() <= 15
    assert [path.name for path in (place / "plots").iterdir()] == ["waterfall-001.png"]


def test_the_registry_gives_the_same_model(place: Path) -> None:
    at = ("--events", "records/events.parquet", "--at", "2024-12-30")
    for reference, out in ((BUNDLE, "a.csv"), ("models:/hypomagnesemia_screen@champion", "b.csv")):
        done = magml("score", reference, *at, "--out", out, cwd=place)
        assert done.returncode == 0, done.stderr
    assert (place / "a.csv").read_text() == (place / "b.csv").read_text()


def test_features_are_printed_and_written(place: Path) -> None:
    done = magml("features", "--domain", "lab", "--json", cwd=place)
    rows = json.loads(done.stdout)["features"]
    assert {row["domain"] for row in rows} == {"lab"}
    done = magml(
        "features", "--events", "records/events.parquet", "--at", "2024-12-30",
        "--domain", "demographic", "--out", "x.parquet", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(place / "x.parquet")
    assert list(table.columns[:2]) == ["subject_id", "prediction_time"]
    assert len(table) == 700


def test_check_prints_and_writes_what_is_wrong(place: Path) -> None:
    done = magml("check", "records/events.parquet", "--html", "check.html", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "people" in done.stdout.splitlines()[0]
    assert "What the data hold of the catalogue" in done.stdout
    assert (place / "check.html").read_text().startswith("<!doctype html>")
    done = magml("check", "--source", "events", "--data", "records", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["people"] == 700
    assert report["counts"]["error"] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("check",), "magml check EVENTS, or"),
        (("check", "absent.parquet"), "absent.parquet"),
        (("check", "x" * 300), "cannot be used (File name too long)"),
        (("check", "--source", "evnts", "--data", "records"), "did you mean 'events'"),
        (
            ("check", "--source", "events", "--data", "records", "--option", "zone"),
            "no key=value",
        ),
        (("check", "records/events.parquet", "--option", "a=b"), "add --source"),
        (("check", "records/events.parquet", "--html", "page.txt"), "does not end in .html"),
        (("train", "experiments/dmo.yaml", "--data", "records"), "did you mean 'demo'"),
        (("train", "experiments/demo.yaml"), "add --data FOLDER"),
        (("train", "experiments/demo.yaml", "--data", "nowhere"), "nowhere"),
        (("score", BUNDLE), "--events with --at or --labels"),
        (
            ("score", "nowhere", "--events", "records/events.parquet", "--at", "2024-12-30"),
            "nowhere",
        ),
        (("score", BUNDLE, "--events", "absent.parquet", "--at", "2024-12-30"), "absent.parquet"),
        (
            (
                "score",
                BUNDLE,
                "--events",
                "records/events.parquet",
                "--at",
                "2024-12-30",
                "--out",
                "x.xls",
            ),
            "neither .parquet nor .csv",
        ),
        (
            ("score", BUNDLE, "--events", "records/events.parquet", "--at", "1900-01-01"),
            "before the first record",
        ),
        (("features", "--domain", "labs"), "did you mean 'lab'"),
        (("score", BUNDLE, "--evnts", "x"), "No such option"),
    ],
)
def test_wrong_input_is_one_message_and_status_2(
    place: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = magml(*arguments, cwd=place)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert str(place) not in done.stderr


def test_a_tampered_bundle_does_not_load(place: Path) -> None:
    import shutil

    shutil.copytree(place / BUNDLE, place / "tampered")
    path = place / "tampered" / "calibrator.json"
    path.write_text(path.read_text().replace("logistic", "logistik"))
    done = magml(
        "score", "tampered", "--events", "records/events.parquet", "--at", "2024-12-30", cwd=place
    )
    assert done.returncode == 2
    assert "calibrator.json" in done.stderr


def test_errors_are_json_for_machines(place: Path) -> None:
    done = magml("train", "experiments/demo.yaml", "--json", cwd=place)
    assert done.returncode == 2
    assert "needs data" in json.loads(done.stdout)["error"]
