"""Addresses and options of services in the file: each once, and only what means something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.config.errors import ConfigError

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site


def refused(site: Site, tunnels: str, rest: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        site.compile(f"events {{}} tunnels {{ {tunnels} }} {rest}")
    [problem] = caught.value.problems
    return problem.message


def test_two_services_cannot_have_one_address(site: Site) -> None:
    message = refused(site, "service a local 127.0.0.1:81; service b local 127.0.0.1:81;")
    assert message == '127.0.0.1:81 belongs to service "a": choose another port'


def test_a_service_cannot_have_the_address_of_tunnels(site: Site) -> None:
    message = refused(site, "service a local 127.0.0.1:81; listen 127.0.0.1:81;")
    assert message == '127.0.0.1:81 belongs to service "a": choose another port'


def test_a_service_cannot_have_the_address_of_a_virtual_server(site: Site) -> None:
    server = "stream { server { listen 127.0.0.1:81; return x; } }"
    message = refused(site, "service a local 127.0.0.1:81;", server)
    assert message == "127.0.0.1:81 belongs to a virtual server: choose another port"


def test_tcp_and_udp_have_ports_of_their_own(site: Site) -> None:
    site.compile(
        "events {} tunnels { service a local 127.0.0.1:81; service b local 127.0.0.1:81 udp; }"
    )


@pytest.mark.parametrize(
    ("service", "fault"),
    [
        ("a local 127.0.0.1:5-7", "is 3 addresses, one is needed"),
        ("a local 127.0.0.1:5 key=", 'invalid parameter "key="'),
        ("a local 127.0.0.1:5 upload_rate=1 upload_rate=2", 'invalid parameter "upload_rate=2"'),
        ("a remote unix:", "no path in the unix domain socket"),
        ("a remote unix:/" + "x" * 200, "too long path in the unix domain socket"),
        (".. remote 127.0.0.1:5", '".." is no service name'),
    ],
)
def test_what_means_nothing_is_refused(site: Site, service: str, fault: str) -> None:
    assert fault in refused(site, f"service {service};")
