"""The reference of handlers has every public name, and says of each what it means and raises."""

from __future__ import annotations

import ast
import re

import pytest
from tools import reference
from tools.reference import SECTIONS, define, docstring, members

import qanat
from qanat import handlers
from qanat.handlers import sources

NAMES = [name.removesuffix("()") for _, names in SECTIONS for name in names]
OF_ALL_SESSIONS = {"sessions.Phase", "sessions.tls.Handshake"}
QUIETLY = {"CancelledError", "StopAsyncIteration"}
"""Exceptions that are no errors."""


def test_every_public_name_is_there_once() -> None:
    assert sorted(NAMES) == sorted({*reference.public_names(), *OF_ALL_SESSIONS})


def test_it_reads_what_python_imports() -> None:
    named = {*qanat.__all__, *handlers.__all__} - {"__version__"}
    assert {*named, *(f"sources.{name}" for name in sources.__all__)} == set(
        reference.public_names()
    )


@pytest.mark.parametrize("name", NAMES)
def test_everything_has_a_docstring(name: str) -> None:
    found = define(name)
    assert docstring(found.node)
    assert [member.name for member in members(found) if not member.docstring] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_raised_is_told(name: str) -> None:
    found = define(name)
    whole = docstring(found.node)
    if not isinstance(found.node, ast.ClassDef):
        assert raised(found.node) - set(words(whole)) == set()
        return
    shown = {member.name for member in members(found)} | {"__init__"}
    for node in found.node.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in shown:
            said = words(whole + docstring(node))
            assert raised(node) - set(said) == set(), f"{name}.{node.name} does not say so"


def raised(node: ast.AST) -> set[str]:
    """Name the exceptions that the code of a function itself makes."""
    made = (one.exc for one in ast.walk(node) if isinstance(one, ast.Raise))
    calls = (one for one in made if isinstance(one, ast.Call))
    return {ast.unparse(one.func) for one in calls} - QUIETLY


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


@pytest.mark.parametrize(
    ("name", "member", "signature"),
    [
        ("PrereadSession", "peek", "async peek(count: int) -> bytes"),
        ("PrereadSession", "frame", "frame: Frame"),
        ("StreamReader", "read", "async read(n: int = -1) -> bytes"),
        ("Balancer", "load", "staticmethod load(peer: Peer | str) -> int"),
        ("SharedDict", "delete", "delete(key: str | bytes) -> bool"),
        ("TlsFacts", "alpn", "alpn: bytes | None"),
        ("Server", "access", "access: Decorator[AccessSession, None]"),
    ],
)
def test_signatures_are_as_written(name: str, member: str, signature: str) -> None:
    found = {one.name: one for one in members(define(name))}
    assert signature in found[member].signatures


def test_what_the_gateway_itself_calls_is_left_out() -> None:
    shown = {member.name for member in members(define("ContentSession"))}
    assert "close" in shown
    assert "run_by" not in shown
    assert "is_unsent" not in shown
