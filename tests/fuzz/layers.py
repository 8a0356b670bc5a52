"""The layers below whole readers, each cheap enough to be run by the ten thousand."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.choices import Choices
from tests.fuzz.seeds import FOODS, folders, kept_connection


def cells(data: bytes) -> None:
    """Bring texts to numbers, times and doses, as every reader of tables does."""
    from magml.events.table import reading
    from magml.sources.scans import known_at, typed

    choices = Choices(data)
    # A lone surrogate is no text that a file could hold.
    texts = [
        choices.cell().encode("utf-8", "replace").decode() for _ in range(1 + choices.below(6))
    ]
    zone = choices.one((None, "Europe/Athens", "America/New_York"))
    kinds = {kind: typed("c", "VARCHAR", kind, zone) for kind in ("BIGINT", "DOUBLE", "TIMESTAMP")}
    moment = kinds["TIMESTAMP"]
    listed = ", ".join([*kinds.values(), *_dose_columns(), known_at(f"({moment})", delay=3600)])
    connection = kept_connection()
    with reading("cells"):
        rows = connection.execute(
            f"SELECT {listed} FROM (SELECT unnest($1::VARCHAR[]) AS c)", [texts]
        ).fetchall()
    assert len(rows) == len(texts)


@cache
def _dose_columns() -> tuple[str, ...]:
    from magml.sources.orders import ordered_dose, written_amount

    number, unit = written_amount("c")
    return number, unit, *ordered_dose("40.0", "'mg'", "c")


def names(data: bytes) -> None:
    """Look codes, names and units up."""
    from magml.elixhauser import elixhauser
    from magml.features.names import matches, normal_name, order_marks, words
    from magml.sources.meds_codes import meaning
    from magml.units.spellings import canonical_or_none, loose_form

    choices = Choices(data)
    text, other = choices.text(), choices.text()
    start = choices.one(("DRUG//", "LAB//", "LOINC//", "ICD10CM//", "MEDICATION//", "CARE//", ""))
    code = f"{start}{text}" + choices.one(("", "//as needed", "//cancelled", "//", f"//{other}"))
    assert all("." in concept for concept in matches(_catalogue(), code))
    rest, marks = order_marks(code)
    assert code.startswith(rest)
    assert marks or rest == code
    words(text)
    normal_name(text)
    found = meaning(code, choices.one((None, other)), (other,) if choices.below(2) else ())
    assert not code or all(found.codes)
    canonical_or_none(text)
    loose_form(text)
    if choices.below(4) == 0:
        elixhauser([text, other])


def doses(data: bytes) -> None:
    """Bring the unit of a dose to the unit of a concept."""
    from magml.units.doses import dose_scale

    choices = Choices(data)
    unit = choices.one(("mg", "g/day", "mEq", "units", "mmol/h", "MCG", "tab", "mL/hr"))
    unit = choices.text() if choices.below(2) else choices.damaged(unit.encode()).decode("latin-1")
    dose, drug = choices.one(_dosed())
    dose_scale(unit, dose, drug)


def aggregates(data: bytes) -> None:
    """Pool what other hospitals exported."""
    from magml.validation import pool

    choices = Choices(data)
    folder, made = folders()["yaml"], []
    for number in range(2 + choices.below(2)):
        value: Any = _export(number)
        if choices.below(3):
            value = choices.changed(value, ("metrics", "metric", "value", "low", "high", "n"), 3)
        content = json.dumps(value).encode()
        path = folder / f"site-{number}.json"
        path.write_bytes(content if choices.below(6) else choices.damaged(content))
        made.append(path)
    table = pool(made)
    assert (table["low"] <= table["high"]).all()


def signature(data: bytes) -> None:
    """Check a signature that nobody made."""
    from magml.bundle.manifest import VerifiedFiles
    from magml.bundle.sign import check_signature

    choices = Choices(data)
    entry = {"key": _public_key()[1], "algorithm": "Ed25519", "signature": "00" * 64}
    good = {"format": "magml signature", "version": 1, "bundle": "0" * 64, "signatures": [entry]}
    content = json.dumps(choices.changed(good, (*good, *entry)) if choices.below(3) else good)
    raw = content.encode("utf-8", "surrogatepass")
    check_signature(
        VerifiedFiles("0" * 64, {}, 1, choices.damaged(raw) if not choices.below(3) else raw),
        [_public_key()[0]],
    )
    raise AssertionError("a signature that nobody made was taken")


def foods(data: bytes) -> None:
    """Read what people wrote about food: records, forms, charts, questionnaires, a food table."""
    from magml.diet import (
        feeding_events,
        food_events,
        form_events,
        questionnaire_events,
        read_food_table,
    )

    choices, table = Choices(data), _foods()
    readers: dict[str, Any] = {
        "foods.csv": read_food_table,
        "eaten.csv": lambda path: food_events(path, table),
        "asked.csv": lambda path: questionnaire_events(path, table),
        "form.csv": form_events,
        "chart.csv": lambda path: feeding_events(path, table),
    }
    name = choices.one(sorted(FOODS))
    path = folders()["foods"] / f"x-{name}"
    path.write_bytes(choices.spoiled(FOODS[name].encode()))
    readers[name](path)


def guesses(data: bytes) -> None:
    """Guess what the columns of somebody's tables mean."""
    from magml.workspace.mapping import guess_mapping

    choices = Choices(data)
    folder = folders()["guesses"]
    name = choices.one(("labs.csv", "drugs.csv"))
    head = {"labs.csv": "patient_id,drawn_at,test,result,unit",
            "drugs.csv": "pid,start,stop,drug,dose"}[name]  # fmt: skip
    rows = ["7,2025-03-01 08:00,K,3.1,mmol/L", "8,2025-03-02,omeprazole,40,mg"]
    content = "\n".join([head, *rows]).encode()
    for path in folder.iterdir():
        path.unlink()
    (folder / name).write_bytes(choices.spoiled(content))
    guess_mapping(folder)


@cache
def _foods() -> Any:
    from magml.diet import read_food_table

    return read_food_table(folders()["foods"] / "foods.csv")


@cache
def _catalogue() -> Any:
    from magml.definitions import read_catalogue

    return read_catalogue()


@cache
def _dosed() -> tuple[Any, ...]:
    found = [concept.dose for _, _, concept in _catalogue().concepts() if concept.dose is not None]
    return tuple((dose, drug) for dose in found for drug in dose.drugs.values())


def _export(number: int) -> dict[str, Any]:
    from magml.validation.aggregate import FORMAT

    metrics = [
        {"metric": name, "value": value + 0.01 * number, "low": value - 0.1, "high": value + 0.1}
        for name, value in (("auroc", 0.7), ("calibration_slope", 0.9), ("observed_expected", 1.1))
    ]
    return {"format": FORMAT, "bundle": "0" * 64, "n": 500, "events": 60, "metrics": metrics}


@cache
def _public_key() -> tuple[Path, str]:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from magml.bundle.sign import _fingerprint, make_signing_key

    public = make_signing_key(folders()["yaml"] / "key.pem")[1]
    return public, _fingerprint(load_pem_public_key(public.read_bytes()))  # type: ignore[arg-type]
