"""What a check of events found: findings, and the tables behind them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
#: From what stops a training run to what is only good to know.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Item:
    """One line below a finding: what, how often, and a remark."""

    name: str
    count: int
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes
    ----------
    kind
        Name for machines, for example ``unit_refused``.
    severity
        ``error``: training stops, or its result would be wrong. ``warning``: something is lost.
        ``info``: good to know.
    title
        What was found, in words.
    count, of, what
        How many, of how many, of what (``rows``, ``values``, ``people``, ``codes``).
    cost, action
        What it costs the model, and what to do; empty where there is nothing to say.
    concepts, features
        Concepts concerned (``domain.concept``), and the features of the catalogue made of them.
    items
        The commonest cases.
    approximate
        Whether `count` was estimated from a share of the people.
    """

    kind: str
    severity: Severity
    title: str
    count: int
    of: int
    what: str
    cost: str
    action: str
    concepts: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    approximate: bool = False

    @property
    def share(self) -> float:
        """Share of all; 0 where there are none."""
        return self.count / self.of if self.of else 0.0


@dataclass(frozen=True)
class UnmappedCode:
    """A code that no concept of the catalogue takes up, and the concepts it resembles."""

    code: str
    rows: int
    people: int
    resembles: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class UnitLine:
    """Values of one concept in one unit, of one site or of all (site None).

    `status` is that of `magml.units.Finding`; `taken_as` is the unit that the values are read in,
    None where they are left out or refused, and `factor` what brings them to the concept's own
    unit; `fitting` are units in which the values would be usual; `others` is the other sites'
    median in the concept's unit; `implausible` are values outside the concept's plausible range,
    counted over all sites. Groups too small to judge have no `median` of a site.
    """

    concept: str
    code: str
    unit: str | None
    site: str | None
    values: int
    median: float | None
    status: str
    fitting: tuple[str, ...] = ()
    implausible: int | None = None
    people: int | None = None
    taken_as: str | None = None
    factor: float | None = None
    others: float | None = None

    @property
    def quiet(self) -> bool:
        """Whether it is a site of which there is nothing to say beyond all sites together."""
        return self.site is not None and self.status in ("ok", "too few", "unchecked", "inferred")


@dataclass(frozen=True)
class VocabularyLine:
    """Rows of one vocabulary: how many are used, and what their times are like."""

    vocabulary: str
    rows: int
    codes: int
    mapped_rows: int
    dated: int
    midnight: int
    whole_hour: int
    known_missing: int
    known_at_time: int


@dataclass(frozen=True)
class DomainLine:
    """One domain of the catalogue: how much of it the data hold."""

    domain: str
    concepts: int
    found: int
    rows: int
    features: int
    features_lost: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """What a check found. It holds counts and codes, never a row of a person.

    Attributes
    ----------
    name
        The layout or kind of the data.
    rows, people, codes
        Rows, persons and different codes. `people` of single codes are approximate.
    first, last
        Earliest and latest time, ISO 8601; None when no row has one.
    findings
        Errors first, then warnings, then what is only good to know.
    unmapped, units, vocabularies, domains
        The tables behind the findings.
    notes
        What the source's reader decided and left out.
    approximate
        What was estimated instead of counted, in words.
    """

    name: str
    rows: int
    people: int
    codes: int
    first: str | None
    last: str | None
    findings: tuple[Finding, ...]
    unmapped: tuple[UnmappedCode, ...]
    units: tuple[UnitLine, ...]
    vocabularies: tuple[VocabularyLine, ...]
    domains: tuple[DomainLine, ...]
    notes: tuple[str, ...] = ()
    approximate: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of a kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def count(self, severity: Severity) -> int:
        """Return how many findings are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and texts, as ``--json`` prints them."""
        content = asdict(self)
        for finding, plain in zip(self.findings, content["findings"], strict=True):
            plain["share"] = finding.share
        content["counts"] = {severity: self.count(severity) for severity in SEVERITIES}
        return content

    def text(self) -> str:
        """Return the report for a terminal."""
        from magml.checks.text import report_text

        return report_text(self)

    def html(self) -> str:
        """Return the report as one HTML page that needs nothing from elsewhere."""
        from magml.checks.page import report_page

        return report_page(self)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the gravest first, otherwise in their order."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
