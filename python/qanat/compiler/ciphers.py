"""OpenSSL cipher strings and protocol lists as what rustls speaks: TLS 1.2 with ECDHE and AEAD,
and TLS 1.3.

A cipher string is read as OpenSSL reads it (aliases, `+` between them, `!`, `-` and `+` before
them) over the suites that rustls has. What matches none of them is left out with a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TLS13_SUITES = (
    "TLS13_AES_256_GCM_SHA384",
    "TLS13_AES_128_GCM_SHA256",
    "TLS13_CHACHA20_POLY1305_SHA256",
)
_TLS13_OPENSSL = frozenset(name.replace("TLS13_", "TLS_") for name in TLS13_SUITES) | {
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
}

_EVERY = frozenset(
    {"ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "FIPS"}
    | {"AEAD", "PROFILE=SYSTEM"}
)
# OpenSSL's `RSA` is the key exchange, which rustls does not have: only `aRSA` is the signature.
_RSA_AUTH = frozenset({"aRSA"})
_ECDSA_AUTH = frozenset({"aECDSA", "ECDSA"})
_AES256 = frozenset({"AES", "AES256", "AESGCM"})
_AES128 = frozenset({"AES", "AES128", "AESGCM"})
_CHACHA = frozenset({"CHACHA20"})


@dataclass(frozen=True, slots=True)
class _Suite:
    openssl: str
    iana: str
    aliases: frozenset[str]


def _suite(openssl: str, iana: str, *aliases: Iterable[str]) -> _Suite:
    return _Suite(openssl, iana, _EVERY.union({openssl}, *aliases))


# In OpenSSL's own order of preference.
_SUITES = (
    _suite(
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        *(_ECDSA_AUTH, _AES256, {"SUITEB192"}),
    ),
    _suite(
        "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", _RSA_AUTH, _AES256
    ),
    _suite(
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        *(_ECDSA_AUTH, _CHACHA),
    ),
    _suite(
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        *(_RSA_AUTH, _CHACHA),
    ),
    _suite(
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        *(_ECDSA_AUTH, _AES128, {"SUITEB128", "SUITEB128ONLY"}),
    ),
    _suite(
        "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", _RSA_AUTH, _AES128
    ),
)
_OF_IANA = {suite.iana: suite for suite in _SUITES}


@dataclass(frozen=True, slots=True)
class CipherList:
    """TLS 1.2 suites by IANA name, in order of preference, and the parts of the text that matched
    none."""

    suites: tuple[str, ...]
    ignored: tuple[str, ...]


@lru_cache(maxsize=256)
def parse_ciphers(text: str) -> CipherList:
    """Read an OpenSSL cipher string."""
    chosen: list[_Suite] = []
    killed: set[_Suite] = set()
    ignored: list[str] = []
    for element in _elements(text):
        if element.startswith("@") or element in _TLS13_OPENSSL:
            continue
        operator = element[0] if element[0] in "!-+" else ""
        matching = _matching(element[len(operator) :])
        if operator == "!":
            killed.update(matching)
        if operator in {"!", "-"}:
            chosen = [suite for suite in chosen if suite not in matching]
        elif operator == "+":
            moved = [suite for suite in chosen if suite in matching]
            chosen = [suite for suite in chosen if suite not in matching] + moved
        else:
            if not matching:
                ignored.append(element)
            chosen += [one for one in matching if one not in chosen and one not in killed]
    return CipherList(tuple(suite.iana for suite in chosen), tuple(ignored))


def _elements(text: str) -> list[str]:
    for separator in ",; ":
        text = text.replace(separator, ":")
    return [element for element in text.split(":") if element]


def _matching(element: str) -> list[_Suite]:
    by_iana = _OF_IANA.get(element)
    if by_iana is not None:
        return [by_iana]
    aliases = element.split("+")
    return [suite for suite in _SUITES if all(alias in suite.aliases for alias in aliases)]


SPOKEN_PROTOCOLS = ("TLSv1.2", "TLSv1.3")
OLD_PROTOCOLS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")


def parse_protocols(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Split protocol names into those spoken and those left out; the third value is a name that
    does not exist."""
    given = tuple(dict.fromkeys(words))
    for word in given:
        if word not in SPOKEN_PROTOCOLS and word not in OLD_PROTOCOLS:
            return (), (), word
    spoken = tuple(name for name in SPOKEN_PROTOCOLS if name in given)
    return spoken, tuple(word for word in given if word in OLD_PROTOCOLS), None
