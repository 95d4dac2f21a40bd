"""The NJet example configuration in a prefix, and its API."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.certificates import Authority, Pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    from tests.harness.gateway import Gateway

EXAMPLE = Path(__file__).parents[2] / "examples" / "njet" / "conf"
DEFAULT_NAME = "default.test"
RSA_NAME = "server-19082"
RSA_BODY = (
    "ssl_certificate certs/ca/RSA/rsa.server.cer.pem;"
    'ssl_certificate_key certs/ca/RSA/rsa.server.key.pem;return "ssl ok";'
)


def lay_out(gateway: Gateway, main: str, replace: Mapping[str, str] | None = None) -> None:
    """Copy the example with its certificates into a prefix; `main` is the main file's name."""
    conf = gateway.prefix / "conf"
    conf.mkdir()
    (gateway.prefix / "logs").mkdir()
    for name in (main, "ctrl.conf"):
        (conf / name).write_text(replace_all((EXAMPLE / name).read_text(), replace or {}))
    authority = Authority(gateway.prefix / "authority")
    certificates = conf / "certs" / "ca"
    ecc, rsa = certificates / "ECC", certificates / "RSA"
    authority.issue_to(
        Pair(ecc / "ecc-root_cert.pem", ecc / "ecc-root_private_key.pem"), DEFAULT_NAME
    )
    authority.issue_to(
        Pair(rsa / "rsa.server.cer.pem", rsa / "rsa.server.key.pem"), RSA_NAME, rsa=True
    )
    gateway.conf = Path("conf") / main


def replace_all(text: str, replace: Mapping[str, str]) -> str:
    """Replace in one pass: a port that was put in is not taken for one that is to be replaced."""
    if not replace:
        return text
    any_of = "|".join(re.escape(old) for old in sorted(replace, key=len, reverse=True))
    return re.sub(any_of, lambda found: replace[found.group()], text)


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status: int
    kind: str
    code: int
    msg: str
    size: int = field(compare=False, default=0)


OK = Answer(200, "application/json", 0, "success.")


def refused(code: int, msg: str) -> Answer:
    """Return the answer to a request that cannot be done."""
    return Answer(200, "application/json", code, msg)


def malformed(msg: str) -> Answer:
    """Return the answer to a request of the wrong shape."""
    return Answer(400, "text/plain", 4, msg)


class VirtualServers:
    """`/api/v1/stream_srv` of a running gateway."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def add(self, addr_port: str, name: str, body: str, **more: str) -> Answer:
        """Add a virtual server."""
        request = {"type": "add", "addr_port": addr_port, "server_name": name, "server_body": body}
        return _read(self.client.post("/api/v1/stream_srv", json=request | more))

    def delete(self, addr_port: str, name: str) -> Answer:
        """Delete a virtual server."""
        request = {"type": "del", "addr_port": addr_port, "server_name": name}
        return _read(self.client.put("/api/v1/stream_srv", json=request))

    def post(self, body: str) -> Answer:
        """Send a body as it is."""
        return _read(self.client.post("/api/v1/stream_srv", content=body))


def _read(response: httpx.Response) -> Answer:
    answer = response.json()
    kind = response.headers["content-type"].partition(";")[0]
    return Answer(response.status_code, kind, answer["code"], answer["msg"], len(response.content))
