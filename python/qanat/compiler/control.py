"""Where the control API listens: `control` of the main file, and the file that `helper ctrl`
names."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qanat.compiler.address import AddressError, is_loopback, parse_address, with_port
from qanat.compiler.compilation import Compilation, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qanat.config.paths import Paths
    from qanat.config.tree import Directive, Tree

_HTTP_PORT = 80  # `listen` of an http server needs no port
_OTHER_NAME = "njet_ctrl.conf"
_GUARDS = frozenset(
    ("deny", "auth_basic", "auth_request", "auth_jwt", "ssl_verify_client", "limit_except")
)


@dataclass(frozen=True, slots=True)
class ControlEndpoint:
    """An address of the control API: `IP:PORT`, `[V6]:PORT` or `unix:PATH`, and who may use it."""

    address: str
    token_file: Path | None = None
    token_env: str | None = None
    allow_unauthenticated: bool = False
    legacy_location: str = "/api"
    doc_location: str = "/doc"
    origin: str = ""


def control_file(tree: Tree, paths: Paths) -> Path | None:
    """Find the file that `helper ctrl` names; None if there is no such helper or no such file.

    Looked for below the prefix, then below the directory of the main file, then as
    `njet_ctrl.conf` beside either.
    """
    helper = _ctrl_helper(tree)
    if helper is None:
        return None
    candidates = [base / helper.args[2] for base in (paths.prefix, paths.conf.parent)]
    candidates += [candidate.parent / _OTHER_NAME for candidate in candidates]
    candidates.append(paths.conf.parent / _OTHER_NAME)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _ctrl_helper(tree: Tree) -> Directive | None:
    for helper in tree.find("helper"):
        if helper.args[0] == "ctrl" and len(helper.args) > 2:
            return helper
    return None


def control_endpoints(
    compilation: Compilation, tree: Tree, control: Tree | None
) -> tuple[ControlEndpoint, ...]:
    """Collect the endpoints of both files; `control` of the main file decides about an address
    that both have."""
    endpoints: dict[str, ControlEndpoint] = {}
    for directive in tree.find("control"):
        try:
            endpoint = _read_control(compilation, directive)
            if endpoint.address in endpoints:
                raise Refused(f'a duplicate control address "{endpoint.address}"')
            endpoints[endpoint.address] = endpoint
        except Refused as refused:
            compilation.note(directive, refused)
    helper = _ctrl_helper(tree)
    if control is not None:
        _add_control_file(compilation, control, endpoints)
    elif helper is not None and control_file(tree, compilation.world.paths) is None:
        path = compilation.world.paths.prefix / helper.args[2]
        compilation.refuse(helper, f'open() "{path}" failed (2: No such file or directory)')
    return tuple(endpoints.values())


def _read_control(compilation: Compilation, directive: Directive) -> ControlEndpoint:
    text, *options = directive.args
    # A bare port is on loopback: closed by default.
    address = _literal(
        compilation, text, "control", f"127.0.0.1:{text}" if text.isdigit() else text
    )
    endpoint = ControlEndpoint(address, origin=directive.origin)
    for option in options:
        name, equals, value = option.partition("=")
        if option == "insecure":
            endpoint = replace(endpoint, allow_unauthenticated=True)
        elif name == "token_file" and value:
            path = compilation.world.paths.prefix / value
            endpoint = replace(endpoint, token_file=path)
        elif name == "token_env" and value and equals:
            endpoint = replace(endpoint, token_env=value)
        else:
            raise Refused(f'invalid parameter "{option}"')
    if endpoint.token_file is not None and endpoint.token_env is not None:
        raise Refused('"token_file" and "token_env" exclude each other')
    has_token = endpoint.token_file is not None or endpoint.token_env is not None
    if not has_token and not endpoint.allow_unauthenticated and not is_loopback(address):
        raise Refused(
            f'control address "{text}" can be reached from other hosts: '
            'it needs "token_file=PATH" or "token_env=NAME", or "insecure"'
        )
    missing = _missing_token(endpoint)
    if missing is not None:
        # It may be put there later; until then nobody gets in, which has to be said.
        message = f"{missing}: the control API on {address} refuses every request until it has one"
        compilation.warn(directive, message)
    return endpoint


def _missing_token(endpoint: ControlEndpoint) -> str | None:
    """Say why there is no token although one is configured; None if there is one."""
    path, variable = endpoint.token_file, endpoint.token_env
    if variable is not None and not os.environ.get(variable, "").strip():
        return f'environment variable "{variable}" holds no token'
    if path is None:
        return None
    try:
        return None if path.read_bytes().strip() else f'token file "{path}" is empty'
    except OSError as error:
        return f'open() "{path}" failed ({error.errno}: {error.strerror})'


def _literal(compilation: Compilation, shown: str, name: str, text: str) -> str:
    try:
        address = parse_address(text, listen=True)
    except AddressError as error:
        raise Refused(f'{error} in "{shown}" of the "{name}" directive') from None
    if address.path:
        base = compilation.world.paths.prefix
        return f"unix:{base / address.path}"
    if len(address.ports) > 1 or (not address.ports and name == "control"):
        raise Refused(f'no port in "{shown}" of the "{name}" directive')
    hosts = ("0.0.0.0",) if address.host == "*" else compilation.resolve(address.host)  # noqa: S104 - asked for
    if not hosts:
        raise Refused(f'host not found in "{shown}" of the "{name}" directive')
    return with_port(hosts[0], address.ports[0] if address.ports else _HTTP_PORT)


def _add_control_file(
    compilation: Compilation, control: Tree, endpoints: dict[str, ControlEndpoint]
) -> None:
    for http, server in _http_servers(control):
        api = _location(server, "dyn_module_api")
        doc = _location(server, "doc_api")
        if api is None:
            message = f"http server at {server.origin} is parsed and not served"
            compilation.warn(_nowhere(server), message)
            continue
        guards = _guards(http, server, api)
        for listen in server.block or ():
            if listen.name != "listen":
                continue
            try:
                endpoint = _read_listen(compilation, listen, guards, endpoints)
                endpoints[endpoint.address] = replace(
                    endpoint,
                    legacy_location=_path(api),
                    doc_location="/doc" if doc is None else _path(doc),
                )
            except Refused as refused:
                compilation.note(listen, refused)


def _http_servers(control: Tree) -> Iterator[tuple[Directive, Directive]]:
    for http in control.find("http"):
        yield from ((http, entry) for entry in http.block or () if entry.name == "server")


def _location(server: Directive, content: str) -> Directive | None:
    for entry in server.block or ():
        if entry.name == "location" and any(one.name == content for one in entry.block or ()):
            return entry
    return None


def _path(location: Directive) -> str:
    path = location.args[-1].rstrip("/")
    return path if path.startswith("/") else f"/{path}"


def _guards(*levels: Directive) -> tuple[Directive, ...]:
    """Find what keeps callers out at the levels above the API, which we do not carry out."""
    return tuple(
        entry
        for level in levels
        for entry in level.block or ()
        if (entry.name in _GUARDS and entry.args[:1] != ("off",))
        or entry.name.startswith("access_by_")
    )


def _read_listen(
    compilation: Compilation,
    listen: Directive,
    guards: tuple[Directive, ...],
    endpoints: dict[str, ControlEndpoint],
) -> ControlEndpoint:
    if "ssl" in listen.args[1:]:
        raise Refused("the control API does not speak TLS in this version of qanat")
    text = listen.args[0]
    address = _literal(compilation, text, "listen", text)
    known = endpoints.get(address)
    if known is not None:
        return known
    conf = compilation.world.paths.conf
    if guards:
        # Open where the file says closed is the one thing that must not happen.
        guard = guards[0]
        raise Refused(
            f'"{guard.name}" at {guard.origin} cannot protect the control API on {address} in this '
            f'version of qanat; add "control {address} token_file=PATH;" to {conf} instead'
        )
    if is_loopback(address):
        return ControlEndpoint(address, origin=listen.origin)
    message = (
        f"the control API on {address} ({listen.origin}) needs no token, whoever asks; "
        f'to ask for one, add "control {address} token_file=PATH;" to {conf}'
    )
    compilation.warn(_nowhere(listen), message)
    return ControlEndpoint(address, allow_unauthenticated=True, origin=listen.origin)


def _nowhere(directive: Directive) -> Directive:
    # The message names the place itself.
    return replace(directive, file="", line=0)
