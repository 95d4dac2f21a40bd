"""Gateways whose clocks are decades apart: no time is part of what they prove to each other."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.harness.forwarding import Forwarding
from tests.harness.servers import echo, serve
from tests.harness.tunnels import key_of, new_secret, start_node, stop_node

if TYPE_CHECKING:
    from pathlib import Path

YEARS = 20
SHIFTED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += SHIFT;
    return result;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


def shifted_clock(folder: Path, years: int) -> Path:
    """Make a library that shifts the clock of whoever loads it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler, which makes the library that shifts a clock")
    source, library = folder / "shifted.c", folder / f"shifted{years}.so"
    source.write_text(SHIFTED)
    shift = f"-DSHIFT=({years}L*31556952)"
    command = [compiler, "-shared", "-fPIC", shift, "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize("years", [YEARS, -YEARS])
@pytest.mark.parametrize("proof", ["secret", "key"])
def test_a_wrong_clock_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: str, years: int
) -> None:
    keys = {name: key_of(tmp_path / name) for name in "ab"}
    secret = new_secret()
    peers = {"a": f"peer b {keys['b']};", "b": f"peer a {keys['a']};"} if proof == "key" else {}
    a = start_node(tmp_path / "a", "a", secret, peers.get("a", ""))
    other = secret if proof == "secret" else new_secret()
    with monkeypatch.context() as environment:
        environment.setenv("LD_PRELOAD", str(shifted_clock(tmp_path, years)))
        b = start_node(tmp_path / "b", "b", other, peers.get("b", ""))
    with serve(echo) as target:
        body: dict[str, object] = {"dest": f"127.0.0.1:{b.tunnel_port}"}
        if proof == "key":
            body["peer"] = "b"
        assert a.post("/tunnel", name="t", **body).json()["state"] == "up"
        assert Forwarding(a, b, target).make(without="tunnel").is_served()
    # Its log shows that its clock is wrong.
    line = b.gateway.wait_for_log("tunnel t is up")
    assert abs(int(line[:4]) - time.gmtime().tm_year - years) <= 1
    stop_node(a)
    stop_node(b)
