"""Everything of magml that reads input from outside, as targets for fuzzing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from magml.errors import InputError
from tests.fuzz import layers
from tests.fuzz.choices import Choices
from tests.fuzz.run import Target
from tests.fuzz.seeds import (
    BUNDLE,
    DEFINITIONS,
    KEYS,
    KINDS,
    REQUEST,
    RESOURCES,
    folders,
    kept_connection,
    xport_bytes,
)
from tests.fuzz.service import app

ATHENS = ZoneInfo("Europe/Athens")


def resources(choices: Choices) -> list[dict[str, Any]]:
    """Return resources: whole ones with changes, or the right keys with any values."""
    made = []
    for _ in range(1 + choices.below(3)):
        if choices.below(3):
            found = choices.changed(choices.one(RESOURCES), KEYS)
        else:
            found = {choices.one(KEYS): choices.value(KEYS, 3) for _ in range(choices.below(8))}
            found["resourceType"] = choices.one(KINDS)
            if choices.below(2):
                found |= {"id": "a", "subject": {"reference": "Patient/a"}}
        if isinstance(found, dict):
            made.append(found)
    return made


def fhir_rows(data: bytes) -> None:
    """Read resources into rows: what a Bundle and NDJSON share, without a database."""
    from magml.fhir.rows import Reader

    reader = Reader(ATHENS)
    made = resources(Choices(data))
    for resource in made:
        reader.remember(resource)
    for resource in made:
        for row in reader.rows(resource):
            assert row.code
            assert isinstance(row.subject_id, int)


def fhir_bundle(data: bytes) -> None:
    """Read a Bundle into a table of events."""
    from magml.fhir import read_bundle

    choices = Choices(data)
    made = resources(choices)
    bundle: Any = {"resourceType": "Bundle", "entry": [{"resource": one} for one in made]}
    if not choices.below(8):
        bundle = choices.changed(bundle, KEYS)
    read_bundle(bundle, connection=kept_connection(), zone="Europe/Athens").to_arrow()


def fhir_dates(data: bytes) -> None:
    """Read a date, and a code."""
    from magml.fhir.codes import DRUG, LAB, event_code
    from magml.fhir.times import span

    choices = Choices(data)
    digits = "0123456789-T:Z+. "
    text = choices.text() if choices.below(3) else "".join(
        choices.one(digits) for _ in range(choices.below(30))
    )  # fmt: skip
    found = span(text, ATHENS)
    assert found is None or found.start <= found.end
    event_code(choices.value(KEYS, 3), choices.one((DRUG, LAB)))


def requests(data: bytes) -> None:
    """Validate a request of the API and bring it to tables."""
    from pydantic import ValidationError

    from magml.service.messages import ExplainRequest, event_table, time_table

    choices = Choices(data)
    body = choices.changed(REQUEST, tuple(REQUEST["events"][1]))
    try:
        text = json.dumps(body)
        if not choices.below(6):
            text = choices.damaged(text.encode()).decode("utf-8", "replace")
        request = ExplainRequest.model_validate_json(text)
    except (ValidationError, UnicodeError):
        return
    try:
        event_table(request.events, "Europe/Athens")
        time_table(request.at, "Europe/Athens")
    except ValueError as error:
        raise InputError("a moment that is none", "as the API refuses it") from error


def definitions(data: bytes) -> None:
    """Read a definition file."""
    from magml.definitions.read import parse, read_yaml

    choices = Choices(data)
    model, text = choices.one(DEFINITIONS)
    path = folders()["yaml"] / "x.yaml"
    content = choices.damaged(text.encode()) if choices.below(4) else data
    path.write_bytes(content)
    parse(model, read_yaml(path), "x.yaml")


def manifest(data: bytes) -> None:
    """Read a small folder with a manifest that says other things."""
    from magml.bundle.manifest import MANIFEST, manifest_hash, read_verified

    choices = Choices(data)
    folder = folders()["manifest"]
    good = json.loads((folder.parent / "manifest.good").read_bytes())
    if choices.below(3):
        made = choices.changed(good, ("files", "a.json", "../b", "sha256", "size", "version"))
        if (
            isinstance(made, dict)
            and choices.below(2)
            and {"format", "version", "files"} <= set(made)
        ):
            with contextlib.suppress(ValueError, TypeError):  # NaN has no canonical form
                made = {**made, "hash": manifest_hash(made)}
        content = json.dumps(made).encode()
    else:
        content = choices.damaged(json.dumps(good).encode())
    (folder / MANIFEST).write_bytes(content)
    read_verified(folder)


def bundle(data: bytes) -> None:
    """Load a bundle whose hashes are right and whose content is not: a forged one."""
    from magml.bundle.load import model_of
    from magml.bundle.manifest import VerifiedFiles

    choices = Choices(data)
    files = dict(BUNDLE())
    name = choices.one([name for name in sorted(files) if name.endswith(".json")])
    if choices.below(4):
        value = json.loads(files[name])
        changed = choices.changed(value, tuple(value) if isinstance(value, dict) else KEYS)
        files[name] = json.dumps(changed).encode()
    elif choices.below(3):
        files[name] = choices.damaged(files[name])
    else:
        del files[name]
    model = model_of(VerifiedFiles("0" * 64, files), 1)
    import numpy as np

    model.score_matrix(np.zeros((2, len(model.features)), dtype=np.float32))


def monitored(data: bytes) -> None:
    """Read a bundle's account of its training, and thresholds."""
    from magml.monitoring import read_thresholds
    from magml.monitoring.distribution import Distribution

    choices = Choices(data)
    good = {
        "known": 0.9,
        "people": 50.0,
        "known_people": 40.0,
        "edges": [1.0],
        "shares": [0.5, 0.5],
    }
    # Its caller says what these mean; see Baseline.of_training.
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
        Distribution.from_dict(choices.changed(good, tuple(good)))
    read_thresholds(**{choices.one(("missing", "slope", "x")): choices.value(("a",), 1)})


