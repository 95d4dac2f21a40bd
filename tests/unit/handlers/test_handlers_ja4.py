"""JA4: fingerprints that others have published, and the corners of the rules."""

from __future__ import annotations

from hashlib import sha256

from qanat.handlers.ja4 import ja4

SUITES = (
    *(0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014),
    *(0x009C, 0x009D, 0x002F, 0x0035),
)
ALGORITHMS = bytes.fromhex("0010 0403 0804 0401 0503 0805 0501 0806 0601")
NUMBERS = (
    *(0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023),
    *(0x0012, 0x002B, 0xFF01, 0x000B, 0x000A, 0x0015),
)
EXTENSIONS = tuple((number, ALGORITHMS if number == 13 else b"") for number in NUMBERS)


def test_a_known_browser() -> None:
    assert ja4((0x0304, 0x0303), SUITES, EXTENSIONS, (b"h2", b"http/1.1")) == (
        "t13d1516h2_8daaf6152771_e5627efa2ab1"
    )


def test_the_order_does_not_matter() -> None:
    turned = ja4((0x0303, 0x0304), SUITES[::-1], EXTENSIONS[::-1], (b"h2",))
    assert turned == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_a_client_that_offers_nothing() -> None:
    assert ja4((), (), (), ()) == "t00i000000_000000000000_000000000000"


def test_without_signature_algorithms_nothing_is_added() -> None:
    head, _, offered = ja4((0x0303,), (0x002F,), ((23, b""),), ()).split("_")
    assert head == "t12i010100"
    assert offered == sha256(b"0017").hexdigest()[:12]


def test_protocols_that_are_no_text() -> None:
    assert ja4((0x0304,), (), (), (b"\xab\xcd",)).startswith("t13i0000ad_")
    assert ja4((0x0304,), (), (), (b"x",)).startswith("t13i0000xx_")
