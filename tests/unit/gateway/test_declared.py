"""What is declared in Python, as the configuration that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qanat import BalanceSession, Gateway, Peer, PrereadSession
from qanat.cli.configuration import load_configuration
from qanat.config.errors import ConfigError
from qanat.config.format import format_directives
from qanat.gateway import Decorator
from qanat.handlers.sessions import CLASSES

if TYPE_CHECKING:
    from qanat.compiler.compile import Compiled


def compiled(gateway: Gateway) -> Compiled:
    with gateway._declared.ready() as source:
        return load_configuration(source).compiled


def text(gateway: Gateway) -> str:
    """Return what stands in the stream block."""
    with gateway._declared.ready() as source:
        tree = gateway._declared.read(source.paths)
    stream = next(tree.find("stream"))
    return format_directives(stream.block or ())


def problems(gateway: Gateway) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compiled(gateway)
    return [str(problem) for problem in caught.value.problems]


def login(session: PrereadSession) -> None: ...


def choose(session: BalanceSession) -> Peer | None: ...


def test_keywords_are_directives() -> None:
    gateway = Gateway(preread_timeout="5s", log_format=("main", "$remote_addr"))
    gateway.map("$remote_addr", "$kind", {"127.0.0.1": "local"}, default="other")
    group = gateway.upstream(
        "group",
        "127.0.0.1:1 weight=2",
        Peer("127.0.0.1:2", weight=3),
        balance="hash $kind consistent",
    )
    gateway.listen(
        "127.0.0.1:9000",
        "[::1]:9000 ipv6only=on",
        server_name=("a.test", "b.test"),
        proxy_pass=group,
        tcp_nodelay=False,
        allow=["10.0.0.0/8", "127.0.0.1"],
        deny="all",
        access_log=[("logs/a.log", "main"), "off"],
        proxy_next_upstream_tries=2,
        proxy_bind=None,
        frame={"header": (">HH", "type", "length"), "length": "length", "body": "json"},
    )
    gateway.listen(9001, return_="$kind\n")
    assert text(gateway) == (
        "preread_timeout 5s;\n"
        "log_format main $remote_addr;\n"
        "map $remote_addr $kind {\n    127.0.0.1 local;\n    default other;\n}\n"
        "upstream group {\n"
        "    hash $kind consistent;\n"
        "    server 127.0.0.1:1 weight=2;\n"
        "    server 127.0.0.1:2 weight=3;\n"
        "}\n"
        "server {\n"
        '    listen 127.0.0.1:9000;\n    listen "[::1]:9000" ipv6only=on;\n'
        "    server_name a.test b.test;\n"
        "    proxy_pass group;\n"
        "    tcp_nodelay off;\n"
        "    allow 10.0.0.0/8;\n    allow 127.0.0.1;\n    deny all;\n"
        "    access_log logs/a.log main;\n    access_log off;\n"
        "    proxy_next_upstream_tries 2;\n"
        "    frame {\n"
        "        header >HH type length;\n        length length;\n        body json;\n"
        "    }\n"
        "}\n"
        'server {\n    listen 9001;\n    return "$kind\n";\n}\n'
    )


def test_a_frame_is_a_dictionary() -> None:
    gateway = Gateway()
    group = gateway.upstream("group", "127.0.0.1:1", balance="hash $frame_json_devid consistent")
    gateway.listen(
        9000,
        frame={"header": (">ccH", "type", "_", "length"), "length": "length", "body": "json"},
        proxy_pass=group,
    )
    (server,) = compiled(gateway).objects.servers
    assert server.preread.frame is not None
    assert [field.name for field in server.preread.frame.fields] == ["type", "length"]


def test_handlers_run_in_the_order_of_their_declaration_those_of_all_servers_first() -> None:
    gateway = Gateway()
    one, two = gateway.listen(9000, return_="1"), gateway.listen(9001, return_="2")
    handlers: list[Any] = [lambda session: None for _ in range(3)]
    one.preread(login)
    one.preread(handlers[0])
    gateway.preread(handlers[1])
    gateway.preread(two)(handlers[2])
    two.preread(login)
    found = compiled(gateway)
    plans = [server.handlers.preread for server in found.objects.servers]
    functions = found.handlers.functions
    chosen = [[functions[name] for name in names] for names in plans]
    assert chosen == [[handlers[1], login, handlers[0]], [handlers[1], handlers[2], login]]
    assert f"{__name__}:login()" in functions
    assert len(functions) == 4


def test_an_upstream_is_balanced_by_a_function() -> None:
    gateway = Gateway()
    group = gateway.upstream("group", "127.0.0.1:1", balance=choose)
    other = gateway.upstream("other", "127.0.0.1:1")
    assert other.balance(choose) is choose
    gateway.listen(9000, proxy_pass=group)
    handlers = {upstream.handler for upstream in compiled(gateway).objects.upstreams}
    assert handlers == {f"{__name__}:choose()"}


def test_a_file_and_python_are_one_configuration(tmp_path: Path) -> None:
    conf = tmp_path / "qanat.conf"
    conf.write_text(
        "stream { upstream group { server 127.0.0.1:1; } server { listen 1; proxy_pass group; } }"
    )
    gateway = Gateway(conf)
    gateway.listen(9000, proxy_pass="group")
    servers = compiled(gateway).objects.servers
    here = str(Path(__file__))
    assert [server.origin.rpartition(":")[0] for server in servers] == [str(conf), here]
    both = Gateway(config="stream { python_timeout 1s; server { listen 1; return a; } }")
    both.listen(9000, return_="b")
    assert len(compiled(both).objects.servers) == 2


def test_errors_point_to_the_line_that_declared() -> None:
    gateway = Gateway(
        python_timeout="soon",
    )
    server = gateway.listen(9000, proxy_pas="x")
    gateway.upstream("empty")
    lines = [line for line in Path(__file__).read_text().splitlines() if "proxy_pas=" in line]
    number = Path(__file__).read_text().splitlines().index(lines[0]) + 1
    assert problems(gateway) == [
        f'unknown directive "proxy_pas" in {__file__}:{number}; did you mean "proxy_pass"?'
    ]
    gateway.remove(server)
    assert problems(gateway) == [
        f'"python_timeout" directive invalid value in {__file__}:{number - 3}',
        f"no servers are inside upstream in {__file__}:{number + 1}",
    ]
    with pytest.raises(ValueError, match="not in list"):
        gateway.remove(server)


def test_a_directive_that_the_file_has_is_not_given_twice(tmp_path: Path) -> None:
    conf = tmp_path / "qanat.conf"
    conf.write_text("stream { python_timeout 1s; server { listen 1; return a; } }")
    (problem,) = problems(Gateway(conf, python_timeout="2s"))
    assert problem.startswith('"python_timeout" directive is duplicate in ' + __file__)


def test_what_makes_no_sense_is_refused_at_once() -> None:
    gateway = Gateway()
    with pytest.raises(TypeError, match="exclude each other"):
        Gateway("a.conf", config="stream {}")
    with pytest.raises(TypeError, match="wants an address"):
        gateway.listen()
    with pytest.raises(TypeError, match="proxy_pass= wants text"):
        gateway.listen(1, proxy_pass=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a handler of preread is a function, not 'login'"):
        gateway.preread("login")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="have an address and a weight"):
        gateway.upstream("group", Peer("127.0.0.1:1", tls=True))
    with pytest.raises(ValueError, match="above 0"):
        gateway.every(0)
    with pytest.raises(RuntimeError, match="has an address once it is served"):
        gateway.listen("127.0.0.1:0").port  # noqa: B018


def test_there_is_a_decorator_for_each_phase() -> None:
    gateway = Gateway()
    places = (gateway, gateway.listen(1), gateway.upstream("a"))
    values = [value for place in places for value in vars(place).values()]
    assert {value.phase for value in values if isinstance(value, Decorator)} == set(CLASSES)


def test_ports_are_chosen_once_and_kept() -> None:
    gateway = Gateway()
    gateway.listen("127.0.0.1:0", "127.0.0.1:0 udp", return_="a")
    gateway.listen("[::1]:0", return_="b")
    with gateway._declared.ready() as source:
        first = load_configuration(source).compiled.objects.listeners
        second = load_configuration(source).compiled.objects.listeners
    assert first == second
    assert len({listener.id for listener in first}) == 3
    assert not any(listener.id.endswith(":0") for listener in first)
