"""The leak audit of a run: does anything the model saw know the future or the answer?

Each check looks for one kind of leak, says what it found in counts, and where it finds one puts a
line into the model's card. A clean audit is no proof; a finding is a reason to stop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from magml.experiments.study import Study

#: A single feature that separates the outcome better than this, in either direction, is suspect.
STRONG_AUROC = 0.9


@dataclass(frozen=True)
class Check:
    """One check of the audit.

    Attributes
    ----------
    name
        What was looked for.
    found
        Whether a leak was found; None where the data do not allow the check.
    message
        The result in one sentence.
    details
        Counts and names behind it; no row of a patient.
    """

    name: str
    found: bool | None
    message: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """All checks of a run, in order."""

    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        """The checks that found a leak."""
        return tuple(check for check in self.checks if check.found)

    def lines(self) -> tuple[str, ...]:
        """Return one line for each finding, for the card and the terminal."""
        return tuple(f"Leak audit, {check.name}: {check.message}" for check in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON-safe values."""
        return {
            "clean": not self.findings,
            "checks": [
                {"name": c.name, "found": c.found, "message": c.message, "details": c.details}
                for c in self.checks
            ],
        }


def audit_study(
    study: Study,
    fold: np.ndarray,
    *,
    seed: int,
    threads: int | None = None,
    strong: float = STRONG_AUROC,
) -> Audit:
    """Look for leaks in a study's rows, features and folds.

    Parameters
    ----------
    study
        Rows, features and groups.
    fold
        Outer fold of each row, -1 for rows that only train, shape (n,).
    seed
        Seed of the shuffle and of the sample of rows that is built again.
    threads
        Number of threads; it changes no result.
    strong
        AUROC of a single feature, in either direction, from which it is suspect.

    Returns
    -------
    Audit
        Checks named ``shuffled labels``, ``single features``, ``outcome as a feature``,
        ``patient in both splits``, ``features of the past alone``, ``known before it happened``,
        ``backdated diagnoses``, ``concepts that reveal the outcome``.

    References
    ----------
    Kaufman S et al. ACM Trans Knowl Discov Data 2012;6(4):15 (leakage). Kapoor S, Narayanan A.
    Patterns 2023;4:100804.
    """
    from magml.experiments import audit_records as records
    from magml.experiments import audit_rows as rows

    return Audit(
        (
            rows.shuffled_labels(study, seed=seed, threads=threads),
            rows.single_features(study, strong),
            records.outcome_as_feature(study, strong),
            rows.patient_in_both(study, fold),
            records.past_alone(study, seed=seed, threads=threads),
            records.known_before(study),
            records.backdated_diagnoses(study),
            records.revealing_concepts(study),
        )
    )
