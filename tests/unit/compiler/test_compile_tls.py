"""TLS: certificates and keys, protocols, ciphers, sessions, and what a TLS listener needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from qanat.compiler.ciphers import TLS13_SUITES, parse_ciphers, parse_protocols

if TYPE_CHECKING:
    from pathlib import Path

    import trustme
    from tests.harness.compiler_site import Site

    from qanat.compiler.plan import ServerTls

Pair = tuple["Path", "Path"]
PAIR = "ssl_certificate gate.crt; ssl_certificate_key gate.key;"


def tls(site: Site, text: str) -> ServerTls:
    found = site.stream(f"server {{ listen 1 ssl; {text} }}").objects.servers[0].tls
    assert found is not None
    return found


def test_servers_share_a_certificate(site: Site, pair: Pair) -> None:
    compiled = site.stream(
        f"server {{ listen 1 ssl; {PAIR} }} server {{ listen 2 ssl; {PAIR} }}"
        f"server {{ listen 3 ssl; ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]}; }}"
    )
    (certificate,) = compiled.objects.certificates
    assert certificate.origin == str(pair[0])
    assert len(certificate.chain) == 1
    for server in compiled.objects.servers:
        assert server.tls is not None
        assert server.tls.certificates == (certificate.id,)


def test_several_certificates_in_order(site: Site, pair: Pair, authority: trustme.CA) -> None:
    other = authority.issue_cert("other.test")
    other.cert_chain_pems[0].write_to_path(pair[0].with_name("other.crt"))
    other.private_key_pem.write_to_path(pair[0].with_name("other.key"))
    compiled = site.stream(
        "ssl_certificate other.crt; ssl_certificate_key other.key; server { listen 1 ssl;"
        f"{PAIR} ssl_certificate other.crt; ssl_certificate_key other.key; }}"
    )
    found = compiled.objects.servers[0].tls
    assert found is not None
    assert len(set(found.certificates)) == 2
    assert found.certificates == tuple(one.id for one in compiled.objects.certificates)


def test_pem_in_the_configuration(site: Site, pair: Pair) -> None:
    certificate, key = (path.read_text() for path in pair)
    compiled = site.stream(
        f'server {{ listen 1 ssl; ssl_certificate "data:{certificate}";'
        f' ssl_certificate_key "data:{key}"; }}'
    )
    (found,) = compiled.objects.certificates
    assert found.origin == "data:"


def test_a_chain(site: Site, pair: Pair, authority: trustme.CA) -> None:
    pair[0].write_bytes(pair[0].read_bytes() + authority.cert_pem.bytes())
    (certificate,) = site.stream(f"server {{ listen 1 ssl; {PAIR} }}").objects.certificates
    assert len(certificate.chain) == 2


def test_a_replaced_file_is_read_again(site: Site, pair: Pair, authority: trustme.CA) -> None:
    text = f"server {{ listen 1 ssl; {PAIR} }}"
    (before,) = site.stream(text).objects.certificates
    other = authority.issue_cert("other.test")
    other.cert_chain_pems[0].write_to_path(pair[0])
    other.private_key_pem.write_to_path(pair[1])
    for path in pair:
        os.utime(path, ns=(1, 1))
    (after,) = site.stream(text).objects.certificates
    assert before.id != after.id


def test_a_key_that_does_not_belong_to_its_certificate(
    site: Site, pair: Pair, authority: trustme.CA
) -> None:
    authority.issue_cert("other.test").private_key_pem.write_to_path(pair[1])
    (problem,) = site.problems(f"server {{ listen 1 ssl; {PAIR} }}")
    assert problem.startswith('SSL_CTX_use_PrivateKey("PREFIX/conf/gate.key") failed')
    assert "key values mismatch" in problem
    assert '"PREFIX/conf/gate.crt"' in problem


def test_missing_files(site: Site, pair: Pair) -> None:
    pair[1].unlink()
    assert site.problems(
        "server { listen 1 ssl; ssl_certificate a.crt; ssl_certificate_key a.key; }\n"
        f"server {{ listen 2 ssl; {PAIR} }}"
    ) == [
        'cannot load certificate "PREFIX/conf/a.crt": BIO_new_file() failed '
        "(No such file or directory:calling fopen(PREFIX/conf/a.crt, r)) in q.conf:1",
        'cannot load certificate key "PREFIX/conf/gate.key": BIO_new_file() failed '
        "(No such file or directory:calling fopen(PREFIX/conf/gate.key, r)) in q.conf:2",
    ]


def test_files_that_hold_no_pem(site: Site, pair: Pair) -> None:
    text = f"server {{ listen 1 ssl; {PAIR} }}"
    good = pair[0].read_bytes()
    damaged = "-----BEGIN {0}-----\nAAAA\n-----END {0}-----\n"
    failed = 'cannot load certificate "PREFIX/conf/gate.crt": PEM_read_bio_X509_AUX() failed'
    for content, reason in (
        ("nothing", "no start line: there is no certificate in PEM form"),
        (damaged.format("CERTIFICATE"), "a certificate is damaged, or no X.509"),
    ):
        pair[0].write_text(content)
        assert site.problems(text) == [f"{failed} ({reason}) in q.conf:1"]
    pair[0].write_bytes(good)
    failed = 'cannot load certificate key "PREFIX/conf/gate.key": PEM_read_bio_PrivateKey() failed'
    for content, reason in (
        ("nothing", "no start line: there is no private key in PEM form"),
        (damaged.format("PRIVATE KEY"), "the key is damaged"),
    ):
        pair[1].write_text(content)
        assert site.problems(text) == [f"{failed} ({reason}) in q.conf:1"]


def test_a_directory_is_no_certificate(site: Site, pair: Pair) -> None:
    pair[0].unlink()
    pair[0].mkdir()
    assert site.problems(f"server {{ listen 1 ssl; {PAIR} }}") == [
        'cannot load certificate "PREFIX/conf/gate.crt": not a regular file in q.conf:1'
    ]


def test_an_encrypted_key(site: Site, pair: Pair) -> None:
    key = load_pem_private_key(pair[1].read_bytes(), None)
    encryption = BestAvailableEncryption(b"secret")
    pair[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    (problem,) = site.problems(f"server {{ listen 1 ssl; {PAIR} }}")
    assert "the key is encrypted" in problem


def test_a_certificate_without_a_key(site: Site, pair: Pair) -> None:
    assert site.problems(f"server {{ listen 1 ssl; ssl_certificate {pair[0].name}; }}") == [
        'no "ssl_certificate_key" is defined for certificate "PREFIX/conf/gate.crt" in q.conf:1'
    ]


@pytest.mark.parametrize("value", ["$ssl_server_name.pem", "engine:e:1", "store:x"])
def test_certificates_that_are_not_files(site: Site, value: str) -> None:
    (problem,) = site.problems(f"server {{ listen 1; ssl_certificate {value}; }}")
    assert "not supported by this version" in problem


@pytest.mark.usefixtures("pair")
def test_a_tls_listener_needs_a_certificate(site: Site) -> None:
    message = 'no "ssl_certificate" is defined for the "listen ... ssl" directive in q.conf:'
    assert site.problems("\n server { listen 1 ssl; }") == [f"{message}2"]
    site.stream(f"{PAIR} server {{ listen 1 ssl; }}")
    # nginx asks the default server; if that one rejects, all others.
    site.stream(f"server {{ listen 1 ssl; {PAIR} }} server {{ listen 1; server_name a; }}")
    assert site.problems(
        "server { listen 1 ssl; ssl_reject_handshake on; }\n server { listen 1; server_name a; }"
    ) == [f"{message}2"]


def test_rejection_needs_no_certificate(site: Site) -> None:
    found = tls(site, "ssl_reject_handshake on;")
    assert found.reject_handshake
    assert found.certificates == ()


def test_settings(site: Site) -> None:
    found = tls(
        site,
        "ssl_reject_handshake on; ssl_protocols TLSv1.3; ssl_prefer_server_ciphers on;"
        "ssl_ntls off;"
        "ssl_alpn h2 http/1.1; ssl_session_tickets off; ssl_session_cache builtin:9 shared:S:1m;"
        "ssl_session_timeout 1h; ssl_handshake_timeout 5s;",
    )
    assert found.protocols == ("TLSv1.3",)
    assert found.prefer_server_ciphers
    assert found.alpn == ("h2", "http/1.1")
    assert not found.session_tickets
    assert found.session_cache == 4096
    assert (found.session_timeout_s, found.handshake_timeout_ms) == (3600, 5000)


def test_ticket_keys_are_read_in_order(site: Site, pair: Pair) -> None:
    directory = pair[0].parent
    (directory / "new.key").write_bytes(b"n" * 80)
    (directory / "old.key").write_bytes(b"\xff" * 48)
    keys = "ssl_session_ticket_key new.key; ssl_session_ticket_key old.key;"
    found = tls(site, f"{PAIR} {keys}")
    assert found.session_ticket_keys == (b"n" * 80, b"\xff" * 48)
    assert tls(site, PAIR).session_ticket_keys == ()


@pytest.mark.parametrize("size", [0, 47, 49, 81])
def test_a_ticket_key_has_48_or_80_bytes(site: Site, pair: Pair, size: int) -> None:
    pair[0].with_name("ticket.key").write_bytes(bytes(size))
    text = "ssl_session_ticket_key ticket.key;\nssl_session_ticket_key none.key;"
    assert site.problems(f"server {{ listen 1 ssl; {PAIR}\n{text} }}") == [
        '"PREFIX/conf/ticket.key" must be 48 or 80 bytes in q.conf:2',
        'open() "PREFIX/conf/none.key" failed (2: No such file or directory) in q.conf:3',
    ]


def test_old_protocols_are_left_out(site: Site) -> None:
    assert site.warnings("server { listen 1; ssl_protocols SSLv3 TLSv1 TLSv1.1 TLSv1.2; }") == [
        '"ssl_protocols": SSLv3 TLSv1 TLSv1.1 is not supported, ignored in q.conf:1'
    ]
    (problem,) = site.problems("server { listen 1; ssl_protocols TLSv1 TLSv1.1; }")
    assert problem.startswith('nothing is left of "ssl_protocols"')
    assert site.problems("server { listen 1; ssl_protocols TLSv2; }") == [
        'invalid value "TLSv2" in q.conf:1'
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssl_session_cache memory;", 'invalid session cache "memory"'),
        ("ssl_session_cache builtin:x;", 'invalid session cache "builtin:x"'),
        ("ssl_session_cache shared:S;", 'invalid session cache "shared:S"'),
        ("ssl_session_cache shared:S:1k;", 'session cache "shared:S:1k" is too small'),
        ("ssl_alpn '';", 'invalid ALPN protocol ""'),
        ("ssl_ntls on;", '"ssl_ntls on" is not supported: there is no NTLS here'),
        ("ssl_session_timeout x;", '"ssl_session_timeout" directive invalid value'),
    ],
)
def test_what_is_wrong_with_a_setting(site: Site, text: str, message: str) -> None:
    assert site.problems(f"server {{ listen 1; {text} }}") == [f"{message} in q.conf:1"]


def test_ciphers_of_njets_example(site: Site) -> None:
    text = (
        "RSA+AES128:RSA+AES256:RSA+3DES:EECDH+CHACHA20:EECDH+CHACHA20-draft:EECDH+AES128:"
        "EECDH+AES256:EECDH+3DES:!MD5"
    )
    found = parse_ciphers(text)
    assert found.suites == (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    )
    assert tls(site, f"ssl_reject_handshake on; ssl_ciphers {text};").ciphers == (
        *TLS13_SUITES,
        *found.suites,
    )
    assert len(site.warnings(f"server {{ listen 1; ssl_ciphers {text}; }}")) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("DEFAULT", 6),
        ("HIGH:!aNULL:!MD5", 6),
        ("ALL:!aRSA", 3),
        ("ECDHE+AESGCM", 4),
        ("ECDHE-RSA-AES128-GCM-SHA256", 1),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,CHACHA20", 3),
        ("!CHACHA20:ALL", 4),
        ("ALL:-CHACHA20:CHACHA20", 6),
        ("@STRENGTH:kEECDH+AES256", 2),
        ("RSA:AES128-SHA", 0),
        ("TLS_AES_128_GCM_SHA256", 0),
    ],
)
def test_cipher_strings(text: str, count: int) -> None:
    assert len(parse_ciphers(text).suites) == count


def test_ciphers_moved_to_the_end() -> None:
    assert parse_ciphers("ALL:+AES256").suites[-1] == "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"


def test_no_cipher_left(site: Site) -> None:
    text = "server {{ listen 1; ssl_reject_handshake on; ssl_ciphers RC4-MD5; {} }}"
    assert site.problems(text.format("")) == [
        'nothing is left of "ssl_ciphers" (no cipher match) in q.conf:1'
    ]
    site.stream(text.format("ssl_protocols TLSv1.3;"))


_ELEMENTS = st.sampled_from(
    ["ALL", "AES128", "CHACHA20", "aRSA", "EECDH+AES256", "3DES", "ECDHE-RSA-AES128-GCM-SHA256"]
)


@given(st.lists(_ELEMENTS, max_size=6), _ELEMENTS)
def test_a_killed_cipher_never_comes_back(elements: list[str], killed: str) -> None:
    suites = parse_ciphers(":".join([f"!{killed}", *elements])).suites
    assert not set(suites) & set(parse_ciphers(killed).suites)
    assert len(set(suites)) == len(suites)


@given(st.lists(st.sampled_from(["SSLv2", "TLSv1", "TLSv1.2", "TLSv1.3"])))
def test_protocols_are_spoken_or_left_out(words: list[str]) -> None:
    spoken, old, unknown = parse_protocols(words)
    assert unknown is None
    assert {*spoken, *old} == set(words)