def booster(data: bytes) -> None:
    """Load a booster of damaged bytes."""
    from magml.models.bag import Bag

    files = BUNDLE()
    name = min(name for name in files if name.endswith(".ubj"))
    import numpy as np

    bag = Bag.from_bytes([Choices(data).damaged(files[name])], list("abcdefg"))
    X = np.zeros((2, 7), dtype=np.float32)
    bag.margins(X)
    bag.contributions(X)


def units(data: bytes) -> None:
    """Map a code with a unit."""
    from magml.features.concepts import resolve
    from magml.units import canonical_unit
    from magml.units.conversion import conversion

    choices = Choices(data)
    plan, concept = _plan()
    plan.entries.clear()
    unit = choices.text() if choices.below(2) else choices.damaged(b"mmol/L").decode("latin-1")
    resolve(plan, choices.one(("LOINC//2823-3", "DRUG//" + choices.text(), choices.text())), unit)
    conversion(unit, concept)
    canonical_unit(unit)


def tokens(data: bytes) -> None:
    """Check a token of a record system."""
    choices = Choices(data)
    head = choices.one(
        (b"Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.AAAA", b"Bearer ", b"Basic x")
    )
    clients = _clients()
    clients.check(choices.damaged(head).decode("latin-1"))
    raise AssertionError("a token that nobody signed was taken")


def xport(data: bytes) -> None:
    """Read a SAS transport file."""
    from magml.sources.nhanes_files import read_table

    path = folders()["xport"] / "DEMO_C.XPT"
    path.write_bytes(Choices(data).damaged(xport_bytes()))
    read_table(path, ("RIAGENDR",), ("RIDAGEYR",))


def table(kind: str) -> Callable[[bytes], None]:
    """Return a reader of a damaged file of events, labels or prediction times."""

    def read(data: bytes) -> None:
        from magml.events import read_events, read_labels, read_prediction_times
        from magml.features import build_features

        choices = Choices(data)
        folder = folders()["tables"]
        good = (folder / f"good.{kind}").read_bytes()
        path = folder / f"x.{kind}"
        path.write_bytes(choices.spoiled(good) if kind == "csv" else choices.damaged(good))
        if choices.below(8):
            read_events(path, connection=kept_connection()).materialise()
        else:
            connection, kind_of = kept_connection(), choices.below(3)
            if kind_of == 2:
                build_features(path, "2030-01-01", features=["lab.potassium.last"])
                return
            reader = (read_labels, lambda *given: read_prediction_times(*given, None))[kind_of]
            relation = reader(path, connection)
            connection.execute(f"SELECT * FROM {relation}").fetchall()

    return read


def source(layout: str, **options: Any) -> Callable[[bytes], None]:
    """Return a reader of a layout of which one file is damaged."""

    def read(data: bytes) -> None:
        from magml.sources import open_source

        choices = Choices(data)
        folder = folders()[layout]
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        path = choices.one(files)
        good = path.read_bytes()
        try:
            if choices.below(24):
                spoil = choices.spoiled if path.suffix == ".csv" else choices.damaged
                path.write_bytes(spoil(good))
            else:
                path.unlink()
            open_source(layout, folder, connection=kept_connection(), **options).materialise()
        finally:
            path.write_bytes(good)

    return read


