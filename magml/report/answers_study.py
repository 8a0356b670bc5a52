"""What a run knows of its people, predictors and outcome, for TRIPOD+AI and PROBAST+AI.

An answer states what was done and found, with its figures; None means that this run does not hold
it. Nothing here judges: that is the assessor's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magml.report.card import (
    offered,
    outcome_words,
)
from magml.report.people import anchor_words
from magml.report.run import Run
from magml.report.tested import corrected


class StudyAnswers:
    """Answers from one run; each public method is the answer of its name.

    Parameters
    ----------
    run
        The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._model = run.model
        self._card = run.model.card
        self._metrics = run.metrics
        self._audit = run.values.get("audit")
        self._cohort: dict[str, Any] = dict(self._card["cohort"] or {})
        self._validation: dict[str, Any] = dict(self._card["validation"] or {})

    def by_name(self) -> dict[str, Callable[[], str | None]]:
        """Return every answer by its name."""
        return {
            name: getattr(self, name)
            for name in dir(self)
            if not name.startswith("_") and name != "by_name"
        }

    def title(self) -> str | None:
        """TRIPOD+AI 1."""
        title = (self._run.experiment.get("title") or "").strip()
        return f"{self._card['title']}{f' ({title})' if title else ''}: development and evaluation."

    def intended_use(self) -> str | None:
        """TRIPOD+AI 3b."""
        return f"{self._card['intended_use'].strip()} Not for: {self._card['not_for'].strip()}"

    def objective(self) -> str | None:
        """TRIPOD+AI 4."""
        return (
            "Development of a prediction model and its evaluation by internal validation, beside "
            "simpler models on the same rows."
            if self._metrics
            else None
        )

    def data_source(self) -> str | None:
        """TRIPOD+AI 5a, PROBAST+AI 1.1."""
        data = dict(self._model.training.get("data") or {})
        if not self._card["source"]:
            return None
        size = f", {data['people']:,} people, {data['rows']:,} rows" if "rows" in data else ""
        return (
            f"Routine records in the layout {self._card['source']}{size}; one source for both "
            "development and evaluation."
        )

    def dates(self) -> str | None:
        """TRIPOD+AI 5b."""
        return None  # records may be shifted in time, so a bundle keeps no date

    def setting(self) -> str | None:
        """TRIPOD+AI 6a."""
        sites = self._card["performance"] and self._card["performance"]["groups"]
        if not self._cohort:
            return None
        anchors = anchor_words(" or ".join(self._cohort["anchor"]))
        centres = (
            f" Hospitals or sites in the evaluation: {sites:,}."
            if sites and "site" in self._validation.get("groups", "")
            else ""
        )
        return f"Prediction {self._cohort['offset']} after the start of {anchors}.{centres}"

    def eligibility(self) -> str | None:
        """TRIPOD+AI 6b."""
        steps = self._card["attrition"]
        if not steps:
            return None
        return "In order: " + "; ".join(anchor_words(str(step["name"])) for step in steps) + "."

    def treatments(self) -> str | None:
        """TRIPOD+AI 6c."""
        details = self._run.values.get("details", {}).get("sensitivity")
        if details is None:
            return None
        if not details["computable"]:
            return (
                "Drugs known before the prediction are predictors. Whether magnesium was given "
                "before the outcome is not recorded."
            )
        return (
            "Drugs known before the prediction are predictors. "
            f"{details['given_magnesium']} evaluated were given magnesium before the outcome; "
            "figures are repeated without them."
        )

    def preparation(self) -> str | None:
        """TRIPOD+AI 7, PROBAST+AI 2.2."""
        units = self._run.values.get("units")
        if units is None:
            return None
        converted = sum(units["converted"].values())
        return (
            f"One compiled plan maps and computes everybody's records alike: {converted:,} values "
            "converted by the catalogue's units, implausible ones and unfitting units left out and "
            "counted. The same plan runs in use."
        )

    def outcome(self) -> str | None:
        """TRIPOD+AI 8a, PROBAST+AI 3.1."""
        return outcome_words(self._run)

    def outcome_alike(self) -> str | None:
        """PROBAST+AI 3.2."""
        ordering = self._run.values.get("details", {}).get("ordering", {})
        if "share_tested" not in ordering:
            return (
                "A laboratory value against one threshold for everybody; only people whom somebody "
                "had tested."
            )
        return (
            "A laboratory value against one threshold for everybody, but known only for the "
            f"{ordering['share_tested']:.0%} of the eligible whom somebody had tested: partial "
            f"verification. {self._correction()}"
        )

    def outcome_judgement(self) -> str | None:
        """TRIPOD+AI 8b."""
        return "None: a laboratory value against a fixed threshold."

    def outcome_blinding(self) -> str | None:
        """TRIPOD+AI 8c, PROBAST+AI 3.3."""
        return (
            "A laboratory value, measured without knowledge of this model's predictors or risk. "
            "The decision to measure was the clinicians', who knew the patient."
        )

    def horizon(self) -> str | None:
        """PROBAST+AI 3.4."""
        outcome = self._model.definition.outcome
        return (
            f"The outcome is looked for from {outcome.gap} to {outcome.time_at_risk} after the "
            "prediction time; predictors are what was known strictly before it."
        )

    def predictor_choice(self) -> str | None:
        """TRIPOD+AI 9a."""
        domains = ", ".join(self._model.definition.features.domains)
        return (
            f"All features of the clinical catalogue in the domains {domains}, chosen for "
            "mechanism with sources and not by the outcome; "
            f"{offered(self._run):,} offered. Columns that are empty or constant in the training "
            "rows are dropped inside each fold."
        )

    def predictors(self) -> str | None:
        """TRIPOD+AI 9b, PROBAST+AI 2.1."""
        return (
            f"{len(self._model.features):,} in use, each listed with name, window and unit; "
            "computed for everybody by the same definitions from what was known strictly before "
            "the prediction time."
        )

    def availability(self) -> str | None:
        """PROBAST+AI 2.4."""
        if self._audit is None:
            return None
        found = _check(self._audit, "features of the past alone")
        return (
            "Only what the institution knew strictly before the prediction time is used (results "
            f"from their release, codes from the end of the visit). Audit: {found}."
        )

    def design(self) -> str | None:
        """PROBAST+AI development 1.2."""
        return (
            "A retrospective cohort from routine records; predictors are what was known before the "
            "prediction time, the outcome comes after it."
        )

    def representative(self) -> str | None:
        """PROBAST+AI 1.3."""
        steps = self._card["attrition"]
        if len(steps) < 2:
            return None
        ordering = self._run.values.get("details", {}).get("ordering", {})
        tested = (
            f" Of the eligible, {ordering['share_tested']:.0%} were tested; they may differ from "
            f"the others. {self._correction()}"
            if "share_tested" in ordering
            else ""
        )
        return (
            f"{steps[-1]['times']:,} of {steps[0]['times']:,} prediction times are left, each "
            f"exclusion counted.{tested}"
        )

    def _correction(self) -> str:
        """Say whether figures were corrected for who was tested."""
        if corrected(self._run):
            return "Raw figures stand beside figures corrected for who was tested."
        return "No figure was corrected for that."


def _check(audit: dict[str, Any], name: str) -> str:
    """Return what a check of the audit said."""
    for check in audit["checks"]:
        if check["name"] == name:
            return str(check["message"]).rstrip(".")
    return "not run"
