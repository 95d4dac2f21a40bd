"""Standard streams that are closed, broken or full stop nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OPENS = """
import os, sys
for descriptor in map(int, sys.argv[1]):
    os.close(descriptor)
    setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)
from qanat.cli.main import open_standard_streams
open_standard_streams()
next_one = os.open(os.devnull, os.O_RDONLY)
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
sys.exit(0 if next_one > 2 and sys.stdin.read() == "" else 3)
"""
SPEAKS = """
import sys
from qanat.cli.messages import Messages, announce
announce("it runs")
Messages("nginx").say("warn", "beware")
"""


@pytest.mark.parametrize("closed", ["", "0", "1", "2", "01", "12", "012"])
def test_what_was_closed_is_opened_again(closed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPENS, closed],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "" if "2" in closed else "err\n")
    assert done.stdout == ("" if "1" in closed else "out\n")


def test_a_full_disk_under_the_streams_is_nobodys_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SPEAKS], stdout=full, stderr=full, timeout=20, check=False
        )
    assert done.returncode == 0
