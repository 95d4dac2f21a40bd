"""The steps of the demo: the example's sections 5.1 to 5.7, a power cut, a tunnel; with ✓ or ✗."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from qanat.cli.demo import clients, redirect, stage, tunnel

SUCCESS = '{"code":0,"msg":"success."}'
PATH = "/api/v1/stream_srv"
RSA_PAIR = (
    "ssl_certificate certs/ca/RSA/rsa.server.cer.pem;"
    "ssl_certificate_key certs/ca/RSA/rsa.server.key.pem;"
)


def run_demo() -> int:
    """Run the examples and return the exit status: 0 if every step did what it should."""
    if not redirect.is_inside():
        status = redirect.enter_namespace()
        if status is not None:
            return status
    show = Show(redirected=redirect.is_inside())
    try:
        with tempfile.TemporaryDirectory(prefix="qanat-demo-") as folder, stage.server_behind():
            prefix = stage.make_prefix(Path(folder))
            first_configuration(show, prefix)
            second_configuration(show, prefix)
            tunnel.show_tunnel(show, prefix)
    except stage.DemoError as error:
        show.console.print(f"[red]✗[/] {escape(str(error))}")
        return 1
    return show.summary()


@dataclass(slots=True)
class Show:
    """Prints steps and counts how they went."""

    redirected: bool
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    passed: int = 0
    failed: int = 0

    @property
    def host(self) -> str:
        """The gateway's address as clients use it."""
        return redirect.ADDRESS if self.redirected else "127.0.0.1"

    def title(self, text: str) -> None:
        """Begin a section."""
        self.console.print(f"\n[bold]{escape(text)}[/]")

    def note(self, text: str) -> None:
        """Say what is being done."""
        self.console.print(f"  [dim]{escape(text)}[/]")

    def check(self, what: str, answer: str, expected: str) -> None:
        """Show an answer and whether it holds what was expected."""
        good = expected in answer
        mark = "[green]✓[/]" if good else "[red]✗[/]"
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        shown = answer.splitlines()[-1] if answer else "(nothing)"
        self.console.print(f"  {mark} {escape(what)} → {escape(shown)}")
        if not good:
            self.console.print(f"      expected: {escape(expected)}")

    def add(self, address: str, name: str, body: str, expected: str = SUCCESS) -> None:
        """Add a virtual server through the API."""
        request = {"type": "add", "addr_port": address, "server_name": name, "server_body": body}
        self.change("POST", request, expected)

    def remove(self, address: str, name: str, expected: str = SUCCESS) -> None:
        """Remove a virtual server through the API."""
        request = {"type": "del", "addr_port": address, "server_name": name}
        self.change("PUT", request, expected)

    def change(self, method: str, request: dict[str, str], expected: str) -> None:
        """Send a change and check its answer."""
        self.note(f"curl -X {method} http://127.0.0.1:8081{PATH} -d '{json.dumps(request)}'")
        self.check(
            f"{method} {request['server_name']}", clients.call(method, PATH, request), expected
        )

    def redirect_tcp(self, port: int, to: int) -> None:
        """Redirect a TCP port, where the demo can."""
        if self.redirected:
            self.note(redirect.redirect_tcp(port, to))

    def redirect_udp(self, port: int, to: int) -> None:
        """Redirect a UDP port, where the demo can."""
        if self.redirected:
            self.note(redirect.redirect_udp(port, to))

    def tcp(self, port: int, expected: str) -> None:
        """Ask over TCP."""
        self.check(f"TCP {self.host}:{port}", clients.ask_tcp(self.host, port).text, expected)

    def udp(self, port: int, expected: str) -> None:
        """Ask over UDP."""
        self.check(f"UDP {self.host}:{port}", clients.ask_udp(self.host, port).text, expected)

    def tls(
        self, port: int, expected: str, *, sni: str | None = None, certificate: str = ""
    ) -> None:
        """Ask over TLS, and look at the certificate if one is expected."""
        answer = clients.ask_tls(self.host, port, sni)
        named = f" with SNI {sni}" if sni else ""
        self.check(f"TLS {self.host}:{port}{named}", answer.text, expected)
        if certificate:
            self.check(f"certificate at {port}{named}", answer.certificate, certificate)

    def summary(self) -> int:
        """Say how it went; the exit status."""
        if self.failed:
            self.console.print(
                f"\n[red]qanat demo: {self.failed} steps failed[/], {self.passed} passed"
            )
            return 1
        how = "redirected by iptables in a namespace" if self.redirected else "without redirection"
        self.console.print(f"\n[green]qanat demo: all {self.passed} steps passed[/] ({how})")
        return 0


