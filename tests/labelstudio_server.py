"""A real Label Studio from PyPI in an environment of its own, people who work in it, and the bridge beside it.

`make bridge labelstudio-server` builds both environments and keeps them; a server starts with an empty SQLite file.
"""

import atexit
import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.ports import free_ports
from tests.workers import ROOT, environment

LABEL_STUDIO = ROOT / ".venv-labelstudio-server" / "bin" / "label-studio"
BRIDGE = ROOT / ".venv-bridge" / "bin" / "python"
LEAD, PASSWORD, TOKEN = "lead@example.com", "a-long-password", "0123456789abcdef0123456789abcdef01234567"
START_S = 600  # all its migrations; 30 to 45 s on two free cores
OUTCOME = "ADPROOF_LABEL_STUDIO"  # the file in which the process that starts the server tells the others what came of it


@dataclass
class Server:
    address: str
    token: str = TOKEN  # the lead's, who made the organisation


class Preparation(threading.Thread):
    """Makes both environments, if they are not there, and starts a server with nothing in it but its lead.

    That takes minutes, in which other tests can run: conftest.py begins it as soon as it is known that these are wanted.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self._folder = tempfile.TemporaryDirectory(prefix="adproof-label-studio-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen | None = None  # the one at work now
        self._is_over = False
        self._said, self._error, self._server = "", None, None

    def run(self):
        try:
            self._said = self._make()
            if not self._said:
                self._server = self._start_server()
        except Exception as error:  # noqa: BLE001 - the test that waits for this fails with it
            self._error = f"{type(error).__name__}: {error}"
        if OUTCOME in os.environ:
            path = Path(os.environ[OUTCOME])
            path.with_suffix(".new").write_text(json.dumps(self._outcome()))
            path.with_suffix(".new").rename(path)

    def _outcome(self) -> dict[str, str | None]:
        return {"address": self._server and self._server.address, "error": self._error, "said": self._said}

    def server(self) -> Server:
        self.join()
        return _server(**self._outcome())

    def end(self) -> None:
        """The tests are over, or were stopped: whatever goes on here ends."""
        self._is_over = True
        while True:
            _end(self._process)
            self.join(0.1)
            if not self.is_alive():
                break
        _end(self._process)
        self._folder.cleanup()

    def _make(self) -> str:
        """Why it can't be installed; empty if it is."""
        making = self._launch(
            ["make", "-j2", "bridge", "labelstudio-server", f"PYTHON={getattr(sys, '_base_executable', sys.executable)}"],
            "make.log", cwd=ROOT, env={**os.environ, "PIP_RETRIES": "1"},
        )  # fmt: skip
        if making.wait() == 0:
            return ""
        said = self._log("make.log").read_text(errors="replace").strip().splitlines() or ["make said nothing"]
        return next((line for line in said if "ERROR" in line), said[-1])

    def _start_server(self) -> Server:
        (port,) = free_ports()
        folder = self._folder.name
        # Not our own environment: it would read DEBUG, DATABASE_URL and the like as meant for itself.
        own = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        quiet = {"SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "", "COLLECT_ANALYTICS": "False", "LATEST_VERSION_CHECK": "False"}
        process = self._launch(
            [
                str(LABEL_STUDIO), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port),
                "--data-dir", folder, "--username", LEAD, "--password", PASSWORD, "--user-token", TOKEN,
                "--enable-legacy-api-token", "--log-level", "ERROR",
            ],
            "label-studio.log", cwd=folder, env={**own, **quiet, "HOME": folder},
        )  # fmt: skip
        _wait_until_up(f"http://127.0.0.1:{port}", process, self._log("label-studio.log"))
        return Server(f"http://127.0.0.1:{port}")

    def _launch(self, command: list[str], log: str, **options: Any) -> subprocess.Popen:
        assert not self._is_over, "the tests are over"
        with open(self._log(log), "wb") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, **options
            )
        return self._process

    def _log(self, name: str) -> Path:
        return Path(self._folder.name) / name


def _end(process: subprocess.Popen | None) -> None:
    """It and what it has started."""
    if process is None or process.poll() is not None:
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(20)
            return


class Elsewhere:
    """The preparation in the process that has started this one."""

    def server(self) -> Server:
        path, end = Path(os.environ[OUTCOME]), time.monotonic() + 2 * START_S
        while not path.exists():
            assert time.monotonic() < end, "nobody has told what became of Label Studio"
            time.sleep(0.5)
        return _server(**json.loads(path.read_text()))


def _server(address: str | None, error: str | None, said: str) -> Server:
    """Skips where it can't be installed; fails in CI."""
    assert not error, error
    if address:
        return Server(address)
    message = f"Label Studio can't be installed here: {said}"
    if os.environ.get("ADPROOF_CI"):
        pytest.fail(message)
    pytest.skip(message)


_preparation: list[Preparation] = []  # at most one


def begins_for_others() -> None:
    """The processes that this one is about to start look here."""
    folder = tempfile.TemporaryDirectory(prefix="adproof-label-studio-outcome-")
    atexit.register(folder.cleanup)
    os.environ[OUTCOME] = str(Path(folder.name) / "outcome.json")


def begin() -> "Preparation | Elsewhere":
    """What its server() waits for: it is up."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return Elsewhere()
    if not _preparation:
        _preparation.append(Preparation())
        _preparation[0].start()
    return _preparation[0]


def end() -> None:
    while _preparation:
        _preparation.pop().end()


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
