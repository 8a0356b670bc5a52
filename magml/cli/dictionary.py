"""The catalogue as one page: what each concept is, what is made of it, and on which evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magml.definitions.catalogue import (
    Catalogue,
    Concept,
    Derived,
    DomainFile,
    Feature,
    Reference,
)

if TYPE_CHECKING:
    from magml.cli.feature_people import FeaturePeople

_HEAD = """\
# Feature dictionary

Written by `magml features --dictionary docs/feature-dictionary.md` from `features/`. A feature is
`domain.concept.statistic`, with the window behind it where it has a length. What each statistic
means is in [the catalogue's guide](../features/README.md). *Unverified*: codes and direction were
written from general knowledge or not all read at the source; a draft for your own reviewers. A
publication that was not read itself says so. With `--people --events E --at T` the page also tells
how many people of your records have each feature.
"""
#: How far a publication was read, where it was not read itself.
_READ = {"source": "", "secondary": " (as another text reports it)", "not checked": " (not read)"}
_DIRECTIONS = {
    "lowers": "lowers magnesium",
    "raises": "raises or spares magnesium",
    "mixed": "both ways",
    "marker": "marks a state",
    "none": "none",
    "unknown": "not known",
}


def dictionary_page(catalogue: Catalogue, people: FeaturePeople | None = None) -> str:
    """Return the dictionary as Markdown, with how many people have each feature where counted.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> page = dictionary_page(read_catalogue())
    >>> "## Medications" in page, "`medication.thiazide.active`" in page
    (True, True)
    """
    parts = [_HEAD]
    if people is not None:
        parts.append(
            f"People: how many of the {people.people:,} with a prediction time in "
            f"`{people.source}` have the feature at one of them; 1 to 9 are `<10`.\n"
        )
    for file in catalogue.domains:
        parts.append(f"## {file.title or file.domain}\n")
        for key, concept in file.concepts.items():
            parts.append(_concept(catalogue, file, key, concept, people))
        for key, item in file.derived.items():
            parts.append(_derived(catalogue, f"{file.domain}.{key}", item, people))
    return "\n".join(parts).rstrip() + "\n"


def _concept(
    catalogue: Catalogue, file: DomainFile, key: str, concept: Concept, people: FeaturePeople | None
) -> str:
    name = f"{file.domain}.{key}"
    made = [feature for feature in catalogue.features.values() if feature.concept == name]
    unit = f" [{concept.unit}]" if concept.unit and concept.unit != "1" else ""
    lines = [f"### {concept.label}{unit}\n", f"`{name}`, {concept.kind}\n"]
    if made:
        lines += [*_features(made, people), ""]
    else:
        lines.append("- Features: none")
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


def _features(made: list[Feature], people: FeaturePeople | None) -> list[str]:
    """Return a table of features: unit, window and, where counted, people."""
    counted = "" if people is None else " people |"
    lines = [f"| feature | unit | window |{counted}", "|---|---|---|" + ("---|" * bool(counted))]
    for feature in made:
        cell = "" if people is None else f" {people.shown(feature.name)} |"
        lines.append(f"| `{feature.name}` | {feature.unit or ''} | {feature.window} |{cell}")
    return lines


def _derived(catalogue: Catalogue, name: str, item: Derived, people: FeaturePeople | None) -> str:
    unit = f" [{item.unit}]" if item.unit and item.unit != "1" else ""
    inputs = ", ".join(f"`{needed}`" for needed in item.input_names)
    lines = [f"### {item.label}{unit}\n", f"`{name}`, derived\n"]
    lines.append(f"- Formula: {item.formula} of {inputs}")
    if people is not None:
        lines.append(f"- People: {people.shown(name)}")
    if _reveals(catalogue, name):
        lines.append("- An input reveals the outcome: no model that asks whom to test sees it")
    lines += _meaning(catalogue, item)
    return "\n".join(lines) + "\n"


def _reveals(catalogue: Catalogue, name: str) -> bool:
    """Whether something that a derived feature is made of reveals the outcome."""
    if name in catalogue.derived:
        return any(_reveals(catalogue, needed) for needed in catalogue.derived[name].input_names)
    return bool(catalogue.by_name[catalogue.features[name].concept].reveals)


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
    text, read = reference.citation.rstrip("."), _READ[reference.read]
    if reference.doi:
        return f"{text}, doi {reference.doi}{read}"
    return (f"[{text}]({reference.url})" if reference.url else text) + read