def database(data: bytes) -> None:
    """Read a CDM out of a damaged DuckDB file, or one that is none."""
    from magml.events.table import connect
    from magml.sources import open_source

    choices = Choices(data)
    folder = folders()["database"]
    kind = choices.below(8)
    content = data if kind == 0 else (
        folder / ("other.good" if kind == 1 else "cdm.good")
    ).read_bytes()  # fmt: skip
    if kind in (2, 3):  # the header, which says where all else is
        content = choices.damaged(content[:12_288]) + content[12_288:]
    elif kind in (4, 5):
        start = choices.below(65_536) * len(content) // 65_536
        content = content[:start] + choices.damaged(content[start:])
    elif kind > 5:
        content = content[: choices.below(65_536) * len(content) // 65_536]
    path = folder / "x.duckdb"
    path.write_bytes(content)
    # A connection of its own: DuckDB keeps what it has attached.
    with connect("2GB", 1) as connection:
        open_source("omop", path, connection=connection).materialise()


def api(data: bytes) -> None:
    """Send a request to the service, without a network."""
    from tests.fuzz.service import answer

    choices = Choices(data)
    route = choices.one((
        "/score", "/explain", "/fhir/score", "/cds-services/magml-patient-view",
        "/cds-services/magml-order-select", "/cds-services/magml-patient-view/feedback",
        "/cds-services/x", "/metrics", "/ready", "/" + choices.text(),
    ))  # fmt: skip
    made = resources(choices)
    bodies: dict[str, Any] = {
        "/fhir/score": {
            "bundle": {"resourceType": "Bundle", "entry": [{"resource": one} for one in made]},
            "at": "2025-03-01T08:00:00",
        },
        "/cds-services/magml-patient-view/feedback": {
            "feedback": [{"card": "c", "outcome": "accepted"}]
        },
    }
    call = {
        "hook": "patient-view" if "view" in route else "order-select", "hookInstance": "i",
        "context": {"patientId": "a"}, "prefetch": {str(n): one for n, one in enumerate(made)},
    }  # fmt: skip
    body = bodies.get(route, call if route.startswith("/cds") else REQUEST)
    if choices.below(3):
        body = choices.changed(body, KEYS)
    try:
        content = json.dumps(body).encode()
    except (ValueError, UnicodeError):
        content = b"{}"
    if not choices.below(6):
        content = choices.damaged(content)
    status, text = answer(choices.one(("POST", "POST", "POST", "GET", "PUT")), route, content)
    assert status < 500, f"{status} {text[:300]!r}"
    assert b"Traceback" not in text
    assert b"site-packages" not in text


@cache
def _plan() -> Any:
    from tests import bundle_parts as parts

    found = parts.contents()
    return found.plan, found.catalogue.by_name["lab.potassium"]


@cache
def _clients() -> Any:
    from magml.service.tokens import Clients

    path = folders()["yaml"] / "clients.json"
    path.write_text(json.dumps({"https://ehr.example": {"keys": []}}))
    return Clients(path, "https://here.example")


def targets() -> dict[str, Target]:
    """Return all targets by name; what takes long to make is made here, outside any limit."""
    BUNDLE()
    xport_bytes()
    app()
    secret = str(folders()["root"])
    # Shares follow what an input costs: the cheap layers below the readers get most of the inputs,
    # the whole readers most of the time.
    shares: dict[str, tuple[Callable[[bytes], None], float]] = {
        "fhir_rows": (fhir_rows, 0.192), "requests": (requests, 0.15),
        "fhir_dates": (fhir_dates, 0.14), "names": (layers.names, 0.10),
        "manifest": (manifest, 0.07), "definitions": (definitions, 0.06),
        "monitored": (monitored, 0.02), "tokens": (tokens, 0.02),
        "signature": (layers.signature, 0.02), "cells": (layers.cells, 0.01),
        "doses": (layers.doses, 0.01), "aggregates": (layers.aggregates, 0.02),
        "foods": (layers.foods, 0.01), "guesses": (layers.guesses, 0.003),
        "units": (units, 0.003), "xport": (xport, 0.02), "bundle": (bundle, 0.012),
        "booster": (booster, 0.02), "api": (api, 0.012), "fhir_bundle": (fhir_bundle, 0.02),
        "csv": (table("csv"), 0.015), "parquet": (table("parquet"), 0.015),
        "ndjson": (source("fhir"), 0.02), "meds": (source("meds"), 0.008),
        "omop": (source("omop"), 0.003), "database": (database, 0.003),
        "plain": (source("plain"), 0.006), "nhanes1": (source("nhanes1"), 0.003),
        "eicu": (source("eicu"), 0.006), "nhanes": (source("nhanes"), 0.005),
        "physionet2012": (source("physionet2012"), 0.01),
    }  # fmt: skip
    made = [Target(name, read, share, secret) for name, (read, share) in shares.items()]
    return {target.name: target for target in made}
