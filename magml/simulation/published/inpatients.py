"""Patients of a hospital whose magnesium is measured in every sample, whatever the reason."""

from __future__ import annotations

import numpy as np

from magml.simulation.laboratory import PLACES
from magml.simulation.parameters import Parameters
from magml.simulation.published.common import Found
from magml.simulation.world import run_institution

_MAYO = "Cheungpasitporn 2015, Mayo Clin Proc, n = 65,974"
_WARSAW = "Warsaw 2020 (PMC7353204), n = 20,438"
_WHANG = "Whang 1984, Arch Intern Med"
_DAYS = 180
#: Log-odds at which magnesium is measured in every sample.
_EVERY = 50.0


def _wards(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    every = world.with_values(testing=_EVERY, replacement=0.0)
    seen = run_institution(rng, every, n, _DAYS).laboratory
    samples, value = seen.samples, seen.magnesium
    inside = samples.place >= PLACES.index("admission")
    admitted = samples.place == PLACES.index("admission")
    # Hospitals differ in whom they admit, which no sampling error covers: a third is allowed.
    for name, published, found, source in (
        ("on admission below 0.70 %", 20.2, value[admitted] < 0.70, _MAYO),
        ("on admission 2.1 mg/dL or more %", 31.5, value[admitted] * 2.4305 >= 2.05, _MAYO),
        ("inpatients below 0.65 %", 7.0, value[inside] < 0.65, _WARSAW),
        ("inpatients below 0.75 %", 25.0, value[inside] < 0.75, _WARSAW),
        ("inpatients below 0.85 %", 60.0, value[inside] < 0.85, _WARSAW),
    ):
        share = 100 * float(found.mean())
        yield name, f"{published:g}", share, published * 2 / 3, published * 4 / 3, source
    # How many of each were low in magnesium; a share of some hundred people, so ten points.
    for name, analyte, below, published in (
        ("hypokalaemic", "potassium", 3.5, 42.0), ("hyponatraemic", "sodium", 135.0, 27.0),
        ("hypophosphataemic", "phosphate", 2.5, 29.0), ("hypocalcaemic", "calcium", 8.5, 22.0),
    ):  # fmt: skip
        found = inside & (seen.values[analyte] < below)
        share = 100 * float((value[found] < 0.70).mean()) if found.any() else np.nan
        shown = f"low magnesium among the {name} %"
        yield shown, f"{published:g}", share, published - 10, published + 10, _WHANG


INPATIENTS = (_wards,)
