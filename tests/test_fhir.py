"""FHIR in and out, and the cards of CDS Hooks."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from magml.bundle import load, write_bundle
from magml.errors import InputError
from magml.fhir import read_bundle, read_ndjson
from magml.sources import open_source
from tests import bundle_parts as parts

SELF = {"reference": "Patient/abc"}
LOINC = "http://loinc.org"


def coded(system: str, code: str, text: str | None = None) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": text}]}


def lab(name: str, code: str, value: float, unit: str, when: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "subject": SELF,
        "code": coded(LOINC, code),
        "effectiveDateTime": when,
        "valueQuantity": {"value": value, "unit": unit},
    } | more


PATIENT = {"resourceType": "Patient", "id": "abc", "birthDate": "1950-06", "gender": "female"}


def rows(*resources: dict[str, Any], zone: str = "UTC") -> pd.DataFrame:
    events = read_bundle(list(resources), zone=zone)
    return events.connection.execute(f"SELECT * FROM {events.relation} ORDER BY code").df()


def test_a_result_is_known_when_it_was_issued() -> None:
    found = rows(
        lab("k", "2823-3", 3.1, "mmol/L", "2025-03-01T06:00:00+01:00",
            issued="2025-03-01T09:30:00+01:00"),
        zone="Europe/Berlin",
    ).iloc[0]  # fmt: skip
    assert found["code"] == "LOINC//2823-3"
    assert (found["numeric_value"], found["unit"]) == (3.1, "mmol/L")
    assert found["time"] == pd.Timestamp(2025, 3, 1, 6)
    assert found["known_time"] == pd.Timestamp(2025, 3, 1, 9, 30)
    assert found["source"] == "Observation/k"


def test_a_date_is_known_at_its_end() -> None:
    found = rows(lab("k", "2823-3", 3.1, "mmol/L", "2025-02-28")).iloc[0]
    assert found["time"] == pd.Timestamp(2025, 2, 28)
    assert found["known_time"] == pd.Timestamp(2025, 3, 1)


def test_an_issue_before_the_draw_does_not_make_it_known_earlier() -> None:
    odd = lab("k", "2823-3", 3, "mmol/L", "2025-03-02T00:00:00Z", issued="2025-03-01T00:00:00Z")
    assert rows(odd).iloc[0]["known_time"] == pd.Timestamp(2025, 3, 2)


def test_a_diagnosis_counts_from_its_record_not_from_its_onset() -> None:
    condition = {
        "resourceType": "Condition",
        "id": "c",
        "subject": SELF,
        "code": coded("http://hl7.org/fhir/sid/icd-10-cm", "E11.9"),
        "onsetDateTime": "2019",
    }
    recorded = rows(condition | {"recordedDate": "2025-01-10T08:00:00Z"}).iloc[0]
    assert recorded["time"] == pd.Timestamp(2019, 1, 1)
    assert recorded["known_time"] == pd.Timestamp(2025, 1, 10, 8)
    visit = {
        "resourceType": "Encounter", "id": "e", "status": "finished", "subject": SELF,
        "class": {"code": "IMP"}, "period": {"start": "2025-02-01T00:00:00Z",
                                             "end": "2025-02-04T12:00:00Z"},
    }  # fmt: skip
    of_visit = rows(visit, condition | {"encounter": {"reference": "Encounter/e"}})
    assert of_visit.set_index("code")["known_time"]["ICD10CM//E11.9"] == pd.Timestamp(
        2025, 2, 4, 12
    )
    events = read_bundle([PATIENT, condition])
    assert events.notes == ("1 left out: Condition: no time at which it was known",)


def test_drugs_prefer_what_names_the_ingredient() -> None:
    order = {
        "resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order",
        "subject": SELF, "authoredOn": "2025-01-01T08:00:00Z",
        "medicationCodeableConcept": coded(
            "http://www.nlm.nih.gov/research/umls/rxnorm", "198051", "omeprazole 20 MG Capsule"
        ),
        "dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {
            "start": "2025-01-02", "end": "2025-01-31"}}}}],
    }  # fmt: skip
    found = rows(order).iloc[0]
    assert found["code"] == "DRUG//omeprazole 20 MG Capsule"
    assert found["known_time"] == pd.Timestamp(2025, 1, 1, 8)  # ordered before it starts
    assert found["time"] == pd.Timestamp(2025, 1, 2)
    assert found["end_time"] == pd.Timestamp(2025, 2, 1)
    drug = {
        "resourceType": "Medication",
        "id": "x",
        "code": coded("http://www.whocc.no/atc", "A02BC01"),
    }
    given = {
        "resourceType": "MedicationAdministration", "id": "a", "status": "completed",
        "subject": SELF, "effectiveDateTime": "2025-01-03T08:00:00Z",
        "medicationReference": {"reference": "https://ehr.example/fhir/Medication/x"},
    }  # fmt: skip
    found = rows(given, drug)
    assert found["code"].tolist() == ["ATC//A02BC01"]
    assert found["end_time"].tolist() == [pd.Timestamp(2025, 1, 3, 8)]  # one dose, and over


def test_orders_and_doses_are_told_apart() -> None:
    order = {
        "resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order",
        "subject": SELF, "authoredOn": "2025-01-01T08:00:00Z",
        "medicationCodeableConcept": {"text": "furosemide"},
        "category": [{"coding": [{"code": "outpatient"}]}],
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 1, "period": 12, "periodUnit": "h"}},
            "doseAndRate": [{"doseQuantity": {"value": 40, "unit": "mg"}}],
        }],
    }  # fmt: skip
    found = rows(order).iloc[0]
    assert found["code"] == "DRUG//furosemide//outpatient"
    assert (found["numeric_value"], found["unit"]) == (80.0, "mg/d")
    order["dosageInstruction"][0]["asNeededBoolean"] = True
    needed = rows(order).iloc[0]
    assert needed["code"] == "DRUG//furosemide//as needed//outpatient"
    assert pd.isna(needed["numeric_value"])  # how often is not known
    given = {
        "resourceType": "MedicationAdministration", "id": "a", "status": "completed",
        "subject": SELF, "medicationCodeableConcept": {"text": "magnesium sulfate"},
        "effectivePeriod": {"start": "2025-01-03T08:00:00Z", "end": "2025-01-03T10:00:00Z"},
        "dosage": {"dose": {"value": 2, "unit": "g"}},
        "category": {"coding": [{"code": "inpatient"}]},
    }  # fmt: skip
    found = rows(given).iloc[0]
    assert found["code"] == "DRUG//magnesium sulfate//inpatient"
    assert (found["numeric_value"], found["unit"]) == (2.0, "g")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "entered-in-error"}, "status entered-in-error"),
        ({"effectiveDateTime": "soon"}, "no time"),
        ({"valueQuantity": {"value": True, "unit": "1"}}, "no code with a value"),
        ({"valueQuantity": {"value": "NaN"}}, "no code with a value"),
        ({"subject": None}, "no patient"),
        ({"resourceType": "Device"}, "not a resource that is read"),
    ],
)
def test_what_cannot_be_used_is_counted(change: dict[str, Any], why: str) -> None:
    events = read_bundle([PATIENT, lab("k", "2823-3", 3, "mmol/L", "2025-03-01") | change])
    assert events.count() == 2  # birth and sex
    assert len(events.notes) == 1
    assert why in events.notes[0]


def test_a_bound_is_no_value() -> None:
    quantity = {"value": 0.2, "comparator": "<", "unit": "mmol/L"}
    found = rows(lab("k", "19123-9", 0, "", "2025-03-01", valueQuantity=quantity)).iloc[0]
    assert pd.isna(found["numeric_value"])
    assert found["text_value"] == "<0.2"


def test_a_bulk_export_equals_its_bundle(tmp_path: Path) -> None:
    resources = [PATIENT, lab("a", "2823-3", 3.1, "mmol/L", "2025-03-01T06:00:00Z"),
                 lab("b", "1751-7", 28, "g/L", "2025-03-01T07:00:00Z")]  # fmt: skip
    (tmp_path / "Patient.ndjson").write_text(json.dumps(resources[0]) + "\n\n")
    with gzip.open(tmp_path / "Observation.ndjson.gz", "wt") as stream:
        stream.writelines(json.dumps(item) + "\n" for item in resources[1:])
    ordered = "SELECT * FROM {} ORDER BY code, time"
    bulk, one = open_source("fhir", tmp_path), read_bundle(resources)
    pd.testing.assert_frame_equal(
        bulk.connection.execute(ordered.format(bulk.relation)).df(),
        one.connection.execute(ordered.format(one.relation)).df(),
    )
    assert bulk.subjects is not None
    (tmp_path / "Patient.ndjson").write_text('{"resourceType": "Patient"\n')
    with pytest.raises(InputError, match=r"Patient\.ndjson.*1 is not JSON"):
        read_ndjson(tmp_path)
    with pytest.raises(InputError, match=r"no \.ndjson"):
        read_ndjson(tmp_path / "none")


@pytest.mark.parametrize("bundle", [None, 7, {}, {"resourceType": "Patient"}, [], [1, "a"]])
def test_what_is_no_bundle_is_refused(bundle: Any) -> None:
    with pytest.raises(InputError):
        read_bundle(bundle)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


LOW = [
    PATIENT,
    lab("k", "2823-3", 2.6, "mmol/L", "2025-03-01T05:00:00Z"),
    lab("alb", "1751-7", 20, "g/L", "2025-03-01T05:30:00Z"),
]
HIGH = [PATIENT, lab("k", "2823-3", 5.6, "mmol/L", "2025-03-01T05:00:00Z")]


def test_a_risk_assessment_is_valid_and_points_to_its_evidence(bundle: Path) -> None:
    pytest.importorskip("fhir.resources", reason="needs the extra fhir")
    from fhir.resources.R4B.riskassessment import RiskAssessment

    from magml.fhir import risk_assessments

    model, events = load(bundle), read_bundle(LOW)
    found = risk_assessments(model, events, "2025-03-01 08:00", zone="Europe/Berlin")
    assert len(found) == 1
    parsed = RiskAssessment.model_validate(found[0])
    assert parsed.subject.reference == "Patient/abc"
    own = model.score(events, "2025-03-01 08:00").iloc[0]
    assert float(parsed.prediction[0].probabilityDecimal) == pytest.approx(own["risk"], abs=1e-6)
    assert parsed.prediction[0].qualitativeRisk.text == own["band"]
    assert {basis.reference for basis in parsed.basis} >= {"Observation/k", "Observation/alb"}
    assert found[0]["occurrenceDateTime"] == "2025-03-01T08:00:00+01:00"
    assert "not what caused it" in found[0]["note"][0]["text"]
    assert "risk_assessment" not in json.dumps(found)


def call(resources: list[dict[str, Any]], **context: Any) -> dict[str, Any]:
    moved = json.loads(json.dumps(resources).replace("2025-03-01", str(dt.date.today())))
    yesterday = str(dt.date.today() - dt.timedelta(days=1))
    moved = json.loads(json.dumps(moved).replace(str(dt.date.today()), yesterday))
    return {
        "hook": "patient-view",
        "hookInstance": "i",
        "fhirServer": "http://203.0.113.1/never-asked",
        "context": {"patientId": "abc", "userId": "Practitioner/1"} | context,
        "prefetch": {
            "patient": moved[0],
            "observations": {
                "resourceType": "Bundle",
                "entry": [{"resource": item} for item in moved[1:]],
            },
        },
    }


def test_a_card_is_raised_in_the_highest_band_only(bundle: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from fastapi.testclient import TestClient

    from magml.service import Settings, create_app

    settings = Settings(review_url="https://review.example/p?id={patient}", poll=0)
    with TestClient(create_app(str(bundle), settings)) as client:
        services = client.get("/cds-services").json()["services"]
        assert {service["hook"] for service in services} == {"patient-view", "order-select"}
        answer = client.post("/cds-services/magml-patient-view", json=call(LOW))
        assert answer.status_code == 200, answer.text
        (card,) = answer.json()["cards"]
        assert len(card["summary"]) < 140
        assert "(high)" in card["summary"]
        assert card["indicator"] == "warning"
        assert card["detail"].count("\n- ") == 3
        assert "serum magnesium" in card["detail"]
        assert card["links"][0]["url"] == "https://review.example/p?id=abc"
        assert client.post("/cds-services/magml-patient-view", json=call(HIGH)).json() == {
            "cards": []
        }
        assert client.post("/cds-services/other", json=call(LOW)).status_code == 404
        assert client.post("/cds-services/magml-order-select", json=call(LOW)).status_code == 422
        wrong = client.post("/cds-services/magml-patient-view", json=call(LOW, patientId="x"))
        assert wrong.status_code == 422
        told = {"feedback": [{"card": card["uuid"], "outcome": "overridden"}]}
        assert client.post("/cds-services/magml-patient-view/feedback", json=told).json() == {
            "received": 1
        }
        text = client.get("/metrics").text
        assert "magml_cards_total 1.0" in text
        assert 'magml_card_feedback_total{outcome="overridden"} 1.0' in text
    with TestClient(create_app(str(bundle), Settings(silent=True, poll=0))) as client:
        assert client.post("/cds-services/magml-patient-view", json=call(LOW)).json() == {
            "cards": []
        }


def test_a_bundle_is_scored_over_http(bundle: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from fastapi.testclient import TestClient

    from magml.service import Settings, create_app

    sent = {
        "bundle": {"resourceType": "Bundle", "entry": [{"resource": item} for item in LOW]},
        "at": "2025-03-01T09:00:00+01:00",
    }
    with TestClient(create_app(str(bundle), Settings(poll=0))) as client:
        found = client.post("/fhir/score", json=sent).json()
        assert found["entry"][0]["resource"]["subject"] == SELF
        assert client.post("/fhir/score", json={**sent, "bundle": {}}).status_code == 422


def test_only_listed_clients_with_a_fresh_token_are_answered(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    jwt = pytest.importorskip("jwt", reason="needs the extra serve")
    from cryptography.hazmat.primitives.asymmetric import ec
    from fastapi.testclient import TestClient

    from magml.service import Settings, create_app

    def key() -> Any:
        return ec.generate_private_key(ec.SECP384R1())

    mine, other = key(), key()
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(mine.public_key()))
    clients = {"https://ehr.example": {"keys": [public | {"kid": "1", "alg": "ES384"}]}}
    (tmp_path / "clients.json").write_text(json.dumps(clients))
    audience = "https://magml.example/cds-services/magml-patient-view"
    number = iter(range(100))

    def token(sign: Any = mine, kid: str = "1", algorithm: str = "ES384", **change: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://ehr.example", "aud": audience, "iat": now, "exp": now + 300,
            "jti": str(next(number)),
        } | change  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return str(jwt.encode(claims, sign, algorithm=algorithm, headers={"kid": kid}))

    settings = Settings(cds_clients=tmp_path / "clients.json", cds_audience=audience, poll=0)
    with TestClient(create_app(str(bundle), settings)) as client:

        def status(text: str | None) -> int:
            headers = {} if text is None else {"Authorization": f"Bearer {text}"}
            path = "/cds-services/magml-patient-view"
            return client.post(path, json=call(HIGH), headers=headers).status_code

        good = token()
        assert status(good) == 200
        assert status(good) == 401  # used before
        now = int(time.time())
        for bad in (
            None,
            "a.b.c",
            token(other),
            token(kid="2"),
            token(iss="https://other.example"),
            token(aud="https://elsewhere.example"),
            token(exp=now - 100),
            token(exp=now + 86_400),
            token(jti=None),
            token("a-shared-secret-of-thirty-two-bytes", algorithm="HS256"),
        ):
            assert status(bad) == 401
    (tmp_path / "clients.json").write_text("[]")
    with pytest.raises(InputError, match="does not read"):
        create_app(str(bundle), settings)


def test_naive_moments_are_those_of_the_zone() -> None:
    from magml.fhir.times import span

    berlin = ZoneInfo("Europe/Berlin")
    found = span("2025-07-01T00:30:00Z", berlin)
    assert found is not None
    assert found.start == dt.datetime(2025, 7, 1, 2, 30)
    assert span("2025-13", berlin) is None
    assert span("0001-01-01T00:00:00+14:00", ZoneInfo("UTC")) is None
