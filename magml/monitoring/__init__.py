"""After go-live: what has changed in the records, the scores and the outcomes, period by period."""

from __future__ import annotations

from magml.monitoring.baseline import Baseline
from magml.monitoring.monitor import monitor
from magml.monitoring.result import Monitoring
from magml.monitoring.thresholds import Thresholds, read_thresholds

__all__ = ["Baseline", "Monitoring", "Thresholds", "monitor", "read_thresholds"]
