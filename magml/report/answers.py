"""What a run knows of the items of TRIPOD+AI and PROBAST+AI, each answered in a sentence.

An answer states what was done and found, with its figures; None means that this run does not hold
it. Nothing here judges: that is the assessor's.
"""

from __future__ import annotations

from magml.report.answers_study import StudyAnswers
from magml.report.card import bands_words, evaluation_words, search_words, size_facts
from magml.report.performance import counts_words, groups_name, verdict_words


class Answers(StudyAnswers):
    """Every answer: those on the study, and those on the analysis and its results."""

    def sample_size(self) -> str | None:
        """TRIPOD+AI 10, PROBAST+AI development 4.1."""
        facts = size_facts(self._run)
        if facts is None:
            return None
        return (
            f"All eligible records at hand: {facts['n']:,} prediction times, {facts['events']:,} "
            f"cases, {facts['offered']:,} predictors offered. Riley's criteria would ask for "
            f"{facts['needed'].needed:,}; the sample supports {facts['supported']:,} parameters."
        )

    def evaluation_size(self) -> str | None:
        """PROBAST+AI evaluation 4.2."""
        return evaluation_words(self._run) if self._metrics else None

    def missing_data(self) -> str | None:
        """TRIPOD+AI 11, PROBAST+AI 4.3."""
        if "missingness" not in self._run.tables:
            return None
        return (
            "Predictors: missing values stay missing and are handled by the trees; nobody is left "
            "out for them. Outcome: people without a measurement are not in the evaluation "
            "(complete cases), and are counted."
        )

    def partitioning(self) -> str | None:
        """TRIPOD+AI 12a, PROBAST+AI evaluation 1.2."""
        if not self._metrics:
            return None
        folds = self._validation.get("folds")
        kept = groups_name(self._run)
        return (
            f"Nested cross-validation in {folds} folds that keep {kept} together; a person is "
            "never on both sides. The model shipped is then fitted in the same way on all rows."
            if self._validation.get("groups")
            not in ("time", "leave_one_site_out", "people_held_out")
            else counts_words(self._run)
        )

    def predictor_handling(self) -> str | None:
        """TRIPOD+AI 12b, PROBAST+AI development 4.2."""
        return (
            "Continuous predictors enter as they are, in the catalogue's units; trees split them "
            "at values learned from the training rows, so no form is assumed. Yes or no is 1 or 0."
        )

    def model_building(self) -> str | None:
        """TRIPOD+AI 12c."""
        return (
            f"{len(self._model.bag.boosters)} bagged XGBoost boosters, averaged on the log-odds; "
            f"search of parameters: {search_words(self._run)}; "
            f"{self._model.calibrator.method} calibration on cross-fitted bags."
        )

    def clusters(self) -> str | None:
        """TRIPOD+AI 12d."""
        if "subgroups" not in self._run.tables:
            return None
        return (
            f"Folds and bootstrap take {groups_name(self._run)} as a whole. The model has no terms "
            "for hospitals."
        )

    def measures(self) -> str | None:
        """TRIPOD+AI 12e, PROBAST+AI evaluation 4.7."""
        if not self._metrics or not self._run.plots:
            return None
        return (
            "Discrimination (AUROC, AUPRC), calibration (curve, intercept, slope, ICI, observed to "
            "expected), overall (Brier, log loss), net benefit, tests needed a case; each with a "
            "95% bootstrap interval, beside baselines on the same rows."
        )

    def not_apparent(self) -> str | None:
        """PROBAST+AI evaluation 4.1."""
        return f"Yes. {counts_words(self._run)}" if self._metrics else None

    def updating(self) -> str | None:
        """TRIPOD+AI 12f and 24."""
        return "None: the model was not updated after its evaluation."

    def predictions(self) -> str | None:
        """TRIPOD+AI 12g."""
        return (
            "Each risk in the evaluation comes from a model, calibrator included, that never saw "
            "the person's fold."
            if self._metrics
            else None
        )

    def imbalance(self) -> str | None:
        """TRIPOD+AI 13, PROBAST+AI development 4.4 and evaluation 4.4."""
        return "No resampling and no class weights were used; prevalence is that of the data."

    def overfitting(self) -> str | None:
        """PROBAST+AI development 4.5."""
        return (
            "Shallow regularised trees, bagging over people, search and choice of columns inside "
            "the training folds, calibration on bags that never saw the row."
        )

    def fairness(self) -> str | None:
        """TRIPOD+AI 14."""
        table = self._run.tables.get("subgroups")
        if table is None:
            return None
        names = ", ".join(dict.fromkeys(str(name) for name in table["dimension"])) or "none"
        return (
            f"Performance and calibration are shown by {names}, as far as groups hold ten cases. "
            "Nothing was done to equalise them."
        )

    def output(self) -> str | None:
        """TRIPOD+AI 15."""
        return bands_words(self._run)

    def differences(self) -> str | None:
        """TRIPOD+AI 16."""
        return "None by design: internal validation on the development data."

    def distribution(self) -> str | None:
        """TRIPOD+AI 20c."""
        return "Does not apply: the evaluation is internal, on the development data."

    def data_availability(self) -> str | None:
        """TRIPOD+AI 18e."""
        data = dict(self._model.training.get("data") or {})
        if "sha256" not in data:
            return None
        return f"Layout {data.get('layout')}; fingerprint of the input {data['sha256'][:16]}."

    def code_availability(self) -> str | None:
        """TRIPOD+AI 18f."""
        versions = dict(self._model.training.get("versions") or {})
        return (
            f"magml {versions.get('magml', '')}".strip() + ", Apache-2.0; definitions, seeds and "
            "versions are in the bundle, and equal input gives equal bytes."
        )

    def flow(self) -> str | None:
        """TRIPOD+AI 20a."""
        steps = self._card["attrition"]
        if len(steps) < 2:
            return None
        return (
            f"From {steps[0]['times']:,} to {steps[-1]['times']:,} prediction times "
            f"({steps[-1]['people']:,} people) in {len(steps)} steps; {self._card['events']:,} had "
            f"the outcome within {self._model.definition.outcome.time_at_risk}."
        )

    def characteristics(self) -> str | None:
        """TRIPOD+AI 20b."""
        table = self._run.tables.get("characteristics")
        if table is None:
            return None
        return f"{len(table)} characteristics, for all and by outcome, with what is missing."

    def counts(self) -> str | None:
        """TRIPOD+AI 21."""
        if not self._metrics:
            return None
        return (
            f"Development: {self._card['n']:,} prediction times, {self._card['events']:,} cases. "
            f"Evaluation: {self._metrics['n']:,} and {self._metrics['events']:,}."
        )

    def specification(self) -> str | None:
        """TRIPOD+AI 22."""
        return (
            f"The bundle {self._model.hash[:16]} holds boosters, calibrator, feature plan, units "
            "and catalogue; magml score predicts with it."
        )

    def performance(self) -> str | None:
        """TRIPOD+AI 23a."""
        if not self._metrics or "subgroups" not in self._run.tables:
            return None
        auroc, slope = self._metrics["auroc"], self._metrics["calibration_slope"]
        return (
            f"AUROC {_interval(auroc)}, calibration slope {_interval(slope)}. "
            f"{verdict_words(self._run)}"
        )

    def heterogeneity(self) -> str | None:
        """TRIPOD+AI 23b."""
        table = self._run.tables.get("subgroups")
        if table is None:
            return None
        sites = table[table["dimension"] == "site"]["subgroup"].nunique()
        left = self._run.values.get("details", {}).get("subgroups_suppressed", {}).get("site", 0)
        if not sites and not left:
            return "Not examined: the records name no hospital or site."
        return (
            f"By site where a site has ten cases and ten others: {sites} shown, {left} too small."
        )

    def limitations(self) -> str | None:
        """TRIPOD+AI 26."""
        return f"{len(self._card['limits'])} limits that follow from the run are listed."

    def poor_input(self) -> str | None:
        """TRIPOD+AI 27a."""
        return (
            "Unfitting units and implausible values are left out, missing values stay missing, and "
            "a row with no or no recent records, unknown age or outside the intended group is "
            "scored with a warning."
        )

    def user_action(self) -> str | None:
        """TRIPOD+AI 27b."""
        return (
            "Input is read from the records without users. The output, a risk with range, band, "
            "warnings and reasons, is read by a clinician who decides whether to test."
        )

    def leak_audit(self) -> str | None:
        """PROBAST+AI 2.3 and evaluation 4.5."""
        if self._audit is None:
            return None
        found = [check["name"] for check in self._audit["checks"] if check["found"]]
        told = "nothing found" if self._audit["clean"] else f"found: {', '.join(found)}"
        return f"A leak audit of {len(self._audit['checks'])} checks ran with the study: {told}."

    def steps_repeated(self) -> str | None:
        """PROBAST+AI evaluation 4.6."""
        return (
            "Choice of columns, search (where one ran), calibration and bagging are repeated "
            "inside each outer fold on its training rows alone."
            if self._metrics
            else None
        )


def _interval(cell: dict[str, float | None]) -> str:
    """Return a value with its interval as text."""
    if cell["value"] is None:
        return "not estimable"
    if cell["low"] is None or cell["high"] is None:
        return f"{cell['value']:.3f}"
    return f"{cell['value']:.3f} ({cell['low']:.3f} to {cell['high']:.3f})"
