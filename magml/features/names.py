"""From the code of an event to the concepts of the catalogue.

Codes of a classification match by prefix (ICD, ATC; dots do not matter), codes of a terminology
exactly (LOINC, RxNorm, SNOMED, units, visits). Names as written match as text: laboratory and
vital names as a whole, drugs, conditions, procedures and care by phrases of whole words, so that
"lisinopril-hydrochlorothiazide 20 mg" is two classes and "insulin syringe" is none.

Behind a drug's code may stand what its order was: ``DRUG//senna//as needed//inpatient``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from magml.definitions.catalogue import Catalogue, Concept, Domain
from magml.definitions.dose import ORDER_MARKS

#: Vocabularies in which a code stands for all codes that begin with it.
PREFIX_VOCABULARIES = frozenset({"ICD10CM", "ICD9CM", "ATC"})
#: Vocabularies of names as written that match as a whole.
WHOLE_VOCABULARIES = frozenset({"LAB", "VITAL"})
#: Vocabularies of names as written in which a phrase is looked for.
PHRASE_VOCABULARIES = frozenset({"DRUG", "CONDITION", "PROCEDURE", "CARE"})
#: Where the `names` of a concept are looked for, by domain.
NAME_VOCABULARY: dict[Domain, str] = {
    "lab": "LAB",
    "vital": "VITAL",
    "medication": "DRUG",
    "comorbidity": "CONDITION",
    "procedure": "PROCEDURE",
    "care": "CARE",
    "diet": "CARE",
    "genetic": "CONDITION",
    "microbiome": "LAB",
}
_WORD = re.compile(r"[^\W\d_]+|\d+")
# A laboratory's "neutrophils %" and "neutrophils #" are two quantities.
_WORD_OR_SIGN = re.compile(r"[^\W\d_]+|\d+|[%#]")
_CACHED_CODES = 65_536


def matches(catalogue: Catalogue, code: str) -> tuple[str, ...]:
    """Return the concepts that a code belongs to.

    Parameters
    ----------
    catalogue
        As `magml.definitions.read_catalogue` returns it.
    code
        ``VOCABULARY//CODE`` as in the events.

    Returns
    -------
    tuple of str
        ``domain.concept`` in the order of the catalogue; empty when nothing matches.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> catalogue = read_catalogue()
    >>> matches(catalogue, "LOINC//2823-3")
    ('lab.potassium',)
    >>> matches(catalogue, "DRUG//pantoprazole (PROTONIX) 40 mg")
    ('medication.proton_pump_inhibitor', 'medication.pantoprazole')
    >>> matches(catalogue, "DRUG//Insulin syringe 1 mL")
    ()
    >>> matches(catalogue, "DRUG//Lasix 40 mg//cancelled")
    ()
    """
    return _index(_Identity(catalogue)).concepts(code)


def order_marks(code: str) -> tuple[str, frozenset[str]]:
    """Return a code without what stands behind it about its order, and that.

    Examples
    --------
    >>> order_marks("DRUG//senna//as needed") == ("DRUG//senna", frozenset({"as needed"}))
    True
    >>> order_marks("DRUG//iron//folate")
    ('DRUG//iron//folate', frozenset())
    """
    found: set[str] = set()
    while True:
        rest, separator, last = code.rpartition("//")
        if not separator or "//" not in rest or last.strip().casefold() not in ORDER_MARKS:
            return code, frozenset(found)
        code = rest
        found.add(last.strip().casefold())


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text: runs of letters or of digits, in lower case.

    Examples
    --------
    >>> words("D5W/0.45% NaCl + KCl 20 mEq")
    ('d', '5', 'w', '0', '45', 'nacl', 'kcl', '20', 'meq')
    """
    return tuple(_WORD.findall(text.lower()))


def normal_name(text: str) -> str:
    """Return a laboratory or vital name in the form in which two spellings are compared.

    Examples
    --------
    >>> normal_name("O2 Sat (%)"), normal_name("-lymphs")
    ('o 2 sat %', 'lymphs')
    """
    return " ".join(_WORD_OR_SIGN.findall(text.lower()))


