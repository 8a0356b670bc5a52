"""What readers thought of a model, in figures: the part of a record that goes back to its card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from magml.errors import InputError
from magml.review.agreement import Kappa, Share, agreement, share
from magml.review.entry import CODES, SIZES, Review

FORMAT = 1
#: Folder of an MLflow run's artifacts that holds a summary, and the files in it.
ARTIFACTS, SUMMARY, ADDENDUM = "review", "summary.json", "card_addendum.md"
#: Concepts that readers objected to are named from this many pages on, and counted.
LEAST = 10
_SHOWN = 10


@dataclass(frozen=True)
class ReviewSummary:
    """The reviews of one bundle in figures. No reader, person or comment stands in it.

    Attributes
    ----------
    bundle
        Hash of the bundle.
    head
        Head of the record (``COUNT:HASH``) that it was taken from.
    pages, reviews, readers
        Pages reviewed, readings of them (of each reader and page one), readers.
    agree
        Share of pages whose first reader agreed, of those that could be judged.
    cannot_judge
        Pages whose first reader could not judge.
    kappa
        Between the first and the second blind reader of a page.
    size
        What the first readers said of the size of the risk, pages by opinion.
    objections
        Reason codes, commonest first: pages on which any reader gave it, for the whole or for a
        single reason.
    concepts
        Concepts whose reasons were disagreed with, pages; those of fewer than ten are left out.
    few
        How many concepts were left out for that.
    """

    bundle: str
    head: str
    pages: int
    reviews: int
    readers: int
    agree: Share
    cannot_judge: int
    kappa: Kappa
    size: Mapping[str, int]
    objections: tuple[tuple[str, int], ...]
    concepts: tuple[tuple[str, int], ...]
    few: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"format": FORMAT, **asdict(self)}

    def metrics(self) -> dict[str, Any]:
        """Return the figures in the form of a run's metrics."""
        return {
            "review": {
                "pages": self.pages,
                "reviews": self.reviews,
                "readers": self.readers,
                "cannot_judge": self.cannot_judge,
                "agreement_n": self.agree.of,
                "agreement": {key: getattr(self.agree, key) for key in ("value", "low", "high")},
                "kappa_n": self.kappa.n,
                "kappa": {key: getattr(self.kappa, key) for key in ("value", "low", "high")},
                "size": dict(self.size),
                "objection": dict(self.objections),
            }
        }

    def text(self) -> str:
        """Return the summary in words."""
        lines = [
            f"Pages reviewed: {self.pages}; readers: {self.readers}; readings: {self.reviews}.",
            f"The first reader agreed with {_share(self.agree)}; could not judge "
            f"{self.cannot_judge}.",
            f"Kappa of two blind readers on {self.kappa.n} pages: {_kappa(self.kappa)}.",
        ]
        if self.objections:
            lines.append("Objections, by pages:")
            lines += [f"  {CODES[code]}: {count}" for code, count in self.objections]
        return "\n".join(lines)

    def markdown(self, title: str) -> str:
        """Return the addendum to the model card."""
        sizes = [f"{SIZES[key].lower()}: {count}" for key, count in self.size.items() if count]
        lines = [
            f"# {title}: addendum to the model card, reviews",
            "",
            f"Bundle `{self.bundle}`; record of reviews at `{self.head}`.",
            "",
            f"- Reviewed: {self.pages} pages by {self.readers} readers, {self.reviews} readings.",
            f"- The first reader of a page agreed with {_share(self.agree)}; on "
            f"{self.cannot_judge} pages he or she could not judge.",
            f"- Cohen's kappa of the first and the second blind reader, on {self.kappa.n} pages: "
            f"{_kappa(self.kappa)}.",
            f"- Size of the risk, first readers: {'; '.join(sizes) or 'no opinions'}.",
            "",
            "| Objection | pages |",
            "|---|---|",
            *(f"| {CODES[code]} | {count} |" for code, count in self.objections),
            *(["| none | 0 |"] if not self.objections else []),
        ]
        if self.concepts:
            lines += ["", "| Reasons disagreed with | pages |", "|---|---|"]
            lines += [f"| `{concept}` | {count} |" for concept, count in self.concepts]
        if self.few:
            lines += ["", f"{self.few} further reasons were disagreed with on under {LEAST} pages."]
        lines += [
            "",
            "Readers saw the model's reasons: they judged whether these are plausible, not whether "
            "the outcome came. Intervals are 95%; that of the share takes pages as independent.",
        ]
        return "\n".join(lines) + "\n"


