"""The model card: what the model is for, learned from whom, how well it did, where it ends.

`model_card` gathers the facts as plain values (``card.json``); `magml.bundle.card_words` puts the
same facts into words (``card.md``). Nothing in a card is written by hand, so it cannot praise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from magml.definitions.model import BodyStatusOutcome

if TYPE_CHECKING:
    from magml.bundle.training import TrainingSummary
    from magml.definitions import Catalogue, ModelDefinition

#: Metrics by which a model is said to beat a baseline or not: title, and whether more is better.
COMPARED = {"auroc": ("AUROC", True), "log_loss": ("log loss", False)}
#: Below these, the card says that figures are uncertain.
_FEW_CASES = 200
_FEW_GROUPS = 20


def model_card(
    definition: ModelDefinition,
    catalogue: Catalogue,
    features: Sequence[str],
    training: TrainingSummary,
    not_computable: Mapping[str, str] | None = None,
    *,
    baseline_notes: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the card as plain values for JSON.

    Parameters
    ----------
    definition
        The model's definition.
    catalogue
        The catalogue.
    features
        The model's features in order.
    training
        What it was learned from, its performance in the outer folds included.
    not_computable
        Baselines that the data do not allow, with the reason.
    baseline_notes
        What to know of a computed baseline, by its name.
    limits
        Limits besides those that follow from the facts above.

    Returns
    -------
    dict
        Numbers that could not be estimated are None.
    """
    experiment = training.experiment
    domains: dict[str, list[str]] = {}
    for name in features:
        domains.setdefault(catalogue.features[name].domain, []).append(name)
    return {
        "name": definition.name,
        "title": definition.title,
        "intended_use": definition.intended_use,
        "not_for": definition.not_for,
        "adults_only": definition.adults_only,
        "outcome": definition.outcome.model_dump(mode="json"),
        "outcome_label": _label(catalogue, definition.outcome.analyte),
        "evidence": _evidence(definition),
        "bands": [band.model_dump(mode="json") for band in definition.bands],
        "experiment": experiment.get("name"),
        "source": (experiment.get("source") or {}).get("layout"),
        "cohort": experiment.get("cohort"),
        "validation": experiment.get("validation"),
        "add_on": bool(experiment.get("add_on", False)),
        "n": training.n,
        "events": training.events,
        "groups": training.groups,
        "attrition": [dict(step) for step in training.attrition],
        "performance": _performance(training.performance),
        "comparisons": _comparisons(training.performance, experiment.get("baselines")),
        "not_computable": dict(not_computable or {}),
        "baseline_notes": {name: text for name, text in (baseline_notes or {}).items() if text},
        "features": domains,
        "notes": list(training.notes),
        "limits": [*_limits(training), *_consequences(catalogue, features), *limits],
    }


def _performance(performance: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the model's own figures from the outer folds."""
    if not performance:
        return None
    reference = performance["reference"]
    metrics = {
        row["metric"]: {key: row[key] for key in ("value", "low", "high")}
        for row in performance["metrics"]
        if row["model"] == reference
    }
    kept = ("n", "events", "groups", "prevalence", "weighted", "replicates", "level", "seed")
    return {"reference": reference, "metrics": metrics} | {key: performance[key] for key in kept}


def _comparisons(
    performance: Mapping[str, Any], baselines: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return, for each other model and compared metric, the gain and whether it is one."""
    if not performance:
        return []
    found = []
    for row in performance["differences"]:
        if row["metric"] not in COMPARED:
            continue
        _, more = COMPARED[row["metric"]]
        value, low, high = row["difference"], row["low"], row["high"]
        if not more:
            value = None if value is None else -value
            low, high = (None if high is None else -high), (None if low is None else -low)
        found.append(
            {
                "model": row["model"],
                "baseline": baselines is None or row["model"] in baselines,
                "metric": row["metric"],
                "gain": value,
                "low": low,
                "high": high,
                "verdict": _verdict(value, low),
            }
        )
    return found


def _verdict(gain: float | None, low: float | None) -> str:
    """Return how a gain reads: beats, ahead by point estimate only, or does not beat."""
    if gain is None:
        return "cannot be compared"
    if gain <= 0:
        return "does not beat"
    return "beats" if low is not None and low > 0 else "ahead by point estimate only"


def _limits(training: TrainingSummary) -> list[str]:
    """Return the limits that follow from how the model was made."""
    found = [
        "The outcome is known only where magnesium was measured; people whom nobody tested may "
        "differ from those the model learned from.",
        "`risk_low` to `risk_high` is the range of the model's own members, not a confidence "
        "interval.",
        "Reasons show what the model used, not what caused a low magnesium.",
    ]
    source = (training.experiment.get("source") or {}).get("layout")
    if source == "simulation":
        found[0] = (
            "Nobody was measured: people, records and truth are simulated. Figures are simulator "
            "recovery, never clinical performance; recalibrate where a reference was measured."
        )
    elif training.data.get("simulated"):
        found.insert(
            0,
            "The people are simulated: figures show that magml finds the simulator's rules again, "
            "and nothing about patients.",
        )
    elif source:
        found.insert(
            0,
            f"Learned and cross-validated on one source ({source}). "
            "Validate and, if needed, recalibrate on your own records before use.",
        )
    if training.events < _FEW_CASES:
        found.append(f"Only {training.events} cases: figures and reasons are uncertain.")
    performance = training.performance
    if performance and performance["groups"] < _FEW_GROUPS:
        found.append(
            f"Only {performance['groups']} groups were resampled, so intervals are too narrow."
        )
    if not performance:
        found.append("No cross-validation was run, so nothing is known of its performance.")
    if performance and performance["weighted"]:
        found.append("Figures are weighted; the uncertainty of the weights is not in intervals.")
    return found


def _consequences(catalogue: Catalogue, features: Sequence[str]) -> list[str]:
    """Name the features that may follow from low magnesium, as a limit."""
    concepts = dict.fromkeys(catalogue.features[name].concept for name in features)
    found = [catalogue.by_name[name] for name in concepts if name in catalogue.by_name]
    labels = [item.label for item in found if item.consequence]
    note = "May follow from low magnesium and are used all the same: "
    return [note + "; ".join(labels) + "."] if labels else []


def _label(catalogue: Catalogue, concept: str) -> str:
    """Return the label of a concept, or its name where the catalogue lacks it."""
    found = catalogue.by_name.get(concept)
    return concept if found is None else found.label


def _evidence(definition: ModelDefinition) -> dict[str, Any] | None:
    """Return the level of evidence of a body-status outcome; None for a serum outcome."""
    outcome = definition.outcome
    return outcome.level.model_dump() if isinstance(outcome, BodyStatusOutcome) else None
