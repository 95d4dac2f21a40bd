"""`/v1/rules`: rules are changed while traffic runs, and kept over restarts."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import ask, connect, read_all, read_exactly
from tests.harness.servers import echo, serve, tagged, tagged_after_request
from tests.harness.stream_srv import SUCCESS, add, remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    upstream one { server 127.0.0.1:@one; }
    upstream two { server 127.0.0.1:@two; }
    rules edge {
        rule static source=127.0.2.1 pass=one;
        default reject;
    }
    server { listen 127.0.0.1:@front; preread_timeout 300ms; proxy_pass rules:edge; }
}
"""


@pytest.fixture
def peers() -> Iterator[dict[str, int]]:
    with serve(tagged("one")) as one, serve(tagged("two")) as two:
        yield {"one": one, "two": two}


@pytest.fixture
def running(gateway: Gateway, peers: dict[str, int]) -> Gateway:
    gateway.write(CONFIG, one=peers["one"], two=peers["two"])
    return gateway.start_with_api("--workers", "2")


def put(api: httpx.Client, path: str, **fields: object) -> dict[str, Any]:
    answer = api.put(f"/v1/rules/{path}", json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def seen(gateway: Gateway, source: str) -> bytes:
    return ask(gateway.port("front"), source=source)


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["where"]


def test_a_rule_decides_from_the_answer_on(running: Gateway) -> None:
    with running.api() as api:
        for turn in range(20):
            target = ("one", "two")[turn % 2]
            put(api, "edge/new", source=["127.0.3.0/24"], **{"pass": target})
            assert seen(running, "127.0.3.1") == target.encode()
        assert api.delete("/v1/rules/edge/new").json()["changed"] is True
        assert seen(running, "127.0.3.1") == b""
        assert api.delete("/v1/rules/edge/new").status_code == 404


def test_putting_again_what_is_there_changes_nothing(running: Gateway) -> None:
    with running.api() as api:
        first = put(api, "edge/new", source=["127.0.3.1"], **{"pass": "one"})
        again = put(api, "edge/new", source=["127.0.3.1"], **{"pass": "one"})
        assert first["changed"] is True
        assert again == {"revision": first["revision"], "changed": False}


def test_priority_goes_before_the_order_of_the_file(running: Gateway) -> None:
    with running.api() as api:
        put(api, "edge/later", source=["127.0.2.0/24"], **{"pass": "two"})
        assert seen(running, "127.0.2.1") == b"one"
        assert seen(running, "127.0.2.2") == b"two"
        put(api, "edge/first", priority=1, source=["127.0.2.0/24"], **{"pass": "two"})
        assert seen(running, "127.0.2.1") == b"two"
        shown = api.get("/v1/rules/edge").json()
        assert [rule["name"] for rule in shown["rules"]] == ["first", "static", "later"]
        assert [rule["decided"] for rule in shown["rules"]] == [1, 1, 1]
        assert [rule["dynamic"] for rule in shown["rules"]] == [True, False, True]


def test_all_rules_of_a_table_at_once(running: Gateway) -> None:
    with running.api() as api:
        put(api, "edge/gone", source=["127.0.3.3"], **{"pass": "two"})
        rules = {
            "a": {"source": ["127.0.3.1"], "pass": "one"},
            "b": {"source": ["127.0.3.2"], "pass": "two"},
        }
        assert put(api, "edge", rules=rules)["changed"] is True
        assert put(api, "edge", rules=rules)["changed"] is False
        answers = [seen(running, f"127.0.3.{number}") for number in (1, 2, 3)]
        assert answers == [b"one", b"two", b""]
        # One that is wrong leaves all as it was.
        broken = {"a": {"source": ["127.0.3.1"], "pass": "two"}, "b": {"pass": "nobody"}}
        answer = api.put("/v1/rules/edge", json={"rules": broken})
        assert refusal(answer) == (422, "invalid_request", "rules.b.pass")
        assert seen(running, "127.0.3.1") == b"one"


def test_a_table_of_the_api_serves_virtual_servers_of_the_api(running: Gateway) -> None:
    address = f"127.0.0.1:{running.port('other')}"
    with running.api() as api:
        assert add(api, address, "x", "proxy_pass rules:mine;") != SUCCESS
        put(api, "mine", default={"pass": "one"}, rules={"r": {"port": [1], "reject": 421}})
        assert add(api, address, "x", "proxy_pass rules:mine;") == SUCCESS
        assert ask(running.port("other")) == b"one"
        put(api, "mine", default={"pass": "two"})
        assert ask(running.port("other")) == b"two"
        assert refusal(api.delete("/v1/rules/mine"))[:2] == (409, "in_use")
        assert remove(api, address, "x") == SUCCESS
        assert api.delete("/v1/rules/mine").status_code == 200
        assert [table["name"] for table in api.get("/v1/rules").json()["tables"]] == ["edge"]


def test_the_file_keeps_what_is_its_own(running: Gateway) -> None:
    with running.api() as api:
        for answer in (
            api.put("/v1/rules/edge/static", json={"pass": "two"}),
            api.delete("/v1/rules/edge/static"),
            api.delete("/v1/rules/edge"),
            api.put("/v1/rules/edge", json={"default": {"pass": "one"}}),
        ):
            assert refusal(answer)[:2] == (409, "static"), answer.text
        assert seen(running, "127.0.2.1") == b"one"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"pass": "nobody"}, "pass"),
    ({"pass": "one", "reject": 403}, "pass"),
    ({}, "pass"),
    ({"reject": 200}, "reject"),
    ({"source": ["10.0.0.0/8", "300.1.1.1"], "reject": 403}, "source[1]"),
    ({"port": [0], "reject": 403}, "port[0]"),
    ({"port": ["9-1"], "reject": 403}, "port[0]"),
    ({"sni": ["a..b"], "reject": 403}, "sni[0]"),
    ({"sni": ["~(open"], "reject": 403}, "sni"),
    ({"alpn": [""], "reject": 403}, "alpn[0]"),
    ({"starts_with": ["\\q"], "reject": 403}, "starts_with[0]"),
    ({"priority": -1, "reject": 403}, "priority"),
    ({"source": "10.0.0.0/8", "reject": 403}, "source"),
    ({"colour": "red", "reject": 403}, ""),
]


