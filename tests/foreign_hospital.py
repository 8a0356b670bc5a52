"""A Spanish hospital that nobody prepared: its tables, its mapping, and what they must give.

Latin-1, semicolons, decimal commas, day before month, text ids, local test and drug names, no
column of units, and magnesium in another unit in each of two houses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

N = 1200
MAPPING = """
persons: text
names:
  MG_S: LOINC//19123-9
  K_S: LOINC//2823-3
  CREA_S: LOINC//2160-0
  CA_S: LOINC//17861-6
  Seguril 40 mg comp.: ATC//C03CA01
  Omeprazol 20 mg cáps.: ATC//A02BC01
  Paracetamol 1 g: ATC//N02BE01
tables:
  - file: pacientes.csv
    person: nhc
    encoding: latin-1
    events:
      - {code: MEDS_BIRTH, time: {column: nacimiento, format: "%d/%m/%Y"}}
      - {code: {column: sexo, vocabulary: GENDER, values: {mujer: F, varón: M}}, static: true}
      - code: MEDS_DEATH
        time: {column: exitus, format: "%d/%m/%Y %H:%M"}
        known: at once
  - file: ingresos.csv
    person: nhc
    visit: episodio
    time: {column: ingreso, format: "%d/%m/%Y %H:%M"}
    known: at once
    events:
      - {code: VISIT//inpatient, end: {column: alta, format: "%d/%m/%Y %H:%M"}}
      - {code: {column: centro, vocabulary: SITE}}
  - file: analitica_*.csv
    person: nhc
    key: peticion
    decimal: ","
    time: {column: extraccion, format: "%d/%m/%Y %H:%M"}
    known: {column: validacion, format: "%d/%m/%Y %H:%M", after: 90min}
    events:
      # The export has no units: the laboratory's handbook says them, by test and by house.
      - code: {column: prueba, vocabulary: LAB}
        value: resultado
        unit: mmol/L
        when: {prueba: [MG_S], centro: [Norte], estado: [validado]}
      - code: {column: prueba, vocabulary: LAB}
        value: resultado
        unit: mg/dL
        when: {prueba: [MG_S], centro: [Sur], estado: [validado]}
      - code: {column: prueba, vocabulary: LAB}
        value: resultado
        unit: meq/L
        when: {prueba: [K_S], estado: [validado]}
      - code: {column: prueba, vocabulary: LAB}
        value: resultado
        unit: mg/dL
        when: {prueba: [CREA_S, CA_S], estado: [validado]}
  - file: diagnosticos.csv
    person: nhc
    time: {column: fecha, format: "%d/%m/%Y"}
    known: at once
    events:
      - {code: {column: codigo, vocabulary: ICD10CM}, when: {sistema: [CIE-10]}}
      - {code: {column: codigo, vocabulary: CONDITION}, when: {sistema: [propio]}}
  - file: farmacia.csv
    person: nhc
    encoding: latin-1
    time: {column: inicio, format: "%d/%m/%Y"}
    known: at once
    events:
      - {code: {column: farmaco, vocabulary: DRUG}, end: {days: dias}}
"""
EXPERIMENT = """
name: {name}
title: A foreign hospital's first study
model: hypomagnesemia_screen
source:
  layout: plain
  options: {{mapping: {mapping}}}
cohort:
  anchor: [VISIT//inpatient]
  offset: 6h
  measured_before: none
validation: {{groups: subject, folds: 2, replicates: 100, seed: 3}}
baselines: [age_sex]
"""


@dataclass(frozen=True)
class Hospital:
    """What the generator drew: times as times, magnesium as whole steps of its unit."""

    people: pd.DataFrame  # id, birth, death
    stays: pd.DataFrame  # id, start, end, site
    magnesium: pd.DataFrame  # id, drawn, known, steps (0.01 mmol/L or 0.1 mg/dL), site, state, word
    labs: pd.DataFrame  # id, drawn, known, test, written, site


def generate(seed: int) -> tuple[Hospital, pd.DataFrame, pd.DataFrame]:
    """Return the hospital, its diagnoses and its drugs."""
    random = np.random.default_rng(seed)

    def minutes(low: int, high: int, size: int = N) -> pd.TimedeltaIndex:
        return pd.to_timedelta(random.integers(low, high, size), "min")

    ids = np.array([f"HUN-{number:06d}/{'AB'[number % 2]}" for number in range(7000, 7000 + N)])
    start = pd.Series(pd.Timestamp("2022-01-03 07:00") + minutes(0, 700_000))
    minor = random.random(N) < 0.06
    years = np.where(minor, random.integers(5, 16, N), random.integers(20, 92, N))
    birth = (start - pd.to_timedelta(years * 366, "D")).dt.normalize()
    birth[random.random(N) < 0.02] = pd.NaT
    death = (start + minutes(30, 340)).where(random.random(N) < 0.01)
    end = start + minutes(8 * 60, 14 * 1440)
    early = random.random(N) < 0.05
    end = end.where(~early, start + minutes(60, 300)).where(random.random(N) > 0.04)
    site = np.where(random.random(N) < 0.5, "Norte", "Sur")
    again = np.flatnonzero(random.random(N) < 0.15)
    later = start[again] + pd.Timedelta("40D")
    stays = pd.concat(
        [
            pd.DataFrame({"id": ids, "start": start, "end": end, "site": site}),
            pd.DataFrame(
                {"id": ids[again], "start": later, "end": later + minutes(900, 9000, len(again))}
            ).assign(site=site[again]),
        ],
        ignore_index=True,
    )
    loop, acid, alcohol = (random.random(N) < share for share in (0.3, 0.4, 0.12))
    depletion = 1.2 * loop + 0.6 * acid + 1.2 * alcohol + random.normal(0, 0.6, N)
    level = 0.85 - 0.085 * depletion + random.normal(0, 0.035, N)
    # When magnesium was drawn: known before, pending, at risk twice, too late, or never.
    kind = random.choice(5, N, p=[0.06, 0.06, 0.63, 0.1, 0.15])
    parts = []
    for which, low, high in ((0, 20, 120), (1, 330, 359), (2, 365, 1780), (2, 900, 2400)):
        parts.append((kind == which, start + minutes(low, high)))
    parts.append((kind == 3, start + minutes(1900, 4000)))
    rows = []
    for chosen, drawn in parts:
        here = np.flatnonzero(chosen)
        true = level[here] + random.normal(0, 0.02, len(here))
        mass = site[here] == "Sur"
        rows.append(
            pd.DataFrame(
                {
                    "id": ids[here],
                    "drawn": drawn.to_numpy()[here],
                    "known": (drawn + minutes(35, 80)).where(random.random(N) > 0.1).iloc[here],
                    # 24.305 g/mol: 1 mmol/L is 2.4305 mg/dL.
                    "steps": np.where(mass, true * 24.305, true * 100).round().astype(int),
                    "site": site[here],
                    "state": np.where(random.random(len(here)) < 0.04, "anulado", "validado"),
                    "word": random.random(len(here)) < 0.03,
                }
            )
        )
    magnesium = pd.concat(rows, ignore_index=True)
    drawn = start + minutes(5, 60)
    labs = []
    for test, value, form in (
        ("K_S", 4.4 - 0.15 * depletion + random.normal(0, 0.4, N), "{:.1f}"),
        ("CREA_S", np.exp(random.normal(0, 0.3, N)), "{:.2f}"),
        ("CA_S", 9.4 - 0.2 * depletion + random.normal(0, 0.3, N), "{:.1f}"),
    ):
        written = [form.format(number).replace(".", ",") for number in value]
        labs.append(pd.DataFrame({"id": ids, "drawn": drawn, "test": test, "written": written}))
    measured = pd.concat(labs, ignore_index=True)
    measured["known"] = measured["drawn"] + pd.Timedelta("50min")
    measured["site"] = np.tile(site, 3)
    day = start.dt.normalize()
    drugs = pd.concat(
        pd.DataFrame({"id": ids[taken], "day": day[taken] - pd.Timedelta("60D"), "name": name})
        for taken, name in (
            (loop, "Seguril 40 mg comp."),
            (acid, "Omeprazol 20 mg cáps."),
            (random.random(N) < 0.3, "Paracetamol 1 g"),
        )
    )
    diagnoses = pd.concat(
        pd.DataFrame({"id": ids[held], "day": day[held] - pd.Timedelta("200D")}).assign(
            system=system, code=code
        )
        for held, system, code in (
            (alcohol, "CIE-10", "F10.2"),
            (random.random(N) < 0.2, "CIE-10", "E11.9"),
            (random.random(N) < 0.1, "propio", "URG-17"),
        )
    )
    people = pd.DataFrame({"id": ids, "birth": birth, "death": death})
    return Hospital(people, stays, magnesium, measured), diagnoses, drugs


def export(hospital: Hospital, diagnoses: pd.DataFrame, drugs: pd.DataFrame, folder: Path) -> None:
    """Write the hospital's tables as its own system would."""
    folder.mkdir()
    minute, day = "%d/%m/%Y %H:%M", "%d/%m/%Y"

    def write(name: str, encoding: str, **columns: object) -> None:
        frame = pd.DataFrame(columns)
        frame.to_csv(folder / name, sep=";", index=False, encoding=encoding)

    people, stays, mg, labs = hospital.people, hospital.stays, hospital.magnesium, hospital.labs
    write(
        "pacientes.csv",
        "latin-1",
        nhc=people["id"],
        nacimiento=people["birth"].dt.strftime(day),
        sexo=np.where(np.arange(len(people)) % 3 == 0, "mujer", "varón"),
        exitus=people["death"].dt.strftime(minute),
    )
    write(
        "ingresos.csv",
        "utf-8",
        episodio=[f"E{number}" for number in range(len(stays))],
        nhc=stays["id"],
        ingreso=stays["start"].dt.strftime(minute),
        alta=stays["end"].dt.strftime(minute),
        centro=stays["site"],
    )
    digits = mg["site"].map({"Norte": 2, "Sur": 1})
    number = [
        f"{steps / 10**places:.{places}f}".replace(".", ",")
        for steps, places in zip(mg["steps"], digits, strict=True)
    ]
    for name, frame, test, result, state in (
        (
            "analitica_electrolitos.csv",
            mg,
            "MG_S",
            np.where(mg["word"], "hemolizada", number),
            mg["state"],
        ),
        ("analitica_rutina.csv", labs, labs["test"], labs["written"], "validado"),
    ):
        write(
            name,
            "utf-8",
            peticion=np.arange(len(frame)),
            nhc=frame["id"],
            centro=frame["site"],
            extraccion=frame["drawn"].dt.strftime(minute),
            validacion=frame["known"].dt.strftime(minute),
            prueba=test,
            resultado=result,
            estado=state,
        )
    write(
        "diagnosticos.csv",
        "utf-8",
        nhc=diagnoses["id"],
        fecha=diagnoses["day"].dt.strftime(day),
        sistema=diagnoses["system"],
        codigo=diagnoses["code"],
    )
    write(
        "farmacia.csv",
        "latin-1",
        nhc=drugs["id"],
        inicio=drugs["day"].dt.strftime(day),
        dias=365,
        farmaco=drugs["name"],
    )


def closing(times: pd.Series) -> pd.Series:
    """Return the end of the day where a time is exactly midnight, as the documentation states."""
    return times.where(times != times.dt.normalize(), times + pd.Timedelta("1D"))


def expected(hospital: Hospital) -> pd.DataFrame:
    """Return the labelled people, by hand: one row a person, with `low` and its two variants."""
    first = hospital.stays.loc[hospital.stays.groupby("id")["start"].idxmin()]
    rows = first.merge(hospital.people, on="id")
    rows["at"] = rows["start"] + pd.Timedelta("6h")
    rows = rows[rows["end"].isna() | (closing(rows["end"]) > rows["at"])]
    rows = rows[rows["death"].isna() | (rows["death"] > rows["at"])]
    rows = rows[rows["birth"] + pd.DateOffset(years=18) <= rows["at"]]
    mg = hospital.magnesium
    mg = mg[(mg["state"] == "validado") & ~mg["word"]].drop(columns="site")
    mg = mg.assign(known=mg["known"].fillna(mg["drawn"] + pd.Timedelta("90min")))
    drawn = rows.merge(mg, on="id")
    # Known before, or drawn before and pending: either way drawn before.
    before = drawn.loc[drawn["drawn"] < drawn["at"], "id"]
    drawn = drawn[~drawn["id"].isin(before)]
    risk = drawn[drawn["drawn"] < drawn["at"] + pd.Timedelta("24h")]
    deciding = risk.sort_values("drawn").drop_duplicates("id")
    mass = deciding["site"] == "Sur"
    low = np.where(mass, deciding["steps"] < 17, deciding["steps"] < 70)
    molar = np.where(mass, deciding["steps"] / 24.305, deciding["steps"] / 100)
    return deciding.assign(low=low, low_if_converted=molar < 0.70 - 1e-9)
