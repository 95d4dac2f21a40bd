"""New code while sessions run: they keep theirs, which ends with the last of them."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_all
from tests.harness.gateway import StartError, run
from tests.harness.handlers import write_module
from tests.harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.gateway import Gateway

MODULE = """
import asyncio
from pathlib import Path
from qanat.handlers import background, every, on_shutdown, on_startup

VERSION = "@version"
EVENTS = Path("@events")


def note(event):
    with EVENTS.open("a") as file:
        file.write(f"{event} {VERSION}\\n")


@on_startup
async def start():
    note("start")
    background(wait())


@on_shutdown
async def stop():
    note("stop")


@every(0.01, jitter=0.01)
def tick():
    (EVENTS.parent / f"tick-{VERSION}").touch()


async def wait():
    try:
        await asyncio.Event().wait()
    finally:
        note("cancelled")


async def greet(session):
    await session.write(f"{VERSION}\\n".encode())
    session.ctx.name = await session.read_until(b"\\n")


def remember(record):
    note(f"log {record.ctx.name.decode().strip()}")
"""
CONFIG = """
stream {
    python_path ../py;
    python_startup_timeout 10s;
    python_shutdown_timeout 5s;
    python_background_limit 10;
    server {
        listen 127.0.0.1:@front;
        preread_by_python app:greet;
        log_by_python app:remember;
        return "";
    }
}
"""


class Site:
    """A gateway whose module of handlers is written anew."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.file = gateway.prefix / "events"

    def write(self, version: str, text: str = MODULE) -> None:
        text = text.replace("@version", version).replace("@events", str(self.file))
        write_module(self.gateway, "app", text)

    def events(self) -> list[str]:
        return self.file.read_text().splitlines()

    def expect(self, *events: str) -> None:
        until(lambda: self.events() == list(events), f"{events} after {self.events()}")

    def reload(self) -> None:
        self.gateway.signal(signal.SIGHUP)


@pytest.fixture
def site(gateway: Gateway) -> Site:
    gateway.write(CONFIG)
    return Site(gateway)


def ticked(site: Site, version: str) -> Path:
    """Wait for a run of the timer of a version."""
    mark = site.gateway.prefix / f"tick-{version}"
    mark.unlink(missing_ok=True)
    until(mark.exists, f"a run of the timer of {version}")
    return mark


def test_older_code_ends_with_its_last_session(site: Site) -> None:
    site.write("one")
    site.gateway.start()
    with connect(site.gateway.port("front")) as older:
        assert older.recv(10) == b"one\n"
        ticked(site, "one")
        site.write("two")
        site.reload()
        site.gateway.wait_for_log("reconfigured")
        assert ask(site.gateway.port("front"), b"b\n") == b"two\n"
        ticked(site, "two")
        mark = site.gateway.prefix / "tick-one"
        mark.unlink()
        ticked(site, "two")
        assert not mark.exists()
        begun = ["start one", "start two", "log b two"]
        site.expect(*begun)
        older.sendall(b"a\n")
        assert read_all(older) == b""
    site.expect(*begun, "log a one", "stop one", "cancelled one")
    site.gateway.stop()
    assert site.events()[-2:] == ["stop two", "cancelled two"]


def test_a_start_that_fails_refuses_the_reload(site: Site) -> None:
    site.gateway.expected_alarms += ["startup function app:start"]
    site.write("one")
    site.gateway.start()
    site.write("two", MODULE.replace('note("start")', "raise OSError('no redis')"))
    site.reload()
    line = site.gateway.wait_for_log("startup function app:start failed")
    assert f"OSError: no redis at app.py:17 in start in {site.gateway.prefix}/py/app.py:15" in line
    assert ask(site.gateway.port("front"), b"a\n") == b"one\n"
    ticked(site, "one")
    site.expect("start one", "log a one")


