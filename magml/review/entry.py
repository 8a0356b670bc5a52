"""One signed review: what a reader thinks of a risk and of the reasons for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magml.errors import InputError, nearest
from magml.files import canonical_json

#: What a reader may say of the whole, and of each reason.
VERDICTS = {"agree": "Agree", "disagree": "Disagree", "cannot judge": "Cannot judge"}
#: What a reader may say of the size of the risk.
SIZES = {
    "": "No opinion",
    "too high": "The risk is too high",
    "about right": "About right",
    "too low": "The risk is too low",
}
#: Why a reader objects, for the whole and for single reasons.
CODES = {
    "wrong data": "The data are wrong or misread",
    "outdated": "The data are outdated",
    "missing": "Something important is missing",
    "direction": "The direction is against clinical knowledge",
    "weight": "The weight is too large or too small",
    "not causal": "A marker is shown as if it were a cause",
    "unclear": "The explanation is not understandable",
    "other": "Other; see the comment",
}
COMMENT = 4000
_FORMAT = 1


@dataclass(frozen=True)
class ReasonVerdict:
    """What a reader says of one reason (a concept)."""

    concept: str
    verdict: str
    code: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a reader filled in.

    Attributes
    ----------
    overall
        One of `VERDICTS`.
    size
        One of `SIZES`.
    codes
        Of `CODES`; a disagreement states one, or a comment.
    comment
        At most 4,000 characters.
    reasons
        Verdicts on single reasons.
    """

    overall: str
    size: str = ""
    codes: tuple[str, ...] = ()
    comment: str = ""
    reasons: tuple[ReasonVerdict, ...] = ()

    def check(self, concepts: set[str]) -> None:
        """Refuse a judgement that is incomplete or says what cannot be said.

        Parameters
        ----------
        concepts
            Concepts among the reasons of the page.

        Raises
        ------
        InputError
            Saying what is missing.
        """
        _one_of("judgement", self.overall, VERDICTS)
        _one_of("opinion of the risk", self.size, SIZES)
        for code in self.codes:
            _one_of("reason code", code, CODES)
        if len(self.comment) > COMMENT:
            raise InputError(
                f"a comment of {len(self.comment)} characters",
                f"{COMMENT} at most",
                "shorten the comment",
            )
        if self.overall == "disagree" and not self.codes and not self.comment.strip():
            raise InputError(
                "a disagreement without why",
                "a reason code or a comment",
                "choose what you object to, or write it",
            )
        seen = set()
        for reason in self.reasons:
            if reason.concept not in concepts or reason.concept in seen:
                raise InputError(
                    "a verdict on what is no reason of this page, or two on one",
                    "one verdict a reason",
                    "open the page again",
                )
            seen.add(reason.concept)
            _one_of("verdict on a reason", reason.verdict, VERDICTS)
            if reason.code:
                _one_of("reason code", reason.code, CODES)


@dataclass(frozen=True)
class Review:
    """A signed judgement and all that it was made of.

    Attributes
    ----------
    form
        The form it was filled in on; a form counts once, however often it is sent.
    at
        When it was signed, UTC, ISO 8601.
    reviewer, role
        Who, and as what.
    blind
        The reader could not know any other reader's judgement of this page, and it is the
        reader's first: only such reviews count for agreement.
    model, data, explanation
        Hashes of bundle, data, and of everything the page showed.
    page, subject_id, prediction_time
        Which page, who and when.
    prediction
        ``risk``, ``low``, ``high``, ``band``.
    judgement
        What the reader said.
    """

    form: str
    at: str
    reviewer: str
    role: str
    blind: bool
    model: str
    data: str
    explanation: str
    page: str
    subject_id: int
    prediction_time: str
    prediction: Mapping[str, Any]
    judgement: Judgement

    def to_text(self) -> str:
        """Return the canonical JSON that is stored and signed.

        Examples
        --------
        >>> one = Review("f", "2025-03-01T08:00:00Z", "ada", "reviewer", True, "m", "d", "e", "p",
        ...     1, "2025-02-28T08:00:00", {"risk": 0.5}, Judgement("agree"))
        >>> Review.of(one.to_text()) == one
        True
        """
        return canonical_json({"format": _FORMAT, "kind": "review", **asdict(self)})

    @classmethod
    def of(cls, text: str) -> Review:
        """Return the review that `to_text` wrote.

        Raises
        ------
        InputError
            If the text is none.
        """
        try:
            value = json.loads(text)
            if value.pop("format") != _FORMAT or value.pop("kind") != "review":
                raise ValueError
            judged = value.pop("judgement")
            judged["codes"] = tuple(judged["codes"])
            judged["reasons"] = tuple(ReasonVerdict(**reason) for reason in judged["reasons"])
            return cls(**value, judgement=Judgement(**judged))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                "an entry of the record that does not read",
                "an entry of this version of magml",
                "run magml verify-reviews",
            ) from error


def _one_of(what: str, value: str, known: Mapping[str, str]) -> None:
    if value not in known:
        raise InputError(f"no or an unknown {what}", nearest(value, filter(None, known)), "choose")
