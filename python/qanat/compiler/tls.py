"""`ssl_*`: TLS towards clients. Settings by level, certificates as objects, and what a TLS
listener needs."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.compiler import plan
from qanat.compiler.certificate import CertificateError, load_pair, source_of
from qanat.compiler.ciphers import SPOKEN_PROTOCOLS, TLS13_SUITES, parse_ciphers, parse_protocols
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.files import named_file, pem_source
from qanat.compiler.handlers import CERTIFICATE as CERTIFICATE_HANDLERS
from qanat.compiler.inherit import Level, ListSetting, Setting, flag, time_ms, time_s
from qanat.compiler.units import LARGEST_U32, parse_number, parse_size

if TYPE_CHECKING:
    from qanat.config.tree import Directive

_SESSION_BYTES = 256  # nginx: a megabyte of shared cache holds about 4000 sessions
_SMALLEST_ZONE = 8 * mmap.PAGESIZE
_BUILTIN_CACHE = 20480
_TICKET_KEY_BYTES = (48, 80)

Pem = tuple["Directive", str]
Ciphers = tuple["Directive", tuple[str, ...]]


def read_pem(compilation: Compilation, directive: Directive) -> Pem:
    """Read `ssl_certificate` or `ssl_certificate_key`; it is loaded when both are known."""
    return directive, pem_source(compilation, directive)


def read_protocols(compilation: Compilation, directive: Directive) -> tuple[str, ...]:
    """Read `ssl_protocols`: old versions are left out with a warning."""
    spoken, old, unknown = parse_protocols(directive.args)
    if unknown is not None:
        raise Refused(f'invalid value "{unknown}"')
    if not spoken:
        raise Refused(
            f'nothing is left of "{directive.name}": '
            f"{' and '.join(SPOKEN_PROTOCOLS)} are what is supported"
        )
    if old:
        names = " ".join(old)
        compilation.warn(directive, f'"{directive.name}": {names} is not supported, ignored')
    return spoken


def read_ciphers(compilation: Compilation, directive: Directive) -> Ciphers:
    """Read `ssl_ciphers`: ciphers that are not supported are left out with a warning."""
    ciphers = parse_ciphers(directive.args[0])
    if ciphers.ignored:
        names = " ".join(ciphers.ignored)
        compilation.warn(directive, f'"{directive.name}": {names} is not supported, ignored')
    return directive, ciphers.suites


def cipher_suites(
    compilation: Compilation, ciphers: Ciphers | None, protocols: tuple[str, ...]
) -> tuple[str, ...]:
    """Put the suites of all versions together; a TLS 1.2 without suites is an error."""
    if ciphers is None:
        return ()
    directive, suites = ciphers
    if not suites and "TLSv1.2" in protocols:
        compilation.refuse(directive, f'nothing is left of "{directive.name}" (no cipher match)')
    return TLS13_SUITES + suites


def read_alpn(_: Compilation, directive: Directive) -> tuple[str, ...]:
    """Read `ssl_alpn`."""
    for protocol in directive.args:
        if not 0 < len(protocol.encode()) < 256:
            raise Refused(f'invalid ALPN protocol "{protocol}"')
    return directive.args


def read_session_cache(_: Compilation, directive: Directive) -> int:
    """Read `ssl_session_cache` as a number of sessions."""
    sessions = 0
    for text in directive.args:
        kind, _colon, rest = text.partition(":")
        if text in {"off", "none"}:
            continue
        if text == "builtin":
            sessions = max(sessions, _BUILTIN_CACHE)
        elif kind == "builtin":
            sessions = max(sessions, _count(text, rest))
        elif kind == "shared":
            sessions = max(sessions, _shared(text, rest))
        else:
            raise Refused(f'invalid session cache "{text}"')
    return sessions


def _count(text: str, rest: str) -> int:
    number = parse_number(rest)
    if number is None or number > LARGEST_U32:
        raise Refused(f'invalid session cache "{text}"')
    return number


def _shared(text: str, rest: str) -> int:
    name, _colon, size_text = rest.partition(":")
    size = parse_size(size_text)
    if not name or size is None:
        raise Refused(f'invalid session cache "{text}"')
    if size < _SMALLEST_ZONE:
        raise Refused(f'session cache "{text}" is too small')
    return min(size // _SESSION_BYTES, LARGEST_U32)


def read_ticket_key(compilation: Compilation, directive: Directive) -> bytes:
    """Read the file of `ssl_session_ticket_key`."""
    path = named_file(compilation, directive)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Refused(f'open() "{path}" failed ({error.errno}: {error.strerror})') from error
    if len(content) not in _TICKET_KEY_BYTES:
        raise Refused(f'"{path}" must be 48 or 80 bytes')
    return content


def read_ntls(compilation: Compilation, directive: Directive) -> bool:
    """Read `ssl_ntls`, which can only be off."""
    if flag(compilation, directive):
        raise Refused('"ssl_ntls on" is not supported: there is no NTLS here')
    return False


CERTIFICATE = ListSetting(("ssl_certificate",), read_pem)
CERTIFICATE_KEY = ListSetting(("ssl_certificate_key",), read_pem)
PROTOCOLS: Setting[tuple[str, ...]] = Setting("ssl_protocols", read_protocols, SPOKEN_PROTOCOLS)
CIPHERS: Setting[Ciphers | None] = Setting("ssl_ciphers", read_ciphers, None)
PREFER_SERVER_CIPHERS = Setting("ssl_prefer_server_ciphers", flag, False)
ALPN: Setting[tuple[str, ...]] = Setting("ssl_alpn", read_alpn, ())
REJECT_HANDSHAKE = Setting("ssl_reject_handshake", flag, False)
SESSION_TICKETS = Setting("ssl_session_tickets", flag, True)
SESSION_TICKET_KEY = ListSetting(("ssl_session_ticket_key",), read_ticket_key)
SESSION_CACHE = Setting("ssl_session_cache", read_session_cache, 0)
SESSION_TIMEOUT = Setting("ssl_session_timeout", time_s, 300)
HANDSHAKE_TIMEOUT = Setting("ssl_handshake_timeout", time_ms, 60_000)
NTLS = Setting("ssl_ntls", read_ntls, False)

SETTINGS = (
    *(CERTIFICATE, CERTIFICATE_KEY, PROTOCOLS, CIPHERS, PREFER_SERVER_CIPHERS, ALPN),
    *(REJECT_HANDSHAKE, SESSION_TICKETS, SESSION_TICKET_KEY, SESSION_CACHE, SESSION_TIMEOUT),
    *(HANDSHAKE_TIMEOUT, NTLS),
)


def server_tls(compilation: Compilation, level: Level) -> plan.ServerTls | None:
    """Make the TLS part of a server; None if it has neither a certificate, nor a handler to choose
    one, nor a rejection."""
    certificates = load_certificates(
        compilation, level.items(CERTIFICATE) or (), level.items(CERTIFICATE_KEY) or ()
    )
    reject = level.get(REJECT_HANDSHAKE)
    if not certificates and not reject and not level.items(CERTIFICATE_HANDLERS):
        return None
    protocols = level.get(PROTOCOLS)
    return plan.ServerTls(
        certificates=certificates,
        protocols=protocols,
        ciphers=cipher_suites(compilation, level.get(CIPHERS), protocols),
        prefer_server_ciphers=level.get(PREFER_SERVER_CIPHERS),
        alpn=level.get(ALPN),
        reject_handshake=reject,
        session_tickets=level.get(SESSION_TICKETS),
        session_ticket_keys=level.items(SESSION_TICKET_KEY) or (),
        session_cache=level.get(SESSION_CACHE),
        session_timeout_s=level.get(SESSION_TIMEOUT),
        handshake_timeout_ms=level.get(HANDSHAKE_TIMEOUT),
    )


def has_certificate(level: Level) -> bool:
    """Tell whether a certificate is configured, or is left to handlers."""
    return bool(level.items(CERTIFICATE) or level.items(CERTIFICATE_HANDLERS))


def load_certificates(
    compilation: Compilation, certificates: tuple[Pem, ...], keys: tuple[Pem, ...]
) -> tuple[str, ...]:
    """Load pairs of certificates and keys, and return their ids."""
    ids: list[str] = []
    for rank, (directive, certificate) in enumerate(certificates):
        if rank >= len(keys):
            shown = "data:" if certificate.startswith("data:") else certificate
            message = f'no "{directive.name}_key" is defined for certificate "{shown}"'
            compilation.refuse(directive, message)
            continue
        try:
            ids.append(_load(compilation, certificate, keys[rank][1]))
        except CertificateError as error:
            compilation.refuse(directive, str(error))
    return tuple(dict.fromkeys(ids))


def _load(compilation: Compilation, certificate: str, key: str) -> str:
    pair = (certificate, key)
    known = compilation.pairs.get(pair)
    if known is None:
        loaded = load_pair(source_of(certificate, "certificate"), source_of(key, "certificate key"))
        compilation.certificates[loaded.id] = loaded
        known = compilation.pairs[pair] = loaded.id
    return known