def test_new_code_without_a_new_configuration(site: Site) -> None:
    site.write("one")
    site.gateway.start_with_api()
    with site.gateway.api() as api, connect(site.gateway.port("front")) as older:
        assert older.recv(10) == b"one\n"
        site.write("two")
        site.gateway.write("broken")
        assert api.post("/v1/handlers/reload").json() == {"generation": 2, "revision": 2}
        assert ask(site.gateway.port("front"), b"b\n") == b"two\n"
        shown = api.get("/v1/handlers").json()
        conf = site.gateway.prefix / site.gateway.conf
        assert shown["handlers"] == [
            {
                "name": "app:greet",
                "phase": "preread",
                "origin": f"{conf}:12",
                "open_calls": 0,
            },
            {"name": "app:remember", "phase": "log", "origin": f"{conf}:13", "open_calls": 0},
        ]
        loads = [
            {"number": 1, "is_current": False, "open_calls": 1, "background_tasks": 1, "timers": 0},
            {"number": 2, "is_current": True, "open_calls": 0, "background_tasks": 1, "timers": 1},
        ]
        until(lambda: api.get("/v1/handlers").json()["generations"] == loads, f"{loads}")
        older.sendall(b"a\n")
        assert read_all(older) == b""
        until(lambda: api.get("/v1/handlers").json()["generations"] == loads[1:], f"{loads[1:]}")


def test_code_that_cannot_be_loaded_is_refused_with_its_cause(site: Site) -> None:
    site.write("one")
    site.gateway.start_with_api()
    with site.gateway.api() as api:
        site.write("two", "import no_such_module\n" + MODULE)
        refused = api.post("/v1/handlers/reload")
        conf = site.gateway.prefix / site.gateway.conf
        assert refused.status_code == 422
        error = refused.json()["error"]
        assert (error["code"], error["where"]) == ("handlers", f"{conf}:12")
        assert 'cannot load preread handler "app:greet": ModuleNotFoundError' in error["message"]
        site.write("two", MODULE.replace('note("start")', "raise OSError('no redis')"))
        error = api.post("/v1/handlers/reload").json()["error"]
        assert error["where"] == f"{site.gateway.prefix}/py/app.py:15"
        assert "startup function app:start failed: OSError: no redis" in error["message"]
        assert api.get("/v1/handlers").json()["generation"] == 1
        assert api.get("/v1/status").json()["revision"] == 1
    assert ask(site.gateway.port("front"), b"a\n") == b"one\n"


def test_the_command_says_what_happened(site: Site) -> None:
    site.write("one")
    site.gateway.start_with_api()
    ctl = ["ctl", "--control", f"http://127.0.0.1:{site.gateway.port('control_api')}"]
    site.write("two")
    assert run([*ctl, "reload-handlers"]).stdout == "handlers reloaded: load 2, revision 2\n"
    site.write("three", "syntax error")
    refused = run([*ctl, "reload-handlers"])
    assert refused.returncode == 1
    assert 'qanat: cannot load preread handler "app:greet": SyntaxError' in refused.stderr
    shown = run([*ctl, "handlers"]).stdout
    assert "app:remember" in shown
    assert "new sessions" in shown


def test_a_start_that_fails_refuses_to_run(site: Site) -> None:
    site.gateway.expected_alarms += ["startup function app:start"]
    site.write("one", MODULE.replace('note("start")', "raise OSError('no redis')"))
    with pytest.raises(StartError, match="startup function app:start failed: OSError: no redis"):
        site.gateway.start()


def test_a_start_that_is_interrupted_ends(site: Site) -> None:
    text = MODULE.replace("    background(wait())", "    await wait()")
    site.write("one", text)
    with (site.gateway.prefix / "stderr").open("wb") as errors:
        process = subprocess.Popen(site.gateway.command(), stderr=errors)
    until(site.file.exists, "the beginning of the start")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    site.expect("start one", "cancelled one")
    assert site.gateway.stderr() == ""


def test_a_reload_that_waits_does_not_hold_the_end_up(site: Site) -> None:
    site.write("one")
    site.gateway.start()
    site.write("two", MODULE.replace("    background(wait())", "    await wait()"))
    site.reload()
    until(lambda: "start two" in site.events(), "the beginning of the start")
    site.gateway.stop()
    assert sorted(site.events()[2:]) == ["cancelled one", "cancelled two", "stop one"]


def test_a_drain_keeps_the_code_to_the_end(site: Site) -> None:
    site.write("one")
    site.gateway.start()
    with connect(site.gateway.port("front")) as client:
        assert client.recv(10) == b"one\n"
        site.gateway.signal(signal.SIGQUIT)
        site.gateway.wait_for_log("gracefully shutting down")
        ticked(site, "one")
        client.sendall(b"a\n")
        assert read_all(client) == b""
    assert site.gateway.wait() == 0
    site.expect("start one", "log a one", "stop one", "cancelled one")
