"""What libraries log reaches the error log."""

from __future__ import annotations

import logging

from qanat.cli.logs import logging_to


def test_warnings_of_libraries_become_lines_of_the_error_log() -> None:
    lines: list[tuple[str, str]] = []
    logger = logging.getLogger("some.library")
    with logging_to(lambda level, text: lines.append((level, text))):
        logger.warning("odd %s", "request")
        logger.info("not worth a line")
        logger.error("two\n\nlines")
    logger.warning("too late")
    assert lines == [("warn", "odd request"), ("error", "two"), ("error", "lines")]


def test_a_traceback_is_written_line_by_line() -> None:
    lines: list[str] = []
    with logging_to(lambda _, text: lines.append(text)):
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("some.library").exception("failed")
    assert lines[0] == "failed"
    assert lines[-1] == "ValueError: broken"


def test_a_log_that_fails_does_not_fail_its_user() -> None:
    def write(_level: str, _text: str) -> None:
        raise RuntimeError("the engine is gone")

    with logging_to(write):
        logging.getLogger("some.library").error("unheard")
