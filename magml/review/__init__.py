"""Review: clinicians read the reasons for each risk, sign what they think, and it is kept.

The record is append-only, chained by a keyed hash to model, data, prediction and explanation.
The names below are loaded on first use: the rooms behind them need the extra `review`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from magml.errors import MissingDependencyError

if TYPE_CHECKING:
    from magml.review.feedback import Feedback, review_summary
    from magml.review.open import open_review
    from magml.review.verify import Verification, verify_reviews
    from magml.review.web.desk import Desk
    from magml.review.web.settings import Settings

_WHERE = {
    "Feedback": "magml.review.feedback",
    "review_summary": "magml.review.feedback",
    "Desk": "magml.review.web.desk",
    "Settings": "magml.review.web.settings",
    "Verification": "magml.review.verify",
    "open_review": "magml.review.open",
    "verify_reviews": "magml.review.verify",
}

__all__ = [
    "Desk",
    "Feedback",
    "Settings",
    "Verification",
    "open_review",
    "review_summary",
    "verify_reviews",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'magml.review' has no attribute {name!r}")
    try:
        return getattr(import_module(_WHERE[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("magml"):
            raise
        raise MissingDependencyError(
            f"{error.name} is not installed", "the extra review", "pip install 'magml[review]'"
        ) from error
