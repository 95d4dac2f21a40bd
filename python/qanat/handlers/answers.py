"""What handlers return, and what it means to the session: each phase has values of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import TYPE_CHECKING

from qanat._native import Peer
from qanat.handlers.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat._native import Session
    from qanat.handlers.generation import Chain


def answer(handle: Session, chain: Chain, result: object) -> None:
    """Answer a call whose handlers have all ended, with what the last of those returned that
    returned something."""
    if result is None:
        handle.go_on()
        return
    take = _ANSWERS.get(chain.phase, _take_nothing)
    if (wanted := take(handle, result)) is not None:
        names = ", ".join(chain.names)
        kind = type(result).__name__
        handle.fail(f"{chain.phase} handler {names} returned {kind} instead of {wanted}")


def _take_nothing(handle: Session, result: object) -> str | None:
    # What would still have to be run to do anything: to go on as if it had would admit anybody.
    if isinstance(result, Generator | AsyncGenerator | Awaitable):
        return "nothing, and nobody runs it"
    handle.go_on()
    return None


def _take_peer(handle: Session, result: object) -> str | None:
    if isinstance(result, str):
        try:
            result = Peer(result)
        except ValueError as error:
            return f"a peer: {error}"
    if not isinstance(result, Peer):
        return "a peer"
    handle.choose(result)
    return None


def _take_certificate(handle: Session, result: object) -> str | None:
    if not isinstance(result, Certificate):
        return "a certificate"
    handle.certify(result.handle)
    return None


def _take_verdict(handle: Session, result: object) -> str | None:
    if not isinstance(result, bool):
        return "a verdict, True or False"
    if result:
        handle.accept()
    else:
        handle.reject(502, b"")
    return None


_ANSWERS: dict[str, Callable[[Session, object], str | None]] = {
    "balance": _take_peer,
    "ssl_certificate": _take_certificate,
    "proxy_ssl_verify": _take_verdict,
}
"""Takes what handlers of a phase returned; returns what was expected, if it is not that."""
