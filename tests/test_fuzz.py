"""Nonsense input: refused with a reason, never a crash. A seeded slice; more with MAGML_FUZZ=N."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from magml.bundle import load, write_bundle
from magml.errors import MagmlError
from magml.fhir import read_bundle
from magml.fhir.times import span
from tests import bundle_parts as parts
from tests.fuzz.choices import TEXTS
from tests.fuzz.seeds import KEYS, KINDS

EXAMPLES = int(os.environ.get("MAGML_FUZZ", "150"))
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
DATES = r"\d{4}-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?Z?)?)?"
WORDS = st.one_of(st.sampled_from([t for t in TEXTS if t != "\ud800"]), st.text(max_size=20))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=12,
)


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    """Return something like a resource: the right keys, any values."""
    made = draw(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8))
    made["resourceType"] = draw(st.sampled_from(KINDS))
    if draw(st.booleans()):
        made |= {"id": "a", "subject": {"reference": "Patient/a"}}
    return made


@seed(1)
@FUZZ
@given(st.lists(resources(), max_size=4))
def test_any_resources_are_read_or_refused(found: list[dict[str, Any]]) -> None:
    try:
        events = read_bundle(found)
    except MagmlError:
        return
    assert events.count() >= 1


@seed(2)
@FUZZ
@given(VALUES)
def test_anything_else_is_refused(found: Any) -> None:
    with pytest.raises(MagmlError):
        read_bundle(found if isinstance(found, dict) else {"resourceType": "Bundle"})


@seed(3)
@FUZZ
@given(st.one_of(VALUES, st.from_regex(DATES, fullmatch=True)))
def test_any_date_is_a_span_or_nothing(text: Any) -> None:
    from zoneinfo import ZoneInfo

    found = span(text, ZoneInfo("Europe/Athens"))
    assert found is None or found.start <= found.end


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


@pytest.fixture(scope="module")
def names(bundle: Path) -> list[str]:
    return sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())


@seed(4)
@FUZZ
@given(data=st.data())
def test_a_bundle_with_any_changed_byte_does_not_load(
    bundle: Path, names: list[str], data: st.DataObject
) -> None:
    path = bundle / data.draw(st.sampled_from(names))
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[place]))
    changed = bytearray(good)
    changed[place] = other
    if path.name == "manifest.json":
        try:  # white space and the like say the same
            if json.loads(changed) == json.loads(good):
                return
        except ValueError:
            pass
    path.write_bytes(bytes(changed))
    try:
        with pytest.raises(MagmlError):
            load(bundle)
    finally:
        path.write_bytes(good)


def test_the_service_refuses_any_body(bundle: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from fastapi.testclient import TestClient

    from magml.service import Settings, create_app

    with TestClient(create_app(str(bundle), Settings(poll=0))) as client:

        @seed(5)
        @FUZZ
        @given(
            st.sampled_from([
                "/score", "/explain", "/fhir/score", "/cds-services/magml-patient-view",
                "/cds-services/magml-patient-view/feedback",
            ]),
            st.one_of(
                st.binary(max_size=60),
                VALUES.map(lambda value: json.dumps(value).encode()),
                st.lists(resources(), max_size=3).map(
                    lambda found: json.dumps({
                        "bundle": {"resourceType": "Bundle",
                                   "entry": [{"resource": item} for item in found]},
                        "at": "2025-03-01T08:00:00",
                    }).encode()
                ),
                st.lists(resources(), max_size=3).map(
                    lambda found: json.dumps({
                        "hook": "patient-view", "hookInstance": "i",
                        "context": {"patientId": "a"},
                        "prefetch": {str(n): item for n, item in enumerate(found)},
                    }).encode()
                ),
            ),
        )  # fmt: skip
        def sent(route: str, body: bytes) -> None:
            answer = client.post(route, content=body, headers={"content-type": "application/json"})
            assert answer.status_code < 500, answer.text
            if answer.status_code != 200:
                assert set(answer.json()) == {"error"}

        sent()
