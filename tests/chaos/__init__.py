"""Killing and breaking magml on purpose: ``python -m tests.chaos`` (``make chaos``)."""
