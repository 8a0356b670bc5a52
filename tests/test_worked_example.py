"""The worked example: every command of the page, in its order, on the open data.

Whole it takes minutes: ``MAGML_WORKED_EXAMPLE=1``. Otherwise Boston has 500 people and a small
model, the network the tables that its cohort needs, and commands that have tests of their own
(registry, services, review, check) are only parsed. Then its figures are not those of the page.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import ExitStack
from pathlib import Path

import duckdb
import httpx
import pandas as pd
import pytest
import yaml
from typer.main import get_command

from magml.cli.app import app
from tests.conftest import ROOT
from tests.guide.here import run, terminal
from tests.guide.page import blocks

WHOLE = bool(os.environ.get("MAGML_WORKED_EXAMPLE"))
#: People of the network with any magnesium value.
MEASURED = """uniquepid IN (SELECT uniquepid FROM '{data}/patient.parquet' JOIN
    '{data}/hourly.parquet' h ON h.stay_id = patientunitstayid WHERE h.mg IS NOT NULL)"""
#: What a run in seconds leaves out; its commands are parsed.
PARSED = ("magml sync", "magml promote", "magml serve", "magml verify-reviews", "magml review ",
          "magml check", "curl", "mlflow.")  # fmt: skip
ORIGIN = {"Origin": "http://127.0.0.1:8767", "Sec-Fetch-Site": "same-origin"}


def small(folder: Path, data: Path) -> None:
    """Give both few people and tables, and a model and a study that are fitted in seconds."""
    for name in ("boston", "network"):
        (folder / "data" / name).mkdir()
    # The cohort stays whole: everybody with a magnesium value.
    for name, condition in (("hourly", "mg IS NOT NULL OR k IS NOT NULL"), ("patient", MEASURED)):
        source = data / "eicu_demo" / f"{name}.parquet"
        duckdb.sql(
            f"COPY (SELECT * FROM '{source}' WHERE {condition.format(data=data / 'eicu_demo')}) "
            f"TO '{folder / 'data' / 'network' / name}.parquet'"
        )
    events = pd.read_parquet(data / "physionet2012" / "events.parquet")
    people = sorted(events["RecordID"].unique())[:500]
    events[events["RecordID"].isin(people)].to_parquet(folder / "data/boston/events.parquet")
    for name, change in (
        ("models/hypomagnesemia_follow.yaml", {"estimator": {"members": 2, "rounds": 8}}),
        (
            "experiments/physionet2012_follow.yaml",
            {
                "validation": {"folds": 2, "replicates": 100},
                "cohort": {"training_offsets": []},
                "baselines": ["last_magnesium"],
            },
        ),
    ):
        content = yaml.safe_load((ROOT / name).read_text())
        for key, values in change.items():
            content[key] = (
                {**content.get(key, {}), **values} if isinstance(values, dict) else values
            )
        (folder / name).parent.mkdir()
        (folder / name).write_text(yaml.safe_dump(content))


@pytest.fixture
def place(tmp_path: Path, shared_data: Path) -> Path:
    (tmp_path / "data").mkdir()
    if WHOLE:
        (tmp_path / "data" / "network").symlink_to(shared_data / "eicu_demo")
        (tmp_path / "data" / "boston").symlink_to(shared_data / "physionet2012")
    else:
        small(tmp_path, shared_data)
    return tmp_path


def sign_one(address: str) -> None:
    """Do what the page leaves to a reader: log in, open one patient, agree."""

    def hidden(text: str, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]+)"', text)
        assert found, name
        return found.group(1)

    with httpx.Client(base_url=address, headers=ORIGIN, follow_redirects=True) as ada:
        password = "a long enough password"
        ada.post("/login", data={"name": "ada", "password": password, "next": "/"})
        page = re.search(r'href="(/patient/[^"]+)"', ada.get("/").text)
        assert page is not None
        shown = ada.get(page.group(1)).text
        form = {name: hidden(shown, name) for name in ("token", "form")}
        sent = ada.post(page.group(1), data={**form, "size": "", "overall": "agree"})
        assert sent.status_code == 200


def parsed(text: str) -> None:
    """Fail where a command or one of its options does not exist."""
    for line in text.splitlines():
        if line.startswith("magml "):
            _, name, *rest = shlex.split(line, comments=True)
            command = get_command(app).commands[name]  # type: ignore[attr-defined]
            command.make_context(name, rest)


def follow(place: Path) -> dict[str, str]:
    """Run the page and return what each block printed."""
    said: dict[str, str] = {}
    with ExitStack() as terminals:
        for block in blocks("worked-example"):
            if not WHOLE and any(word in block.text for word in PARSED):
                parsed(block.text)
            elif block.server is None:
                said[block.text] = run(block, place)
            else:
                terminals.enter_context(terminal(block, place))
                if "magml review" in block.text:
                    sign_one(block.server.removesuffix("/login"))
    if folder := os.environ.get("MAGML_WORKED_OUTPUT"):
        text = "\n".join(f"$ {command}\n{output}" for command, output in said.items())
        (Path(folder) / "worked.txt").write_text(text)
    return said


@pytest.mark.data
@pytest.mark.slow
def test_every_command_of_the_worked_example(place: Path) -> None:
    said = follow(place)

    def told(command: str) -> str:
        return next(output for text, output in said.items() if command in text)

    # The network's cohort is the whole one in either case.
    cohort = "797 prediction times of 709 people; 424 with a known outcome, 50 cases"
    assert cohort in told("magml cohort")
    assert "196 prediction times of 187 people, 28 cases" in told("magml validate incoming")
    assert "1 judged against the rows before 2015-01-01" in told("magml monitor")
    for written in ("report.html", "monitoring.html", "network-2014.json", "reasons.csv",
                    "validation-2015/validation.json"):  # fmt: skip
        assert (place / written).is_file(), written
    if not WHOLE:
        return
    assert "Pages reviewed: 1;" in told("magml review-summary")
    # The service followed the alias: another bundle before, Boston's after.
    before, after = re.findall(r'"bundle": ?"(\w+)"', told("magml rollback"))
    assert before != after
    assert told("get_registered_model").strip() == "{}"
