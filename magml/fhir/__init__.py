"""FHIR R4: resources in as events, risks out as RiskAssessment."""

from __future__ import annotations

from magml.fhir.read import read_bundle, read_ndjson
from magml.fhir.risk_assessment import risk_assessments

__all__ = ["read_bundle", "read_ndjson", "risk_assessments"]
