"""Samples that look contaminated are counted by the check, in any unit."""

from __future__ import annotations

import pandas as pd

import magml


def events(*samples: dict[str, tuple[float, str]]) -> pd.DataFrame:
    rows = [
        {"subject_id": person, "time": pd.Timestamp("2026-01-01"), "code": f"LAB//{name}"}
        | {"numeric_value": value, "unit": unit}
        for person, sample in enumerate(samples)
        for name, (value, unit) in sample.items()
    ]
    return pd.DataFrame(rows)


def test_edta_and_citrate_are_told_apart() -> None:
    found = magml.check(
        events(
            # 7.2 mg/dL of calcium is 1.80 mmol/L, 1.9 mmol/L exactly still counts.
            {"potassium": (9.0, "mEq/L"), "calcium": (7.2, "mg/dL"), "Mg": (0.9, "mg/dL")},
            {"potassium": (6.0, "mmol/L"), "calcium": (1.9, "mmol/L")},
            {"potassium": (5.9, "mmol/L"), "calcium": (1.5, "mmol/L")},
            {"potassium": (6.5, "mmol/L"), "calcium": (2.2, "mmol/L")},
            {"sodium": (160, "mmol/L"), "calcium": (1.2, "mmol/L"), "chloride": (95, "mmol/L")},
            {"sodium": (160, "mmol/L"), "calcium": (1.2, "mmol/L"), "chloride": (115, "mmol/L")},
        )
    )
    edta, citrate = found.of_kind("edta_pattern")[0], found.of_kind("citrate_pattern")[0]
    assert (edta.count, edta.of, edta.items[0].count) == (2, 6, 1)
    assert (citrate.count, citrate.items[0].count) == (1, 0)


def test_clean_samples_say_nothing() -> None:
    found = magml.check(events({"potassium": (4.0, "mmol/L"), "calcium": (2.3, "mmol/L")}))
    assert not found.of_kind("edta_pattern")
    assert not found.of_kind("citrate_pattern")


def test_potassium_of_another_draw_is_not_of_the_sample() -> None:
    table = events({"potassium": (9.0, "mmol/L"), "calcium": (1.5, "mmol/L")})
    table.loc[0, "time"] += pd.Timedelta(hours=1)
    assert not magml.check(table).of_kind("edta_pattern")
