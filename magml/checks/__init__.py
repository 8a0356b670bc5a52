"""Checking data before anything is trained on them: what is wrong, and what it costs."""

from magml.checks.check import check
from magml.checks.report import CheckReport, Finding

__all__ = ["CheckReport", "Finding", "check"]
