"""Which code of a CodeableConcept becomes the code of an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Code systems by their FHIR addresses, and the vocabulary of their codes in events.
SYSTEMS = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://www.whocc.no/atc": "ATC",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://www.ama-assn.org/go/cpt": "CPT4",
    "http://www.cms.gov/Medicare/Coding/ICD10": "ICD10PCS",
    "urn:oid:2.16.840.1.113883.6.285": "HCPCS",
}
#: Vocabularies in the order they are preferred for each kind of resource, with that of its text.
#: A drug's name goes before its RxNorm code: codes of products are many, names hold ingredients.
LAB = (("LOINC", "SNOMED"), "LAB")
DRUG = (("ATC",), "DRUG")
CONDITION = (("ICD10CM", "ICD9CM", "SNOMED"), "CONDITION")
PROCEDURE = (("ICD10PCS", "CPT4", "HCPCS", "SNOMED"), "PROCEDURE")
_LONGEST = 500


def event_code(concept: Any, preferred: tuple[Sequence[str], str]) -> str | None:
    """Return ``VOCABULARY//CODE`` of a CodeableConcept; None where it says nothing.

    Parameters
    ----------
    concept
        The CodeableConcept as parsed JSON.
    preferred
        Vocabularies in order, and the vocabulary of a name as written.

    Examples
    --------
    >>> event_code({"coding": [{"system": "http://loinc.org", "code": "2823-3"}]}, LAB)
    'LOINC//2823-3'
    >>> event_code({"text": "Omeprazole 20 mg"}, DRUG)
    'DRUG//Omeprazole 20 mg'
    """
    if not isinstance(concept, dict):
        return None
    known: dict[str, str] = {}
    names = [concept.get("text")]
    for coding in _list(concept.get("coding")):
        if not isinstance(coding, dict):
            continue
        vocabulary = SYSTEMS.get(str(coding.get("system", "")))
        code = coding.get("code")
        if vocabulary and isinstance(code, str) and code:
            known.setdefault(vocabulary, code)
        names.append(coding.get("display"))
    vocabularies, written = preferred
    for vocabulary in vocabularies:
        if vocabulary in known:
            return f"{vocabulary}//{known[vocabulary][:_LONGEST]}"
    for name in names:
        if isinstance(name, str) and name.strip():
            return f"{written}//{name.strip()[:_LONGEST]}"
    for vocabulary, code in known.items():
        return f"{vocabulary}//{code[:_LONGEST]}"
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
