"""Limits of tunnels, services and peers: what the file says, as it comes to the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.config.errors import ConfigError

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site

    from qanat.compiler.compile import Compiled
    from qanat.compiler.tunnel_plan import TunnelLimits

KEY = "ab" * 32


def compiled(site: Site, tunnels: str) -> Compiled:
    secret = "secret " + "cd" * 32
    return site.compile(f"events {{}} tunnels {{ {secret}; {tunnels} }}")


def limits_of(site: Site, tunnels: str) -> TunnelLimits:
    node = compiled(site, tunnels).settings.tunnels
    assert node is not None
    return node.limits


def test_a_tunnel_has_a_rate_for_each_direction(site: Site) -> None:
    [tunnel] = compiled(site, "tunnel t h:1 send_rate=10k receive_rate=1g;").objects.tunnels
    assert (tunnel.send_rate, tunnel.receive_rate) == (10 << 10, 1 << 30)


def test_a_service_has_rates_of_all_streams_and_of_each(site: Site) -> None:
    rates = "upload_rate=1k download_rate=2k stream_upload_rate=3 stream_download_rate=4m"
    text = f"""
        service a local 127.0.0.1:1 {rates};
        service a remote 127.0.0.1:2 {rates} max_streams=7;
    """
    local, remote = compiled(site, text).objects.services
    for service in (local, remote):
        assert (service.upload_rate, service.download_rate) == (1 << 10, 2 << 10)
        assert (service.stream_upload_rate, service.stream_download_rate) == (3, 4 << 20)
    assert (local.max_streams, remote.max_streams) == (0, 7)


def test_a_peer_has_limits_of_all_of_its_tunnels(site: Site) -> None:
    rules = "send_rate=1k receive_rate=2k max_streams=3"
    [peer] = compiled(site, f"peer a ed25519:{KEY} tunnels=t* {rules};").objects.peers
    assert (peer.send_rate, peer.receive_rate, peer.max_streams) == (1 << 10, 2 << 10, 3)


def test_the_memory_of_windows_has_a_limit(site: Site) -> None:
    assert limits_of(site, "").buffer_limit == 256 << 20
    assert limits_of(site, "buffer_limit 1g;").buffer_limit == 1 << 30


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tunnel t h:1 send_rate=fast;", "send_rate=fast"),
        ("tunnel t h:1 upload_rate=1k;", 'invalid parameter "upload_rate=1k"'),
        ("service a local 127.0.0.1:1 upload_rate=-1;", "upload_rate=-1"),
        ("service a local 127.0.0.1:1 max_streams=1;", 'invalid parameter "max_streams=1"'),
        ("service a remote 127.0.0.1:1 max_streams=many;", "max_streams=many"),
        (f"peer a ed25519:{KEY} receive_rate=1x;", "receive_rate=1x"),
        ("buffer_limit 0;", "buffer_limit"),
    ],
)
def test_what_is_no_limit_is_refused_where_it_stands(site: Site, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compiled(site, text)
    [problem] = refused.value.problems
    assert reason in str(problem)
