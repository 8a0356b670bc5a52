"""The catalogue as one page: what each concept is, what is made of it, and on which evidence."""

from __future__ import annotations

from magml.definitions.catalogue import Catalogue, Concept, Derived, DomainFile, Reference

_HEAD = """\
# Feature dictionary

Written by `magml features --dictionary docs/feature-dictionary.md` from `features/`. A feature is
`domain.concept.statistic`, with the window behind it where it has a length. What each statistic
means is in [the catalogue's guide](../features/README.md). *Unverified*: codes and direction were
written from general knowledge or not all read at the source; a draft for your own reviewers.
"""
_DIRECTIONS = {
    "lowers": "lowers magnesium",
    "raises": "raises or spares magnesium",
    "mixed": "both ways",
    "marker": "marks a state",
    "none": "none",
    "unknown": "not known",
}


def dictionary_page(catalogue: Catalogue) -> str:
    """Return the dictionary as Markdown.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> page = dictionary_page(read_catalogue())
    >>> "## Medications" in page, "`medication.thiazide.active`" in page
    (True, True)
    """
    parts = [_HEAD]
    for file in catalogue.domains:
        parts.append(f"## {file.title or file.domain}\n")
        for key, concept in file.concepts.items():
            parts.append(_concept(catalogue, file, key, concept))
        for key, item in file.derived.items():
            parts.append(_derived(catalogue, f"{file.domain}.{key}", item))
    return "\n".join(parts).rstrip() + "\n"


def _concept(catalogue: Catalogue, file: DomainFile, key: str, concept: Concept) -> str:
    name = f"{file.domain}.{key}"
    made = [f"`{f.name}`" for f in catalogue.features.values() if f.concept == name]
    unit = f" [{concept.unit}]" if concept.unit and concept.unit != "1" else ""
    lines = [f"### {concept.label}{unit}\n", f"`{name}`, {concept.kind}\n"]
    lines.append(f"- Features: {', '.join(made) or 'none'}")
    if concept.codes:
        lines.append(f"- Codes: {', '.join(f'`{code}`' for code in concept.codes)}")
    if concept.not_codes:
        lines.append(f"- Not: {', '.join(f'`{code}`' for code in concept.not_codes)}")
    if concept.names:
        lines.append(f"- Names: {'; '.join(concept.names)}")
    lines += _periods(concept)
    if concept.plausible:
        low, high = concept.plausible
        lines.append(f"- Plausible: {low:g} to {high:g}")
    if concept.reveals:
        lines.append("- Reveals the outcome: no model that asks whom to test sees it")
    if concept.consequence:
        lines.append("- May follow from low magnesium")
    lines += _meaning(catalogue, concept)
    return "\n".join(lines) + "\n"


def _periods(concept: Concept) -> list[str]:
    """Return what holds for the records of an exposure, as lines."""
    lines = []
    if concept.orders:
        lines.append(f"- Only orders that are: {', '.join(concept.orders)}")
    if concept.gap:
        lines.append(f"- Records at most {concept.gap} apart are one era")
    if concept.lasts:
        lines.append(f"- A record counts as exposure for {concept.lasts} at least")
    if concept.dose:
        drugs = [
            f"{name} {drug.ddd}" if drug.ddd else f"{name} x {drug.share:g}"
            for name, drug in concept.dose.drugs.items()
        ]
        said = "one DDD" if concept.dose.unit == "DDD" else "the share of a recorded mass"
        lines.append(f"- Dose in {concept.dose.unit}; {said}: {', '.join(drugs)}")
    return lines


def _derived(catalogue: Catalogue, name: str, item: Derived) -> str:
    unit = f" [{item.unit}]" if item.unit and item.unit != "1" else ""
    inputs = ", ".join(f"`{needed}`" for needed in item.input_names)
    lines = [f"### {item.label}{unit}\n", f"`{name}`, derived\n"]
    lines.append(f"- Formula: {item.formula} of {inputs}")
    lines += _meaning(catalogue, item)
    return "\n".join(lines) + "\n"


def _meaning(catalogue: Catalogue, item: Concept | Derived) -> list[str]:
    """Return direction, mechanism and evidence as lines."""
    verified = "verified" if item.verified else "*unverified*"
    mechanism = getattr(item, "mechanism", "")
    lines = [
        f"- Direction: {_DIRECTIONS[item.direction]}"
        + (", modifiable" if item.modifiable else "")
        + (f". {mechanism}" if mechanism else "")
    ]
    cited = "; ".join(_citation(catalogue.references[key]) for key in item.evidence)
    lines.append(f"- Evidence ({verified}): {cited or 'none stated'}")
    if item.note:
        lines.append(f"- Note: {item.note}")
    return lines


def _citation(reference: Reference) -> str:
    text = reference.citation.rstrip(".")
    if reference.doi:
        return f"{text}, doi {reference.doi}"
    return f"[{text}]({reference.url})" if reference.url else text