def test_a_rule_that_is_wrong_names_the_field(running: Gateway) -> None:
    with running.api() as api:
        for body, where in WRONG:
            answer = api.put("/v1/rules/edge/new", json=body)
            assert refusal(answer) == (422, "invalid_request", where), answer.text
        assert len(api.get("/v1/rules/edge").json()["rules"]) == 1


def test_names_and_shapes_that_are_refused(running: Gateway) -> None:
    with running.api() as api:
        assert refusal(api.put("/v1/rules/edge/default", json={"reject": 403}))[2] == "name"
        assert refusal(api.put("/v1/rules/edge/a b", json={"reject": 403}))[2] == "name"
        assert refusal(api.put("/v1/rules/1x", json={}))[2] == "table"
        assert refusal(api.put("/v1/rules/none/r", json={"reject": 403}))[0] == 404
        assert api.put("/v1/rules/edge/new", content=b"{").status_code == 400
        assert api.get("/v1/rules/none").status_code == 404
        assert api.get("/v1/rules/edge/none").status_code == 404


def test_a_dry_run_tells_the_rule_and_why_not_those_before(running: Gateway) -> None:
    with running.api() as api:
        put(api, "edge/named", sni=["*.test"], source=["10.0.0.0/8"], **{"pass": "one"})
        put(api, "edge/spoken", starts_with=["SSH-"], **{"pass": "two"})

        def match(**asked: object) -> dict[str, Any]:
            found: dict[str, Any] = api.post("/v1/rules/edge:match", json=asked).json()
            return found

        assert match(source="10.1.1.1", sni="A.test") == {
            "rule": "named",
            "action": {"pass": "one"},
            "waits": False,
            "passed_over": [{"rule": "static", "denied_by": "source"}],
        }
        spoken = match(source="10.1.1.1", first_bytes="SSH-2")
        assert spoken["rule"] == "spoken"
        assert spoken["passed_over"][1] == {"rule": "named", "denied_by": "tls"}
        nothing = match(source="192.0.2.1")
        assert (nothing["rule"], nothing["action"]) == (None, {"reject": 403})
        assert nothing["waits"] is True
        assert match(source="127.0.2.1")["waits"] is False
        assert refusal(api.post("/v1/rules/edge:match", json={"source": "x"}))[2] == "source"
        answer = api.post("/v1/rules/none:match", json={"source": "::1"})
        assert refusal(answer)[:2] == (404, "not_found")


