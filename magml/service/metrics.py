"""What a service counts, for Prometheus: no label holds anything of a patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magml.service.engine import Engine

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one service."""

    def __init__(self, engine: Engine) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self._requests = Counter(
            "magml_requests", "Requests answered", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "magml_request_seconds", "Seconds to the answer", ["route"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._rows = Counter(
            "magml_rows", "Prediction times scored, by band", ["band"], registry=self._registry
        )
        self._warned = Counter(
            "magml_rows_with_warnings", "Prediction times with a warning", registry=self._registry
        )
        self._cards = Counter("magml_cards", "CDS cards raised", registry=self._registry)
        self._feedback = Counter(
            "magml_card_feedback", "What became of cards", ["outcome"], registry=self._registry
        )
        waiting = Gauge("magml_pending", "Requests waiting or running", registry=self._registry)
        waiting.set_function(lambda: engine.pending)
        self._model = Gauge(
            "magml_model", "1 for the model in service", ["name", "bundle"],
            registry=self._registry,
        )  # fmt: skip
        self._engine = engine

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def scored(self, bands: list[str], warned: int) -> None:
        """Count rows scored."""
        for band in bands:
            self._rows.labels(band).inc()
        self._warned.inc(warned)

    def cards(self, count: int) -> None:
        """Count cards raised."""
        self._cards.inc(count)

    def feedback(self, outcome: str) -> None:
        """Count a card that was accepted or overridden."""
        self._feedback.labels(outcome).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        self._model.clear()
        model = self._engine.loaded.model
        self._model.labels(model.definition.name, model.hash[:12]).set(1)
        return generate_latest(self._registry)
