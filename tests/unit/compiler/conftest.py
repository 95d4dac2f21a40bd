"""Fixtures of the compiler's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trustme
from tests.harness.compiler_site import Site

from qanat.compiler.virtual_server import (
    Scope,
    VirtualServer,
    VirtualServerRequest,
    compile_virtual_server,
)
from qanat.config.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "conf").mkdir()
    return Site(tmp_path)


Add = Callable[..., VirtualServer]


@pytest.fixture
def add(site: Site) -> Add:
    """Compile a request to add a virtual server."""

    def compile_request(
        address: str = "0.0.0.0:22222",
        name: str = "server-17082",
        body: str = 'return "17082 ok";',
        option: str = "",
        scope: Scope | None = None,
    ) -> VirtualServer:
        request = VirtualServerRequest(address, name, body, option)
        return compile_virtual_server(request, scope or site.scope())

    return compile_request


@pytest.fixture
def refusal(add: Add) -> Callable[..., str]:
    """Compile a request that is refused, and return the first problem."""

    def compile_refused(*args: object, **named: object) -> str:
        with pytest.raises(ConfigError) as caught:
            add(*args, **named)
        return str(caught.value.problems[0])

    return compile_refused


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pair(site: Site, authority: trustme.CA) -> tuple[Path, Path]:
    """Put a certificate and its key beside the configuration."""
    issued = authority.issue_cert("gate.test")
    certificate, key = site.prefix / "conf" / "gate.crt", site.prefix / "conf" / "gate.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key