def test_rules_are_there_after_a_crash_and_a_reload(
    running: Gateway, peers: dict[str, int]
) -> None:
    with running.api() as api:
        put(api, "edge/kept", source=["127.0.3.1"], note="why", **{"pass": "two"})
        put(api, "edge/literal", source=["127.0.3.2"], **{"pass": f"127.0.0.1:{peers['one']}"})
        put(api, "mine", default={"reject": 421})
        before = api.get("/v1/rules").json()["tables"]
    running.kill()
    running.start_with_api()
    assert seen(running, "127.0.3.1") == b"two"
    assert seen(running, "127.0.3.2") == b"one"
    running.signal(signal.SIGHUP)
    running.wait_for_log("reconfigured")
    with running.api() as api:
        after = api.get("/v1/rules").json()["tables"]
    assert seen(running, "127.0.3.1") == b"two"
    for table in (*before, *after):
        for item in (table, *table["rules"]):
            for count in ("decided", "unmatched"):
                item.pop(count, None)
    assert after == before


def test_a_rule_whose_upstream_is_gone_is_set_aside_and_kept(
    running: Gateway, peers: dict[str, int]
) -> None:
    with running.api() as api:
        put(api, "edge/kept", source=["127.0.3.1"], **{"pass": "two"})
    without = CONFIG.replace("upstream two { server 127.0.0.1:@two; }", "")
    running.write(without, one=peers["one"])
    running.expected_alarms.append("does not fit")
    running.signal(signal.SIGHUP)
    running.wait_for_log(r'rule "edge/kept", added over the API, does not fit: no upstream "two"')
    assert seen(running, "127.0.3.1") == b"two"
    running.stop()
    running.start_with_api()
    running.wait_for_log("stored rule edge/kept is not served")
    assert seen(running, "127.0.3.1") == b""
    with running.api() as api:
        (skipped,) = api.get("/v1/status").json()["skipped_rules"]
        assert (skipped["table"], skipped["name"]) == ("edge", "kept")
    running.stop()
    running.write(CONFIG, one=peers["one"], two=peers["two"])
    running.start_with_api()
    assert seen(running, "127.0.3.1") == b"two"


def test_open_connections_live_through_changes(gateway: Gateway) -> None:
    with serve(echo) as one, serve(tagged_after_request("two")) as two:
        gateway.write(CONFIG, one=one, two=two)
        gateway.start_with_api("--workers", "2")
        with gateway.api() as api, connect(gateway.port("front"), source="127.0.2.1") as client:
            client.sendall(b"before")
            assert read_exactly(client, 6) == b"before"
            put(api, "edge/new", priority=1, source=["127.0.2.1"], **{"pass": "two"})
            with connect(gateway.port("front"), source="127.0.2.1") as later:
                later.sendall(b"new")
                assert read_all(later) == b"two:new"
            client.sendall(b"after")
            assert read_exactly(client, 5) == b"after"


def test_fifty_rules_at_once_while_clients_come(running: Gateway) -> None:
    together = threading.Barrier(50)
    ending = threading.Event()

    def change(number: int) -> bytes:
        source = f"127.0.5.{number}"
        with running.api() as api:
            together.wait()
            put(api, f"edge/r{number}", source=[source], **{"pass": ("one", "two")[number % 2]})
            return seen(running, source)

    def come() -> set[bytes]:
        answers = set()
        while not ending.is_set():
            answers.add(seen(running, "127.0.2.1"))
        return answers

    with ThreadPoolExecutor(51) as pool:
        clients = pool.submit(come)
        answers = list(pool.map(change, range(1, 51)))
        ending.set()
        assert clients.result() == {b"one"}
    assert answers == [(b"one", b"two")[number % 2] for number in range(1, 51)]
    with running.api() as api:
        assert len(api.get("/v1/rules/edge").json()["rules"]) == 51
        assert put(api, "edge", rules={})["changed"] is True
        assert len(api.get("/v1/rules/edge").json()["rules"]) == 1
