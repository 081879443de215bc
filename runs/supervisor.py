"""The processes of one machine: started together, started again when one dies, ended together."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from config import web

MOST_DEATHS_A_MINUTE = 10


class CannotServe(Exception):
    """The message says what to do."""


class Supervisor:
    def __init__(self, commands: dict[str, list[str]], environment: dict[str, str]) -> None:
        self.commands, self.environment = commands, environment
        self.running = {name: self._start(name) for name in commands}
        self.deaths: dict[str, list[float]] = {name: [] for name in commands}

    def _start(self, name: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.commands[name], env=self.environment, cwd=settings.BASE_DIR)

    def check(self) -> None:
        """Start again what has died. Raises CannotServe for what keeps dying."""
        for name, process in self.running.items():
            if process.poll() is None:
                continue
            now = time.monotonic()
            self.deaths[name] = [then for then in self.deaths[name] if now - then < 60] + [now]
            if len(self.deaths[name]) > MOST_DEATHS_A_MINUTE:
                raise CannotServe(f"{name} died {len(self.deaths[name])} times in a minute; see the lines above.")
            self.running[name] = self._start(name)

    def stop(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def web_and_workers(bind: str, port: int, *, heavy: int = 2, light: int = 2, demo: bool = False) -> Supervisor:
    """The web server and one worker for each queue. One heavy thread = one child process that holds models."""
    manage = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py")]
    commands = {
        "web": web.command(bind, port),
    }  # fmt: skip
    if heavy:
        commands["worker heavy"] = [*manage, "work", "--queues", "heavy", "--threads", str(heavy)]
        commands["worker light"] = [*manage, "work", "--queues", "light", "--threads", str(light)]
    # Many one-thread processes side by side: spinning or many-threaded ones would stand in each other's way.
    calm = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    return Supervisor(commands, {**os.environ, **calm, "ADPROOF_DEMO": "1" if demo else "0"})


def free_port(bind: str, wanted: int) -> int:
    """`wanted`, or the next port nobody listens on. Raises CannotServe."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    for port in range(wanted, wanted + 50):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((bind, port))
            except OSError:
                continue
            return port
    raise CannotServe(f"No free port between {wanted} and {wanted + 49} on {bind}: name one with --port.")


def wait_for_web(supervisor: Supervisor, bind: str, port: int, stopped: Callable[[], bool] = lambda: False) -> None:
    for _ in range(600):
        if stopped():
            return
        if supervisor.running["web"].poll() is not None:
            raise CannotServe("The web server did not start; see the lines above.")
        try:
            connection = http.client.HTTPConnection(bind, port, timeout=30)
            connection.request("GET", "/login/", headers={"Host": "localhost"})
            # The socket is open before the pages are loaded: only an answer means that people can come in.
            if connection.getresponse().status < 500:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    raise CannotServe("The web server did not answer within a minute.")
