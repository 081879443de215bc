"""A real Label Studio from PyPI in an environment of its own, people who work in it, and the bridge beside it.

`make bridge labelstudio-server` builds both environments and keeps them; a server starts with an empty SQLite file.
"""

import http.cookiejar
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.workers import ROOT, environment

LABEL_STUDIO = ROOT / ".venv-labelstudio-server" / "bin" / "label-studio"
BRIDGE = ROOT / ".venv-bridge" / "bin" / "python"
LEAD, PASSWORD, TOKEN = "lead@example.com", "a-long-password", "0123456789abcdef0123456789abcdef01234567"
START_S = 600  # all its migrations; 30 to 45 s on two free cores


def need_environments() -> None:
    """Both environments, made if they are not there. Skips where that can't be done; fails in CI."""
    making = subprocess.run(
        ["make", "-j2", "bridge", "labelstudio-server", f"PYTHON={getattr(sys, '_base_executable', sys.executable)}"],
        cwd=ROOT, env={**os.environ, "PIP_RETRIES": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if making.returncode == 0:
        return
    said = (making.stderr.strip() or making.stdout.strip()).splitlines()
    message = f"Label Studio can't be installed here: {next((line for line in said if 'ERROR' in line), said[-1])}"
    if os.environ.get("ADPROOF_CI"):
        pytest.fail(message)
    pytest.skip(message)


@dataclass
class Server:
    address: str
    token: str = TOKEN  # the lead's, who made the organisation


@contextmanager
def label_studio(folder: Path):
    """A server of its own with nothing in it but its lead, on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "label-studio.log"
    # Not our own environment: it would read DEBUG, DATABASE_URL and the like as meant for itself.
    own = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    quiet = {"SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "", "COLLECT_ANALYTICS": "False", "LATEST_VERSION_CHECK": "False"}
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [
                str(LABEL_STUDIO), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port),
                "--data-dir", str(folder), "--username", LEAD, "--password", PASSWORD, "--user-token", TOKEN,
                "--enable-legacy-api-token", "--log-level", "ERROR",
            ],
            env={**own, **quiet, "HOME": str(folder)}, cwd=folder, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", process, log)
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(address: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, f"Label Studio ended: {log.read_text(errors='replace')[-3000:]}"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"not up within {START_S} s: {log.read_text(errors='replace')[-3000:]}")


@dataclass
class Person:
    """Somebody in Label Studio: signed up in its form, with the session that a browser would have."""

    server: Server
    email: str
    signs_up: bool = True
    cookies: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def __post_init__(self):
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        where = "/user/signup/" if self.signs_up else "/user/login/"
        form = self._send("GET", where).decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        fields = {"email": self.email, "password": PASSWORD, "csrfmiddlewaretoken": token[1] if token else ""}
        self._send("POST", where, urllib.parse.urlencode(fields).encode(), "application/x-www-form-urlencoded")
        self.id = self.get("/api/current-user/whoami")["id"]

    def get(self, path: str) -> Any:
        return json.loads(self._send("GET", path))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._send(method, path, json.dumps(body).encode(), "application/json")
        return json.loads(answer) if answer else None

    def upload(self, project: int, name: str, content: bytes) -> Any:
        """As the page's Import does: a file in a form."""
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        body = f"{head}Content-Type: application/json\r\n\r\n".encode() + content + f"\r\n--{border}--\r\n".encode()
        return json.loads(
            self._send("POST", f"/api/projects/{project}/import", body, f"multipart/form-data; boundary={border}")
        )

    def label(self, task: int, *labels: str, seconds: float = 2.5, **values: Any) -> dict[str, Any]:
        """Presses Submit with these choices; returns the annotation."""
        result = [
            {
                "id": uuid.uuid4().hex[:10], "from_name": "label", "to_name": "picture", "type": "choices", "origin": "manual",
                "value": {"choices": list(labels)},
            }
        ]  # fmt: skip
        return self.call("POST", f"/api/tasks/{task}/annotations/", {"result": result, "lead_time": seconds, **values})

    def next_task(self, project: int) -> dict[str, Any]:
        return self.get(f"/api/projects/{project}/next")

    def _send(self, method: str, path: str, body: bytes | None = None, kind: str | None = None) -> bytes:
        head = {"Referer": self.server.address, **({"Content-Type": kind} if kind else {})}
        request = urllib.request.Request(self.server.address + path, body, head, method=method)
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from error


def at_the_shell(*arguments: Any) -> str:
    """`manage.py labelstudio ...` as the documentation has it."""
    done = subprocess.run(
        [str(BRIDGE), str(ROOT / "manage.py"), "labelstudio", *map(str, arguments)],
        env=_environment(), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    return environment(LS_TOKEN=TOKEN, EXTRA_TASKS="")


# Starting Django and the SDK takes seconds: one process runs the commands of all tests.
_LOOP = """
import io, json, os, sys
from pathlib import Path
import django
django.setup()
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from generation.blobs import blobs
for line in sys.stdin:
    wish = json.loads(line)
    os.environ["LS_TOKEN"], settings.BLOBS_DIR = wish["token"], Path(wish["blobs"])
    blobs.cache_clear()
    out, ok = io.StringIO(), True
    try:
        call_command("labelstudio", *wish["arguments"], stdout=out, stderr=out)
    except CommandError as error:
        ok = False
        out.write(str(error))
    connections.close_all()
    print(json.dumps([ok, out.getvalue()]), flush=True)
"""


class Bridge:
    """`manage.py labelstudio ...` in the bridge's own environment, on the test's database."""

    def __init__(self):
        self.process = subprocess.Popen(
            [str(BRIDGE), "-c", _LOOP], env=_environment(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *arguments: Any, ok: bool = True, token: str = TOKEN) -> str:
        """What it said."""
        wish = {"arguments": [str(one) for one in arguments], "token": token, "blobs": str(settings.BLOBS_DIR)}
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the bridge's process ended"
        as_wished, said = json.loads(line)
        assert as_wished == ok, said
        return said

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
