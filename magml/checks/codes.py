"""Which concepts codes map to, and which concepts the others resemble."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from magml.checks.report import UnmappedCode
from magml.definitions.catalogue import Catalogue
from magml.features.names import (
    NAME_VOCABULARY,
    PHRASE_VOCABULARIES,
    WHOLE_VOCABULARIES,
    matches,
    normal_name,
)

#: So many codes are listed, and compared with the catalogue's spellings.
LISTED_CODES = 100
#: So many are looked up under other vocabularies, which is quick; the rest are only counted.
_LOOKED_UP = 5_000
#: Codes that are no predictors: they say who, where and when, and are used as such.
STRUCTURE = ("SITE", "VISIT", "GENDER", "RACE", "ETHNICITY", "UNIT", "LANGUAGE", "MARITAL_STATUS")
_STRUCTURE_CODES = ("MEDS_BIRTH", "MEDS_DEATH", "OBSERVATION_PERIOD")
#: Vocabularies of names as written, under which a text may be known.
_NAMED = ("LAB", "VITAL", "DRUG", "CONDITION", "PROCEDURE", "CARE")
#: Vocabularies of codes, what their codes look like, and what else they are called. A bare number
#: may be anything, so that one is tried only where the vocabulary's name says so.
_CODED = (
    ("ICD10CM", re.compile(r"[A-Z][0-9][0-9A-Z](\.?[0-9A-Z]{1,4})?"), ""),
    (
        "ICD9CM",
        re.compile(r"([0-9]{3}|V[0-9]{2}|E[0-9]{3})(\.?[0-9]{1,2})?"),
        "ICD|DX|DIAG|CONDITION",
    ),
    ("SNOMED", re.compile(r"[0-9]{6,18}"), "SNOMED|SCT"),
    ("LOINC", re.compile(r"[0-9]{1,5}-[0-9]"), ""),
    ("ATC", re.compile(r"[A-Z][0-9]{2}[A-Z]([A-Z]([0-9]{2})?)?"), ""),
    ("RxNorm", re.compile(r"[0-9]{2,7}"), "RX"),
)
_CLOSE = 0.82


def structural(code: str) -> bool:
    """Return whether a code is no predictor by its kind."""
    return code in _STRUCTURE_CODES or code.partition("//")[0] in STRUCTURE


def unmapped_codes(
    catalogue: Catalogue, counts: Iterable[tuple[str, int, int]]
) -> tuple[UnmappedCode, ...]:
    """Return the codes without a concept, the commonest first, with what they resemble.

    Parameters
    ----------
    catalogue
        The clinical catalogue.
    counts
        Code, rows and people of every code without a concept.

    Returns
    -------
    tuple
        The `LISTED_CODES` commonest codes, then as many others that would map under another
        vocabulary.
    """
    ranked = sorted(counts, key=lambda row: (-row[1], row[0]))
    found: list[UnmappedCode] = []
    for place, (code, rows, people) in enumerate(ranked[:_LOOKED_UP]):
        listed = place < LISTED_CODES
        concepts, why = resembling(catalogue, code, spelling=listed)
        if listed or (concepts and len(found) < 2 * LISTED_CODES):
            found.append(UnmappedCode(code, rows, people, concepts, why))
    return tuple(found)


def resembling(
    catalogue: Catalogue, code: str, *, spelling: bool = True
) -> tuple[tuple[str, ...], str]:
    """Return the concepts that a code resembles, and in what way.

    A code that would map under another vocabulary comes first; then a name spelt nearly as one of
    the catalogue's. Codes of a classification or terminology resemble nothing by their digits.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> resembling(read_catalogue(), "Lab//Potassium")
    (('lab.potassium',), 'as LAB//Potassium')
    >>> resembling(read_catalogue(), "LAB//potasium, serum")[0]
    ('lab.potassium',)
    """
    vocabulary, separator, text = code.partition("//")
    if not separator:
        vocabulary, text = "", code
    known = {name for name, _, _ in _CODED}
    coded = [
        name
        for name, shape, called in _CODED
        if shape.fullmatch(text.strip()) and re.match(called, vocabulary.upper())
    ]
    named = [name for name in _NAMED if _may_be(name, vocabulary)]
    for other in (*named, *coded):
        # A code of a vocabulary that the catalogue knows is what it says, and nothing else.
        if vocabulary not in known:
            concepts = matches(catalogue, f"{other}//{text}") if other != vocabulary else ()
            if concepts:
                return concepts, f"as {other}//{text}"
    if not spelling or vocabulary in known or not any(map(str.isalpha, text)):
        return (), ""
    return _close(catalogue, vocabulary, text)


def _may_be(name: str, vocabulary: str) -> bool:
    """Return whether a text of a vocabulary may be one of a vocabulary of names.

    "Iron" as a drug is not a laboratory's iron: only vocabularies that the catalogue does not
    know are tried under others, and laboratory and vital names under each other.
    """
    if vocabulary in WHOLE_VOCABULARIES:
        return name in WHOLE_VOCABULARIES
    return vocabulary not in NAME_VOCABULARY.values()


def _close(catalogue: Catalogue, vocabulary: str, text: str) -> tuple[tuple[str, ...], str]:
    """Return the concept with a name spelt nearly so, within the vocabulary where it is known."""
    wanted = normal_name(text)
    names = _names(_Key(catalogue))
    kept = names.get(vocabulary) or {k: v for part in names.values() for k, v in part.items()}
    for spelling in dict.fromkeys(_spellings(vocabulary, wanted)):
        near = [
            name
            for name in kept
            if abs(len(name) - len(spelling)) <= 3
            and name[:1] == spelling[:1]
            and name.count(" ") == spelling.count(" ")
        ]
        cutoff = _CLOSE if len(spelling) > 5 else 1.0
        close = difflib.get_close_matches(spelling, near, n=1, cutoff=cutoff)
        # In a text where phrases are looked for, the very phrase was found, and taken back.
        if close and not (vocabulary in PHRASE_VOCABULARIES and close[0] == spelling):
            return (kept[close[0]],), f"spelt nearly as {close[0]!r}"
    return (), ""


def _spellings(vocabulary: str, text: str) -> list[str]:
    """Return what of a name is compared: all of it, its beginning, or its long words.

    A laboratory's name often adds the specimen; a drug's text holds the ingredient somewhere.
    """
    parts = text.split()
    if vocabulary in PHRASE_VOCABULARIES:
        return [text, *(part for part in parts[:4] if len(part) > 6)]
    # "K_S" is potassium in serum: a short name with a shorter word for the specimen.
    marked = len(parts) == 2 and len(parts[1]) <= 3
    return [
        text,
        " ".join(parts[:2]),
        *(part for part in parts[:1] if len(part) > 5 or marked),
    ]


class _Key:
    """A catalogue as a cache key: the same object, not an equal one."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __hash__(self) -> int:
        return id(self.catalogue)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.catalogue is other.catalogue


@lru_cache(maxsize=4)
def _names(key: _Key) -> dict[str, dict[str, str]]:
    """Return the normal names and labels of concepts by vocabulary of names as written."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name, domain, concept in key.catalogue.concepts():
        vocabulary = NAME_VOCABULARY.get(domain, "")
        for text in (concept.label, *concept.names):
            found[vocabulary].setdefault(normal_name(text), name)
    return dict(found)
