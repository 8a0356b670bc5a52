"""Events: the contract, readers for tables in its form, and checks."""

from magml.events.read import read_events, read_labels, read_prediction_times
from magml.events.table import Events, connect

__all__ = ["Events", "connect", "read_events", "read_labels", "read_prediction_times"]
