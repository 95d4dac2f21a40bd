"""Redirecting ports as the example does: iptables inside a network namespace of the demo's own.

Nothing outside the namespace is touched. Where none can be made the demo does without, and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

ADDRESS = "10.231.0.1"
INSIDE = "QANAT_DEMO_NAMESPACE"


def enter_namespace() -> int | None:
    """Run the demo in a new network namespace; its exit status, or None if there can be none."""
    if not all(shutil.which(tool) for tool in ("unshare", "ip", "iptables")):
        return None
    unshare = ["unshare", "--net"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    probe = "ip link set lo up && iptables -t nat -L -n && iptables -t mangle -L -n"
    probed = subprocess.run(  # noqa: S603 - fixed words
        [*unshare, "sh", "-c", probe], capture_output=True, check=False, timeout=20
    )
    if probed.returncode != 0:
        return None
    setup = f"ip link set lo up && ip addr add {ADDRESS}/24 dev lo"
    script = f'{setup} && exec "$@"'
    command = [*unshare, "sh", "-c", script, "sh", sys.executable, "-m", "qanat", "demo"]
    environment = {**os.environ, INSIDE: "1"}
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - as above


def is_inside() -> bool:
    """Whether this process is the one inside the namespace."""
    return os.environ.get(INSIDE) == "1"


def redirect_tcp(port: int, to: int) -> str:
    """Send TCP connections for `port` to the listener `to`; the text of the rule."""
    return iptables(
        f"-t nat -A OUTPUT -d {ADDRESS} -p tcp -m tcp --dport {port}"
        f" -j DNAT --to-destination {ADDRESS}:{to}"
    )


def redirect_udp(port: int, to: int) -> str:
    """Send datagrams for `port` to the listener `to` by TPROXY; the text of the rule."""
    return iptables(
        f"-t mangle -A PREROUTING -p udp -d {ADDRESS} --dport {port}"
        f" -j TPROXY --tproxy-mark 0x1/0x1 --on-port {to}"
    )


def iptables(rule: str) -> str:
    """Add a rule."""
    subprocess.run(["iptables", *rule.split()], check=True, timeout=20)  # noqa: S603, S607 - fixed words
    return f"iptables {rule}"
