"""What a code of a MEDS data set means: standard codes, units, starts and ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from magml.sources.tables import source_table

_ICD = re.compile(r"(DIAGNOSIS|PROCEDURE)//ICD//(9|10)//(.+)", re.DOTALL)
_REVISIONS = {
    ("DIAGNOSIS", "9"): "ICD9CM",
    ("DIAGNOSIS", "10"): "ICD10CM",
    ("PROCEDURE", "9"): "ICD9Proc",
    ("PROCEDURE", "10"): "ICD10PCS",
}
_DEMOGRAPHIC = {"gender": "GENDER", "race": "RACE", "ethnicity": "RACE"}
#: A part of a code that says that there is nothing.
_UNKNOWN = {"", "UNK", "unk", "None", "null", "NULL"}


@dataclass(frozen=True)
class Meaning:
    """What a code means.

    Attributes
    ----------
    codes
        Codes of the event, one event each; none for an end or a row that is passed over.
    unit
        The unit inside the code.
    starts, ends
        Key of the period that it starts or ends.
    visit
        Whether the period is an encounter.
    laboratory
        Whether its value needs the laboratory's turnaround.
    administered
        Whether it is one administration of a drug.
    """

    codes: tuple[str, ...] = ()
    unit: str | None = None
    starts: str | None = None
    ends: str | None = None
    visit: bool = False
    laboratory: bool = False
    administered: bool = False


def meaning(code: str, description: str | None = None, parents: Iterable[str] = ()) -> Meaning:
    """Return what a code means.

    Parameters
    ----------
    code
        As the data set writes it: ``LAB//50960//mg/dL``, ``LOINC/2823-3``.
    description, parents
        From ``metadata/codes.parquet``. Parent codes of a standard vocabulary take the place of
        the code; without them its description does, where the code holds an item's number.

    Examples
    --------
    >>> meaning("LAB//50960//mg/dL", "Magnesium", ["LOINC/2601-3"]).codes
    ('LOINC//2601-3',)
    >>> meaning("LAB//50960//mg/dL", "Magnesium").codes, meaning("LAB//50960//mg/dL").unit
    (('LAB//Magnesium',), 'mg/dL')
    >>> meaning("DIAGNOSIS//ICD//10//E119").codes
    ('ICD10CM//E119',)
    """
    settings = source_table("meds")
    standard = tuple(dict.fromkeys(found for p in parents if (found := standard_code(p)[0])))
    described = tuple(
        line for part in (description or "").split("\n") if (line := part.strip()) != ""
    )
    for skipped in settings["skipped"]:
        if code == skipped or code.startswith(f"{skipped}//"):
            return Meaning()
    if code in settings["aliases"]:
        to, unit = settings["aliases"][code]
        return Meaning((to,), unit)
    own, unit = standard_code(code)
    if own:
        codes = tuple(dict.fromkeys((own, *standard)))
        return Meaning(codes, unit, laboratory=_laboratory(codes))
    if match := _ICD.fullmatch(code):
        return Meaning(standard or (f"{_REVISIONS[match[1], match[2]]}//{match[3].strip()}",))
    period = _period(code, described, standard, settings["periods"])
    if period is not None:
        return period
    for prefix, vocabulary in settings["measured"].items():
        if code.startswith(prefix):
            return _measured(code.removeprefix(prefix), vocabulary, described, standard)
    if code.startswith("MEDICATION//"):
        name, _, happened = code.removeprefix("MEDICATION//").rpartition("//")
        if name and (happened not in settings["given"] or name in _UNKNOWN):
            return Meaning()
        return Meaning(standard or (f"DRUG//{name or happened}",), administered=bool(name))
    if code.startswith("TRANSFER_TO//"):
        unit_name = code.rpartition("//")[2].strip()
        return Meaning(() if unit_name in _UNKNOWN else (f"UNIT//{unit_name}",))
    first, slash, rest = code.partition("/")
    if slash and first.lower() in _DEMOGRAPHIC:
        # "Gender/F" and "GENDER//F" say the same; a race that is a number is a concept's code.
        return Meaning((f"{_DEMOGRAPHIC[first.lower()]}//{rest.removeprefix('/').strip()}",))
    return Meaning(tuple(dict.fromkeys((code, *standard))), laboratory=_laboratory(standard))


def standard_code(code: str) -> tuple[str | None, str | None]:
    """Return a code of a standard vocabulary in the form of events, and the unit after it.

    Examples
    --------
    >>> standard_code("LOINC/2823-3"), standard_code("LOINC//2823-3//mmol/L")
    (('LOINC//2823-3', None), ('LOINC//2823-3', 'mmol/L'))
    >>> standard_code("LAB//50960")
    (None, None)
    """
    vocabularies: Mapping[str, str] = {
        name.lower(): own for name, own in source_table("meds")["vocabularies"].items()
    }
    first, slash, rest = code.strip().partition("/")
    vocabulary = vocabularies.get(first.strip().lower())
    if not slash or vocabulary is None:
        return None, None
    local, _, unit = rest.removeprefix("/").partition("//")
    if not local.strip():
        return None, None
    return f"{vocabulary}//{local.strip()}", _unit(unit)


def _unit(text: str) -> str | None:
    """Return a unit written in a code, unless it says that there is none."""
    return None if text.strip() in _UNKNOWN else text.strip()


def _measured(
    rest: str, vocabulary: str, described: tuple[str, ...], standard: tuple[str, ...]
) -> Meaning:
    """Return the meaning of ``item//unit`` behind a prefix."""
    item, separator, last = rest.rpartition("//")
    if item.endswith("/"):
        # "RR///min": the unit begins with a stroke, the name does not end with one.
        item, last = item.removesuffix("/"), f"/{last}"
    unit = _unit(last) if separator else None
    name = (item if separator else rest).strip()
    # An item's number says nothing; a name as written says more than a description.
    names = described if described and not re.search("[A-Za-z]", name) else (name,)
    codes = standard or tuple(f"{vocabulary}//{text}" for text in dict.fromkeys(names))
    bedside = vocabulary != "LAB" or not (_laboratory(codes) or not standard)
    return Meaning(codes, unit, laboratory=not bedside)


def _laboratory(codes: tuple[str, ...]) -> bool:
    """Tell whether codes are those of a laboratory's analyte."""
    bedside = {f"LOINC//{code}" for code in source_table("meds")["bedside"]}
    loinc = [code for code in codes if code.startswith("LOINC//")]
    return bool(loinc) and not bedside.intersection(loinc)


def _period(
    code: str, described: tuple[str, ...], standard: tuple[str, ...], periods: list[dict]
) -> Meaning | None:
    """Return the meaning of a start or an end; None for any other code."""
    for entry in periods:
        for role in ("start", "end"):
            prefix = entry[role]
            if code != prefix and not code.startswith(f"{prefix}//"):
                continue
            rest = code.removeprefix(prefix).removeprefix("//").strip()
            named = "{}" in entry["code"]
            key = f"{entry['start']}//{rest}" if named else entry["start"]
            if role == "end":
                return Meaning(ends=key)
            if named and rest in _UNKNOWN:
                return Meaning()
            names = described if described and not re.search("[A-Za-z]", rest) else (rest,)
            codes = tuple(entry["code"].replace("{}", name) for name in names)
            if named:
                codes = tuple(dict.fromkeys((*standard, *codes)))
            if entry.get("unit_name") and rest not in _UNKNOWN:
                codes += (f"UNIT//{rest}",)
            return Meaning(codes, starts=key, visit=bool(entry.get("visit")))
    return None
