"""Refusals side by side with the real nginx: our first problem is the one that it reports."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qanat.config.errors import ConfigError
from qanat.config.parse import parse_file
from qanat.config.paths import Paths

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(NGINX is None or not MODULE.exists(), reason="nginx is not installed"),
]

REFUSED = [
    "events {\n",
    "events {}\nfoo 1;\n",
    "events {} }\n",
    "events {}\n{ }",
    "events {}\n;",
    'events {}\npid "x',
    "events {}\npid x",
    "events {}\n pid",
    "events {}\nstream;\n",
    "events {}\nstream {} stream {}",
    "pid a; pid b; events {}",
    "events {}\n include nope.conf;",
    "events {}\npid x; }y",
    "events {}\npid }x; pid y;",
    "events {}\ndaemon\non\n; daemon\n\noff;",
    "events {}\npid 'a\n\nb'; pid\n\n\n c;",
    "listen 1; events {}",
    'events {}\nstream { "a"b; }\n',
    'events {}\nstream { map $a $b { "x\n',
    "events {}\nstream { root /; }",
    "events {}\nstream { map $a { } }",
    "events {}\nstream { server x { } }",
    "events {}\nstream { server { proxy_timeout 1s {\n} } }",
    "events {}\nstream { server { proxy_timeout\n1s\n2s; } }",
    "events {}\nstream { server { tcp_nodelay maybe; } }",
    "events {}\nstream { server { listen 1 } }",
    "events {}\nstream { upstream { } }",
    "events {}\n#" + "x" * 5000 + "\n",
    "events {}\npid " + "x" * 5000 + ";\n",
    'events {}\npid "' + "x" * 5000 + '";\n',
    "events {}\npid '" + "x" * 5000 + "';\n",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_a_refusal_is_that_of_nginx(tmp_path: Path, text: str) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"load_module {MODULE};{text}")
    with pytest.raises(ConfigError) as caught:
        parse_file(Paths.of(conf))
    ours = caught.value.problems[0]
    assert f"{ours.message} in {ours.file}:{ours.line}" == refusal_of_nginx(tmp_path, conf)


def refusal_of_nginx(prefix: Path, conf: Path) -> str:
    command = [str(NGINX), "-t", "-p", f"{prefix}/", "-e", "stderr", "-c", str(conf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"\[emerg\] (?:\d+#\d+: )?(.*)", done.stderr)
    assert found is not None, done.stderr
    return found[1]
