"""How a failure of users' code is said: in one line, with the places that it came through."""

from __future__ import annotations

import traceback
from pathlib import Path

_FRAMES = 3
_OWN = str(Path(__file__).parent)


def describe(error: BaseException) -> str:
    """Say an exception and its last three places, the innermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        (frame.filename, frame.lineno or 0, frame.name)
        for frame in frames
        if str(Path(frame.filename).parent) != _OWN
    ]
    return f"{say(error)}{_said(places)}"


def say(error: BaseException) -> str:
    """Say an exception: its type, and its words, which are users' code as well and may fail."""
    try:
        words = str(error)
    except BaseException as failure:
        words = f"(saying why raised {type(failure).__name__})"
    return f"{type(error).__name__}: {words}".rstrip(": ")


def waiting_places(awaitable: object) -> str:
    """Say where a suspended coroutine stands, the innermost frame first."""
    frames: list[tuple[str, int, str]] = []
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is not None:
            frames.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return _said(frames)


def _said(frames: list[tuple[str, int, str]]) -> str:
    shown = [f"{Path(file).name}:{line} in {name}" for file, line, name in frames[-_FRAMES:]]
    return f" at {', called at '.join(reversed(shown))}" if shown else ""