class _Identity:
    """A catalogue as a cache key: the same object, not an equal one."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __hash__(self) -> int:
        return id(self.catalogue)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.catalogue is other.catalogue


class _Lookup:
    """Concepts by code or text: one for what adds a concept, one for what takes it back."""

    def __init__(self) -> None:
        self.exact: dict[str, set[int]] = {}
        self.prefix: dict[str, set[int]] = {}
        self.phrases: dict[str, dict] = {}

    def add(self, vocabulary: str, text: str, concept: int) -> None:
        """Let a code, name or phrase of a vocabulary stand for a concept."""
        if vocabulary in PREFIX_VOCABULARIES:
            self.prefix.setdefault(f"{vocabulary}//{_bare(text)}", set()).add(concept)
        elif vocabulary in PHRASE_VOCABULARIES:
            node = self.phrases.setdefault(vocabulary, {})
            for word in words(text):
                node = node.setdefault(word, {})
            node.setdefault("", set()).add(concept)
        else:
            self.exact.setdefault(_whole(vocabulary, text), set()).add(concept)

    def find(self, vocabulary: str, text: str) -> set[int]:
        """Return the concepts that a text of a vocabulary stands for."""
        if vocabulary in PREFIX_VOCABULARIES:
            bare = _bare(text)
            starts = (f"{vocabulary}//{bare[:k]}" for k in range(1, len(bare) + 1))
            return set().union(*(self.prefix.get(start, ()) for start in starts))
        if vocabulary in PHRASE_VOCABULARIES:
            return _phrases_in(words(text), self.phrases.get(vocabulary, {}))
        return self.exact.get(_whole(vocabulary, text), set())


class _Index:
    """Everything needed to look codes up in one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.names: list[str] = []
        self.orders: list[frozenset[str]] = []
        self.given, self.taken = _Lookup(), _Lookup()
        for position, (name, domain, concept) in enumerate(catalogue.concepts()):
            self.names.append(name)
            self.orders.append(frozenset(concept.orders))
            vocabulary = NAME_VOCABULARY.get(domain, "")
            for lookup, codes, names in (
                (self.given, (*concept.codes, *concept.values), concept.names),
                (self.taken, concept.not_codes, ()),
            ):
                for code in codes:
                    lookup.add(*_split(code), position)
                for text in names:
                    lookup.add(vocabulary, text, position)
            for text_vocabulary in _text_vocabularies(concept, vocabulary):
                for text in concept.not_names:
                    self.taken.add(text_vocabulary, text, position)
        self.concepts = lru_cache(maxsize=_CACHED_CODES)(self._concepts)

    def _concepts(self, code: str) -> tuple[str, ...]:
        bare, marks = order_marks(code)
        if "cancelled" in marks:
            return ()
        vocabulary, text = _split(bare)
        found = self.given.find(vocabulary, text)
        if found:
            found = found - self.taken.find(vocabulary, text)
        said = marks if "as needed" in marks else marks | {"scheduled"}
        return tuple(self.names[k] for k in sorted(found) if self.orders[k] <= said)


@lru_cache(maxsize=8)
def _index(identity: _Identity) -> _Index:
    """Build the index of a catalogue once, as long as the same object is used."""
    return _Index(identity.catalogue)


def _split(code: str) -> tuple[str, str]:
    """Return vocabulary and code; a code without a vocabulary (MEDS_BIRTH) has an empty one."""
    vocabulary, separator, text = code.strip().partition("//")
    return (vocabulary, text) if separator else ("", vocabulary)


def _bare(code: str) -> str:
    """Return a classification code without dots and blanks, in capitals."""
    return code.replace(".", "").replace(" ", "").upper()


def _whole(vocabulary: str, text: str) -> str:
    """Return the key of a code or name that matches as a whole."""
    if vocabulary in WHOLE_VOCABULARIES:
        return f"{vocabulary}//{normal_name(text)}"
    return f"{vocabulary}//{' '.join(text.casefold().split())}"


def _text_vocabularies(concept: Concept, own: str) -> Iterable[str]:
    """Return the vocabularies of names as written in which a concept is looked for."""
    found = {own, *(_split(code)[0] for code in concept.codes)}
    return sorted(found & (PHRASE_VOCABULARIES | WHOLE_VOCABULARIES))


def _phrases_in(text: tuple[str, ...], root: dict) -> set[int]:
    """Return the concepts of all phrases that stand in a text, by a walk through a trie."""
    found: set[int] = set()
    for start in range(len(text)):
        node = root
        for word in text[start:]:
            if word not in node:
                break
            node = node[word]
            found |= node.get("", set())
    return found
