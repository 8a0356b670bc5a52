"""The words in which values that are not in their declared unit are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from magml.definitions.catalogue import Concept
from magml.units.conversion import conversion

if TYPE_CHECKING:
    from magml.units.check import Finding

#: More groups than this are counted instead of named.
_NAMED = 40


def describe(findings: Sequence[Finding], concepts: Mapping[str, Concept]) -> tuple[str, str, str]:
    """Return what was seen, what was expected and what to do, for all findings at once.

    Every group is named with its site, so that nothing has to be found out one run at a time.
    """
    if len(findings) == 1:
        finding = findings[0]
        concept = concepts[finding.group.concept]
        return seen(finding, concept), _expected(finding, concept), _action(findings)
    parts = [
        f"({number}) {seen(finding, concepts[finding.group.concept])}{_hint(finding)}"
        for number, finding in enumerate(findings[:_NAMED], start=1)
    ]
    more = f"; and {len(findings) - _NAMED} more" if len(findings) > _NAMED else ""
    expected = dict.fromkeys(_range(concepts[f.group.concept]) for f in findings)
    return (
        f"{len(findings)} groups of values are not in a unit that they can be in: "
        f"{'; '.join(parts)}{more}",
        "; ".join(expected),
        _action(findings),
    )


def seen(finding: Finding, concept: Concept) -> str:
    """Return what was seen of one group."""
    group = finding.group
    where = f" at site {group.site}" if group.site is not None else ""
    unit = f"in {group.unit!r}" if group.unit else "without a unit"
    text = f"{group.code} {unit}{where}: the median of {group.n:,} values is {group.median:.4g}"
    if finding.status == "unknown":
        return f"{text}, and the unit does not convert to {concept.unit}"
    if finding.median is not None:
        text += f", that is {finding.median:.4g} {concept.unit}"
    if finding.others is not None and finding.status in ("refused", "doubtful"):
        text += f", the other sites' {finding.others:.4g}"
    return text


def _hint(finding: Finding) -> str:
    """Return which units would fit, in brackets."""
    fitting = " or ".join(finding.fitting)
    if not fitting:
        return ""
    return f" (could be {fitting})" if finding.status == "abstained" else f" (looks like {fitting})"


def _range(concept: Concept) -> str:
    """Return what medians of an analyte are usual."""
    if concept.usual is None:
        return f"a unit of {concept.label}"
    low, high = concept.usual.median
    return f"a median of {low:g} to {high:g} {concept.unit} for {concept.label}"


def _expected(finding: Finding, concept: Concept) -> str:
    """Return what was expected of one group."""
    text = _range(concept)
    if concept.usual is not None and concept.usual.iqr is not None and finding.median is not None:
        scale, _ = conversion(finding.unit, concept.for_code(finding.group.code))
        text += (
            f" and an interquartile range of at most {concept.usual.iqr[1]:g} "
            f"(here {finding.group.iqr * scale:.4g})"
        )
    return text


def _action(findings: Sequence[Finding]) -> str:
    """Return what to do."""
    fitting = " or ".join(findings[0].fitting)
    if len(findings) > 1:
        do = "declare the right unit for each at the source"
    elif findings[0].status == "abstained":
        do = "declare the unit at the source" + (f"; it could be {fitting}" if fitting else "")
    elif fitting:
        do = f"the values look like {fitting}: declare that unit for this code at the source"
    else:
        do = "find out the unit of these values and declare it at the source"
    return f"{do}, or set these values aside (--set-aside) and go on without them"
