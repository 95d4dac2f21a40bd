"""`proxy_pass` and the directives around it, TLS towards the peer included."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from qanat.compiler import plan
from qanat.compiler.certificate import CertificateError, load_authorities, source_of
from qanat.compiler.ciphers import SPOKEN_PROTOCOLS
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.inherit import Level, Setting, flag, number, positive_size, time_ms
from qanat.compiler.rule_plan import ProxyToRules
from qanat.compiler.tls import (
    Ciphers,
    Pem,
    cipher_suites,
    load_certificates,
    read_alpn,
    read_ciphers,
    read_pem,
    read_protocols,
)
from qanat.compiler.units import parse_number, parse_offset
from qanat.compiler.upstream import upstream_of
from qanat.compiler.variables import has_variables, parse_template, template

if TYPE_CHECKING:
    from typing import Literal

    from qanat.config.tree import Directive


RULES = "rules:"
"""What stands before the name of a table in `proxy_pass`."""

Target = plan.ProxyToUpstream | plan.ProxyToVariable | ProxyToRules


def read_proxy_pass(compilation: Compilation, directive: Directive) -> Target:
    """Read the target of `proxy_pass`."""
    text = directive.args[0]
    table = text.removeprefix(RULES)
    # A port makes it an address, of a host that happens to be called so.
    if table != text and not table.isdecimal():
        return _rules(compilation, table)
    value = template(compilation, directive, text)
    if has_variables(value):
        return plan.ProxyToVariable(value=value)
    return plan.ProxyToUpstream(name=upstream_of(compilation, directive, text))


def _rules(compilation: Compilation, table: str) -> ProxyToRules:
    if table not in compilation.rule_tables and table not in compilation.known.rule_tables:
        raise Refused(
            f'no rules "{table}" are defined, which takes a block "rules {table} {{ ... }}"'
        )
    return ProxyToRules(table=table)


def read_protocol(_: Compilation, directive: Directive) -> Literal["off", "v1", "v2"]:
    """Read `proxy_protocol`: the version of the header sent."""
    value = directive.args[0]
    versions: dict[str, Literal["off", "v1", "v2"]] = {"off": "off", "on": "v1", "v2": "v2"}
    if value.lower() not in versions:
        raise Refused(f'invalid value "{value}"')
    return versions[value.lower()]


def read_bind(compilation: Compilation, directive: Directive) -> plan.Bind | None:
    """Read `proxy_bind ADDRESS [transparent] | off`."""
    text, *options = directive.args
    if options not in ([], ["transparent"]):
        raise Refused(f'invalid parameter "{options[0]}"')
    if text == "off" and not options:
        return None
    address = template(compilation, directive, text)
    if not has_variables(address) and not _is_source(text):
        raise Refused(f'invalid address "{text}"')
    return plan.Bind(address=address, transparent=bool(options))


def _is_source(text: str) -> bool:
    host, _, port = text.rpartition(":") if _has_port(text) else (text, "", "0")
    number_of_port = parse_number(port)
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return number_of_port is not None and number_of_port <= 65535


def _has_port(text: str) -> bool:
    return "]:" in text or text.count(":") == 1


def read_rate(compilation: Compilation, directive: Directive) -> plan.Template | None:
    """Read a rate in bytes per second; a literal one becomes a plain number, 0 is no limit."""
    text = directive.args[0]
    value = template(compilation, directive, text)
    if has_variables(value):
        return value
    rate = parse_offset(text)
    if rate is None:
        raise Refused(f'"{directive.name}" directive invalid value')
    return parse_template(str(rate)) if rate else None


def read_responses(compilation: Compilation, directive: Directive) -> int | None:
    """Read `proxy_responses`, whose absence means no limit."""
    return number(compilation, directive)


def read_name(compilation: Compilation, directive: Directive) -> plan.Template | None:
    """Read `proxy_ssl_name`."""
    return template(compilation, directive, directive.args[0])


def read_trusted(compilation: Compilation, directive: Directive) -> tuple[bytes, ...]:
    """Read `proxy_ssl_trusted_certificate`."""
    _, path = read_pem(compilation, directive)
    try:
        return load_authorities(source_of(path, "certificate"))
    except CertificateError as error:
        raise Refused(str(error)) from None


CONNECT_TIMEOUT = Setting("proxy_connect_timeout", time_ms, 60_000)
TIMEOUT = Setting("proxy_timeout", time_ms, 600_000)
BUFFER_SIZE = Setting("proxy_buffer_size", positive_size, 16384)
DOWNSTREAM_BUFFER: Setting[int | None] = Setting("proxy_downstream_buffer", positive_size, None)
UPSTREAM_BUFFER: Setting[int | None] = Setting("proxy_upstream_buffer", positive_size, None)
NEXT_UPSTREAM = Setting("proxy_next_upstream", flag, True)
NEXT_UPSTREAM_TRIES = Setting("proxy_next_upstream_tries", number, 0)
NEXT_UPSTREAM_TIMEOUT = Setting("proxy_next_upstream_timeout", time_ms, 0)
NO_HEADER: Literal["off", "v1", "v2"] = "off"
PROTOCOL = Setting("proxy_protocol", read_protocol, NO_HEADER)
HALF_CLOSE = Setting("proxy_half_close", flag, False)
BIND: Setting[plan.Bind | None] = Setting("proxy_bind", read_bind, None)
SOCKET_KEEPALIVE = Setting("proxy_socket_keepalive", flag, False)
UPLOAD_RATE: Setting[plan.Template | None] = Setting("proxy_upload_rate", read_rate, None)
DOWNLOAD_RATE: Setting[plan.Template | None] = Setting("proxy_download_rate", read_rate, None)
REQUESTS = Setting("proxy_requests", number, 0)
RESPONSES: Setting[int | None] = Setting("proxy_responses", read_responses, None)
SSL = Setting("proxy_ssl", flag, False)
SSL_NAME: Setting[plan.Template | None] = Setting("proxy_ssl_name", read_name, None)
SSL_SERVER_NAME = Setting("proxy_ssl_server_name", flag, False)
SSL_VERIFY = Setting("proxy_ssl_verify", flag, False)
SSL_VERIFY_DEPTH = Setting("proxy_ssl_verify_depth", number, 1)
SSL_TRUSTED: Setting[tuple[bytes, ...]] = Setting("proxy_ssl_trusted_certificate", read_trusted, ())
SSL_CERTIFICATE: Setting[Pem | None] = Setting("proxy_ssl_certificate", read_pem, None)
SSL_CERTIFICATE_KEY: Setting[Pem | None] = Setting("proxy_ssl_certificate_key", read_pem, None)
SSL_PROTOCOLS: Setting[tuple[str, ...]] = Setting(
    "proxy_ssl_protocols", read_protocols, SPOKEN_PROTOCOLS
)
SSL_CIPHERS: Setting[Ciphers | None] = Setting("proxy_ssl_ciphers", read_ciphers, None)
SSL_ALPN: Setting[tuple[str, ...]] = Setting("proxy_ssl_alpn", read_alpn, ())
SSL_SESSION_REUSE = Setting("proxy_ssl_session_reuse", flag, True)

SETTINGS = (
    *(CONNECT_TIMEOUT, TIMEOUT, BUFFER_SIZE, DOWNSTREAM_BUFFER, UPSTREAM_BUFFER, NEXT_UPSTREAM),
    *(NEXT_UPSTREAM_TRIES, NEXT_UPSTREAM_TIMEOUT, PROTOCOL, HALF_CLOSE, BIND, SOCKET_KEEPALIVE),
    *(UPLOAD_RATE, DOWNLOAD_RATE, REQUESTS, RESPONSES),
    *(SSL, SSL_NAME, SSL_SERVER_NAME, SSL_VERIFY, SSL_VERIFY_DEPTH, SSL_TRUSTED),
    *(
        SSL_CERTIFICATE,
        SSL_CERTIFICATE_KEY,
        SSL_PROTOCOLS,
        SSL_CIPHERS,
        SSL_ALPN,
        SSL_SESSION_REUSE,
    ),
)


def make_proxy(
    compilation: Compilation,
    directive: Directive,
    level: Level,
    target: Target,
) -> plan.Proxy:
    """Make the proxy part of a server whose content is `proxy_pass`."""
    old_sizes = (level.get(DOWNSTREAM_BUFFER) or 0, level.get(UPSTREAM_BUFFER) or 0)
    return plan.Proxy(
        target=target,
        connect_timeout_ms=level.get(CONNECT_TIMEOUT),
        timeout_ms=level.get(TIMEOUT),
        buffer_size=max(old_sizes) or level.get(BUFFER_SIZE),
        next_upstream=level.get(NEXT_UPSTREAM),
        next_upstream_tries=level.get(NEXT_UPSTREAM_TRIES),
        next_upstream_timeout_ms=level.get(NEXT_UPSTREAM_TIMEOUT),
        protocol=level.get(PROTOCOL),
        half_close=level.get(HALF_CLOSE),
        bind=level.get(BIND),
        socket_keepalive=level.get(SOCKET_KEEPALIVE),
        upload_rate=level.get(UPLOAD_RATE),
        download_rate=level.get(DOWNLOAD_RATE),
        requests=level.get(REQUESTS),
        responses=level.get(RESPONSES),
        tls=_make_tls(compilation, directive, level) if level.get(SSL) else None,
    )


def _make_tls(compilation: Compilation, directive: Directive, level: Level) -> plan.ProxyTls:
    verify = level.get(SSL_VERIFY)
    trusted = level.get(SSL_TRUSTED)
    if verify and not trusted:
        compilation.refuse(directive, "no proxy_ssl_trusted_certificate for proxy_ssl_verify")
    certificate, key = level.get(SSL_CERTIFICATE), level.get(SSL_CERTIFICATE_KEY)
    certificates = load_certificates(
        compilation, (certificate,) if certificate else (), (key,) if key else ()
    )
    protocols = level.get(SSL_PROTOCOLS)
    return plan.ProxyTls(
        name=level.get(SSL_NAME),
        server_name=level.get(SSL_SERVER_NAME),
        verify=verify,
        verify_depth=level.get(SSL_VERIFY_DEPTH),
        trusted=trusted,
        certificate=certificates[0] if certificates else None,
        protocols=protocols,
        ciphers=cipher_suites(compilation, level.get(SSL_CIPHERS), protocols),
        alpn=level.get(SSL_ALPN),
        session_reuse=level.get(SSL_SESSION_REUSE),
    )