def summarise(reviews: Iterable[Review], bundle: str, head: str) -> ReviewSummary:
    """Return the summary of the reviews of a bundle.

    Parameters
    ----------
    reviews
        Reviews in the order of signing; those of other bundles are left out.
    bundle
        Hash of the bundle.
    head
        Head of the record.

    Raises
    ------
    InputError
        If nothing was reviewed of this bundle.

    Examples
    --------
    >>> from magml.review.entry import Judgement
    >>> one = Review("f", "2025-03-01T08:00:00Z", "ada", "reviewer", True, "m", "d", "e", "p",
    ...     1, "2025-02-28T08:00:00", {"risk": 0.5}, Judgement("agree"))
    >>> summarise([one], "m", "1:ab").agree.value
    1.0
    """
    own = [review for review in reviews if review.model == bundle]
    if not own:
        raise InputError(
            "a record without a review of this bundle",
            "reviews of the bundle that is named",
            "name the bundle that was reviewed",
        )
    first: dict[str, Review] = {}
    for review in own:
        first.setdefault(review.page, review)
    # A reader may sign a page again; the latest counts for what was objected to.
    latest = {(review.page, review.reviewer): review for review in own}
    verdicts = Counter(review.judgement.overall for review in first.values())
    sizes = Counter(review.judgement.size for review in first.values())
    codes: Counter[str] = Counter()
    concepts: Counter[str] = Counter()
    for page in first:
        there = [review.judgement for (of, _), review in latest.items() if of == page]
        given = {code for one in there for code in one.codes}
        given |= {reason.code for one in there for reason in one.reasons if reason.code}
        codes.update(given)
        concepts.update(
            {r.concept for one in there for r in one.reasons if r.verdict == "disagree"}
        )
    named = [pair for pair in _commonest(concepts) if pair[1] >= LEAST]
    return ReviewSummary(
        bundle=bundle,
        head=head,
        pages=len(first),
        reviews=len(latest),
        readers=len({review.reviewer for review in own}),
        agree=share(verdicts["agree"], verdicts["agree"] + verdicts["disagree"]),
        cannot_judge=verdicts["cannot judge"],
        kappa=agreement(own).together.kappa,
        size={key: sizes[key] for key in SIZES if key},
        objections=tuple(_commonest(codes)),
        concepts=tuple(named[:_SHOWN]),
        few=len(concepts) - len(named),
    )


def summary_beside(bundle: Path) -> Path:
    """Return where the summary of a bundle's reviews stands.

    Examples
    --------
    >>> summary_beside(Path("runs/demo/bundle")).as_posix()
    'runs/demo/bundle.review.json'
    """
    return bundle.with_name(f"{bundle.name}.review.json")


def read_summary(path: Path, bundle: str) -> dict[str, Any] | None:
    """Return a summary as plain values; None where there is none, or it is of another bundle.

    Raises
    ------
    InputError
        If the file is not one that magml wrote.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError
        mine = found["bundle"] == bundle
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"'{path.name}', which does not read",
            "a summary that magml review-summary wrote",
            "write it again, or remove it",
        ) from error
    return found if mine else None


def _commonest(counted: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


def _share(found: Share) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "no page that could be judged"
    return (
        f"{found.count} of {found.of} pages ({found.value:.0%}, 95% interval "
        f"{found.low:.0%} to {found.high:.0%})"
    )


def _kappa(found: Kappa) -> str:
    if found.value is None:
        return "not defined"
    if found.low is None or found.high is None:
        return f"{found.value:.2f} (no interval)"
    return f"{found.value:.2f} (95% interval {found.low:.2f} to {found.high:.2f})"
