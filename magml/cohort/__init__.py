"""Cohorts: prediction times with inclusion, exclusion and attrition."""

from magml.cohort.cohort import CohortTable, Step, build_cohort

__all__ = ["CohortTable", "Step", "build_cohort"]