def first_configuration(show: Show, prefix: Path) -> None:
    """Sections 5.1 to 5.6 on the example's njet.conf, then the power cut."""
    show.title("The gateway runs njet.conf, unmodified")
    if not show.redirected:
        show.note(
            "no network namespace can be made here: ports are not redirected, SNI selects instead"
        )
    gateway = stage.start(prefix, "njet.conf")
    try:
        show.tcp(22222, "answer from 5555")
        show.udp(22223, "22223 udp ok")
        show.tls(22224, "22224 ssl ok", certificate="default (ECC)")
        add_and_remove(show)
        certificates(show)
        show.title("kill -9, and start again: what was answered is there")
        gateway.kill()
        gateway = stage.start(prefix, "njet.conf")
        show.tcp(23333, "23333 ok")
        show.tls(22224, "ssl ok", sni="server-19082", certificate="server-19082 (RSA)")
    finally:
        gateway.stop()


def add_and_remove(show: Show) -> None:
    """Sections 5.1 to 5.5."""
    show.title("5.1  add a TCP virtual server to a listener, selected by the original port")
    show.add("0.0.0.0:22222", "server-17082", 'return "17082 ok";')
    show.redirect_tcp(17082, 22222)
    if show.redirected:
        show.tcp(17082, "17082 ok")
    show.tcp(22222, "answer from 5555")

    show.title("5.2  add a UDP virtual server")
    show.add("0.0.0.0:22223 udp", "server-18082", 'return "18082 ok";')
    show.redirect_udp(18082, 22223)
    if show.redirected:
        show.udp(18082, "18082 ok")
    show.udp(22223, "22223 udp ok")

    show.title("5.3  add a virtual server on a port that nobody listens on")
    show.add("0.0.0.0:23333", "server-23333", 'return "23333 ok";')
    show.tcp(23333, "23333 ok")

    show.title("5.4  remove the TCP virtual server")
    show.remove("0.0.0.0:22222", "server-17082")
    if show.redirected:
        show.tcp(17082, "answer from 5555")

    show.title("5.5  remove the UDP virtual server")
    show.note("the example names server-17082, which is not on this listener: refused")
    show.remove("0.0.0.0:22223 udp", "server-17082", "no find server [server-17082]!")
    show.remove("0.0.0.0:22223 udp", "server-18082")
    if show.redirected:
        show.udp(18082, "22223 udp ok")


def certificates(show: Show) -> None:
    """Section 5.6."""
    show.title("5.6  add a TLS virtual server with a certificate of its own")
    show.add("0.0.0.0:22224", "server-19082", f'{RSA_PAIR}return "ssl ok";')
    show.redirect_tcp(19082, 22224)
    if show.redirected:
        show.tls(19082, "ssl ok", certificate="server-19082 (RSA)")
    show.tls(22224, "ssl ok", sni="server-19082", certificate="server-19082 (RSA)")
    show.tls(22224, "22224 ssl ok", certificate="default (ECC)")


def second_configuration(show: Show, prefix: Path) -> None:
    """Section 5.7: a TLS listener whose default refuses every handshake."""
    show.title("5.7  a TLS listener that rejects, until a virtual server brings a certificate")
    with stage.gateway(prefix, "njet-reject.conf"):
        show.remove("0.0.0.0:22224", "server-19082")
        show.tls(22224, "UNRECOGNIZED_NAME")
        show.add("0.0.0.0:22224", "server-19082", f'{RSA_PAIR}return "ssl ok";')
        if show.redirected:
            show.tls(19082, "ssl ok", certificate="server-19082 (RSA)")
        show.tls(22224, "ssl ok", sni="server-19082", certificate="server-19082 (RSA)")
        show.tls(22224, "UNRECOGNIZED_NAME")
