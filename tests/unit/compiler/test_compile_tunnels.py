"""The secrets of `tunnels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.config.errors import ConfigError

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site

    from qanat.compiler.tunnel_plan import TunnelNode

SECRETS = [f"{number:064x}" for number in range(1, 6)]


def node_of(site: Site, *secrets: str) -> TunnelNode:
    lines = "".join(f"secret {secret};" for secret in secrets)
    node = site.compile(f"events {{}} tunnels {{ {lines} }}").settings.tunnels
    assert node is not None
    return node


def test_the_first_secret_is_used_and_others_are_believed(site: Site) -> None:
    node = node_of(site, *SECRETS[:3])
    assert node.secret == bytes.fromhex(SECRETS[0])
    assert node.former_secrets == tuple(bytes.fromhex(secret) for secret in SECRETS[1:3])


@pytest.mark.parametrize("secrets", [SECRETS, [SECRETS[0], SECRETS[0]]], ids=["five", "twice"])
def test_there_are_no_more_than_four_different_secrets(site: Site, secrets: list[str]) -> None:
    with pytest.raises(ConfigError, match='at most 4 different "secret"'):
        node_of(site, *secrets)
