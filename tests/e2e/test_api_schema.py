"""The API does what its own description says, whatever is sent to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

CONFIG = """
tunnels {
    listen 127.0.0.1:@tunnels;
    secret 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff;
}
stream {
    server { listen 127.0.0.1:@front; return "hello"; }
    server { listen 127.0.0.1:@datagrams udp; server_name a.test; return "hello"; }
}
"""
CHECKS = [
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
]


def send_anything(served: Gateway, wanted: str, examples: int) -> list[schemathesis.Response]:
    """Send what the description allows, and what it does not, to each resource wanted."""
    url = f"http://127.0.0.1:{served.port('control_api')}/v1/openapi.json"
    described = schemathesis.openapi.from_url(url).include(path_regex=wanted)
    answers = []
    for operation in described.get_all_operations():
        assert isinstance(operation, Ok)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.ok().as_strategy())
        def send(case: schemathesis.Case[Any]) -> None:
            answers.append(case.call_and_validate(checks=CHECKS))

        send()
    return answers


def test_our_resources(served: Gateway) -> None:
    answers = send_anything(served, "^/v1/", 50)
    assert {answer.status_code for answer in answers} >= {200, 404}


def test_the_resource_of_njet(served: Gateway) -> None:
    answers = send_anything(served, "stream_srv$", 150)
    assert all(answer.json().keys() == {"code", "msg"} for answer in answers)


def test_the_gateway_is_as_well_as_before(served: Gateway) -> None:
    with served.api() as api:
        assert api.get("/v1/status").json()["skipped"] == []
        dynamic = [item for item in api.get("/v1/servers").json()["servers"] if item["dynamic"]]
        assert all(re.fullmatch(r"(tcp|udp):.+/.+", item["id"], re.DOTALL) for item in dynamic)
