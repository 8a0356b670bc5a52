"""The Elixhauser comorbidities and index (AHRQ) as feature plug-ins; extra ``elixhauser``.

Categories, codes and weights are those of the package elixhauser-ahrq. A model names
``comorbidity.elixhauser_mortality`` or ``comorbidity.elixhauser_count`` under ``features.plugins``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from magml.errors import MissingDependencyError
from magml.features import EventRow, FeaturePlugin

_CODE = "ICD10CM//"


@dataclass(frozen=True)
class Elixhauser:
    """Comorbidities of one person.

    Attributes
    ----------
    categories
        Names of the AHRQ's 38 categories that are there, such as ``HF`` or ``DIAB_CX``.
    mortality
        Its index for death in hospital: the sum of the categories' weights.
    """

    categories: tuple[str, ...]
    mortality: int


def elixhauser(codes: Iterable[str]) -> Elixhauser:
    """Return the Elixhauser comorbidities of diagnoses.

    Parameters
    ----------
    codes
        ICD-10-CM codes, with or without a dot. All are taken as secondary and present on
        admission: what is known before a prediction time was there before it.

    Raises
    ------
    MissingDependencyError
        If elixhauser-ahrq is not installed.

    Notes
    -----
    Source: Agency for Healthcare Research and Quality, Elixhauser Comorbidity Software Refined for
    ICD-10-CM, as the package states (version 2026.1).

    Examples
    --------
    >>> elixhauser(["E11.9", "E11.22", "I50.9"]).categories
    ('DIAB_CX', 'HF')
    """
    mapper, scorer = _library()
    wanted = sorted({code.replace(".", "").upper() for code in codes} & mapper.lookup.keys())
    # The library leaves the first code out, for it is the principal diagnosis of a stay.
    flags = mapper.map_patient_diagnoses(["", *wanted], ["", *["Y"] * len(wanted)])
    found = tuple(sorted(name for name, there in flags.items() if there))
    return Elixhauser(found, int(scorer.calculate_score(flags)))


def _known(rows: Sequence[EventRow]) -> Elixhauser | None:
    """Return the comorbidities of a person's rows; nothing where nothing was ever coded."""
    codes = {row.code.removeprefix(_CODE) for row in rows}
    return _cached(frozenset(codes)) if codes else None


def _mortality(rows: Sequence[EventRow], t: datetime) -> float | None:
    found = _known(rows)
    return None if found is None else float(found.mortality)


def _count(rows: Sequence[EventRow], t: datetime) -> float | None:
    found = _known(rows)
    return None if found is None else float(len(found.categories))


@lru_cache(maxsize=4096)
def _cached(codes: frozenset[str]) -> Elixhauser:
    return elixhauser(codes)


@lru_cache(maxsize=1)
def _library() -> tuple[Any, Any]:
    """Return the package's mapper, which reads its tables in seconds, and its scorer."""
    try:
        from elixhauser_ahrq import ElixhauserMapper, ElixhauserScorer
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "the package elixhauser-ahrq is not installed",
            "the AHRQ's categories and weights as it ships them",
            "pip install 'magml[elixhauser]', or remove the plug-in from features.plugins",
        ) from error
    return ElixhauserMapper(), ElixhauserScorer("mortality")


mortality = FeaturePlugin(
    name="elixhauser_mortality",
    domain="comorbidity",
    label="Elixhauser index for death in hospital (AHRQ)",
    unit="1",
    codes=(f"{_CODE}*",),
    function=_mortality,
)

count = FeaturePlugin(
    name="elixhauser_count",
    domain="comorbidity",
    label="Number of Elixhauser comorbidities (AHRQ)",
    unit="1",
    codes=(f"{_CODE}*",),
    function=_count,
)
