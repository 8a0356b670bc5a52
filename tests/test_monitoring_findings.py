"""What people read of a monitoring: alarms together, and records of another source."""

from __future__ import annotations

from magml.monitoring.alarm import Alarm
from magml.monitoring.changes import code_changes, other_codes
from magml.monitoring.findings import KINDS, findings
from magml.monitoring.records import CodeUse
from magml.monitoring.thresholds import Thresholds


def alarm(kind: str, what: str, size: float = 0.5, period: str = "2025", site: str | None = None):  # type: ignore[no-untyped-def]
    return Alarm(kind, what, period, site, size, 0.0, f"{what} by {size}", True)


def use(concept: str, code: str, unit: str = "") -> CodeUse:
    return CodeUse(concept, code, unit, 200, 100, None, None)


def test_the_gravest_come_first_and_features_of_a_concept_together() -> None:
    found = findings([
        alarm("input", "lab.sodium.last", 0.3), alarm("input", "lab.sodium.max", 0.9),
        alarm("input", "lab.potassium.last"), alarm("code", "lab.sodium"),
        alarm("calibration", "slope"), alarm("unit", "lab.sodium", site="B"),
        alarm("input", "lab.sodium.last", 0.3, "2026"),
    ])  # fmt: skip
    assert [(one.kind, one.what, one.site) for one in found] == [
        ("unit", "lab.sodium", "B"), ("calibration", "slope", None), ("code", "lab.sodium", None),
        ("input", "lab.potassium", None), ("input", "lab.sodium", None),
    ]  # fmt: skip
    assert found[-1].words == ("lab.sodium.max by 0.9; lab.sodium.max and 1 more of its features")


def test_every_kind_of_alarm_has_its_words() -> None:
    documented = (Alarm.__doc__ or "").split("site\n")[0]
    assert set(KINDS) == {part for part in documented.split("``")[1::2] if part.isalpha()}


def test_records_of_another_source_are_said_to_be() -> None:
    trained = [use(f"lab.x{n}", f"LAB//X{n}", "g/L") for n in range(5)]
    same = {("2025", None): trained}
    assert other_codes(same, trained) == ""
    others = [use(f"lab.x{n}", f"LOINC//{n}", "g/L") for n in range(4)] + trained[4:]
    assert other_codes({("2025", None): others}, trained).startswith("4 of 5 concepts")
    # Half of them is no other source yet.
    assert other_codes({("2025", None): others[:2] + trained[2:4]}, trained) == ""


def test_a_new_code_is_named_only_where_it_may_have_taken_the_place() -> None:
    before = [use("lab.x", "LAB//X", "g/L"), use("medication.y", "DRUG//y")]
    both = {
        ("2025-01", None): before,
        ("2025-02", None): [
            use("lab.x", "LAB//X", "mg/dL"), use("medication.y", "DRUG//y"),
            use("", "LAB//X (new)", "g/L"), use("", "LOINC//1", "g/L"), use("", "DRUG//z"),
        ],
    }  # fmt: skip
    words = [one.words for one in code_changes(both, before, Thresholds()) if one.size < 0]
    assert len(words) == 1
    assert "LAB//X (new)" in words[0]
    assert "LOINC//1" in words[0]  # a vocabulary that was not there before
    assert "DRUG//z" not in words[0]
