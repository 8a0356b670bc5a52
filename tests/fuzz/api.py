"""Cases generated from the service's own OpenAPI: ``python -m tests.fuzz.api --cases 10000``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

#: Share of the cases of each route; what takes no input has one case.
SHARES = {
    "/score": 0.28,
    "/explain": 0.24,
    "/fhir/score": 0.2,
    "/cds-services/{name}": 0.14,
    "/cds-services/{name}/feedback": 0.14,
}
_NAMES = ("magml-patient-view", "magml-order-select")


def run_api(cases: int, seed_: int) -> Counter[tuple[str, int]]:
    """Send generated cases, and return the answers by route and status.

    Raises
    ------
    AssertionError
        For a 5xx, an answer that the contract does not name, a refusal without a reason, or one
        with a trace or a path.
    """
    from schemathesis import openapi

    from tests.fuzz.service import app

    found: Counter[tuple[str, int]] = Counter()
    schema = openapi.from_asgi("/openapi.json", app())
    for result in schema.get_all_operations():
        _send(result.ok(), cases, seed_, found)
    return found


def _send(operation: Any, cases: int, seed_: int, found: Counter[tuple[str, int]]) -> None:
    from hypothesis import HealthCheck, given, seed, settings

    share = SHARES.get(operation.path)

    @seed(seed_)
    @settings(
        max_examples=1 if share is None else max(1, round(cases * share)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(operation.as_strategy())
    def sent(case: Any) -> None:
        number = sum(found.values())
        if case.path_parameters and number % 8:
            case.path_parameters["name"] = _NAMES[number % 2]
        answer = case.call()
        found[operation.path, answer.status_code] += 1
        check_answer(answer)

    sent()


def check_answer(answer: Any) -> None:
    """Check one answer."""
    assert answer.status_code in (200, 400, 401, 404, 405, 413, 422), answer.status_code
    text = answer.content
    assert b"Traceback" not in text
    assert b"/magml/" not in text
    assert b"site-packages" not in text
    if answer.status_code != 200:
        assert set(json.loads(text)) == {"error"}


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    started = time.monotonic()
    found = run_api(chosen.cases, chosen.seed)
    lines = {f"{path} {status}": count for (path, status), count in sorted(found.items())}
    summary = {
        "cases": sum(found.values()), "seconds": round(time.monotonic() - started),
        "seed": chosen.seed, "answers": lines,
    }  # fmt: skip
    print(json.dumps(summary))
    sys.exit(0)


if __name__ == "__main__":
    main()
