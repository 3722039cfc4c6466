"""Whatever is sent to any call of `/openapi.json`, the answer is one that the document promises."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks

from serving.app import create_app
from tests.access_world import ADMIN, KEYS
from tests.live import Live, event
from tests.test_serving_world import SETTINGS, World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

EXAMPLES = int(os.environ.get("FRESHET_FUZZ_EXAMPLES", "8"))
WRONG, OPEN = "no such key", {"/healthz", "/readyz"}
START = 1_767_225_600_000
FUZZED = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
OPERATIONS = [
    one.ok() for one in schemathesis.openapi.from_dict(create_app(SETTINGS, World().services()).openapi()).get_all_operations()
]
CHECKS = [
    schemathesis.checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance,
]  # fmt: skip
VALID, WRONG_TOO = [schemathesis.GenerationMode.POSITIVE], list(schemathesis.GenerationMode)


class Apis(NamedTuple):
    """One that asks for keys, and one that is open."""

    keyed: str
    free: str


@pytest.fixture(scope="module")
def apis(live: Live) -> Iterator[Apis]:
    live.produce(
        [("items", f"i{n}", orjson.dumps({"item_id": f"i{n}", "title": f"Film {n}", "categories": ["a"]})) for n in range(9)]
    )
    live.produce([("clicks", f"u{n}", event(f"u{n}", f"i{m}", START + m)) for n in range(5) for m in range(n, n + 4)])
    live.worker()
    live.settle()
    given_settings = {"store_timeout_ms": 5000, "rate_limit": 0}
    yield Apis(live.api(api_keys=KEYS, **given_settings), live.api(**given_settings))


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
@pytest.mark.parametrize("key", [None, WRONG, ADMIN], ids=["open", "wrong key", "admin"])
def test_answers_are_as_promised(apis: Apis, session: requests.Session, operation: Any, key: str | None) -> None:
    url = apis.free if key is None else apis.keyed
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    takes_something = operation.definition.raw.keys() & {"parameters", "requestBody"}
    for mode in WRONG_TOO if takes_something and key != WRONG else VALID:

        @settings(FUZZED, max_examples=2 if key == WRONG else EXAMPLES)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call(base_url=url, session=session, headers=headers, timeout=30)
            case.validate_response(answer, checks=CHECKS)
            assert key != WRONG or answer.status_code in {401, 422} or operation.path in OPEN

        ask()
