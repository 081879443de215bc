"""Everything on one machine: database, pages, workers. Ends all of it when it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Start database, web and workers on this machine, with sample products and demo people."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")))
        parser.add_argument("--bind", default=os.environ.get("BIND", "127.0.0.1"))
        parser.add_argument("--no-demo", action="store_true", help="no sample products, no demo people")
        parser.add_argument("--heavy", type=int, default=2, help="child processes that run models")
        parser.add_argument("--no-workers", action="store_true")

    def handle(
        self, *args: Any, port: int, bind: str, no_demo: bool, heavy: int, no_workers: bool, **options: Any
    ) -> None:
        started = time.monotonic()
        demo = not no_demo
        if demo and bind not in {"127.0.0.1", "localhost", "::1"}:
            raise CommandError(
                f"Demo people have known passwords, so the demo listens on this machine only. "
                f"For --bind {bind} add --no-demo, and make accounts with `manage.py createsuperuser`."
            )
        call_command("migrate", verbosity=0)
        call_command("prepare_static")
        if demo:
            call_command("demo_data")
        port = free_port(bind, port)
        environment = {
            **os.environ, "ADPROOF_DEMO": "1" if demo else "0", "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1",
            "GOMP_SPINCOUNT": "0",
        }  # fmt: skip
        manage = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py")]
        commands = {
            "web": [
                sys.executable, "-m", "gunicorn", "config.wsgi", "--worker-class", "gthread", "--workers", "2", "--threads", "8",
                "--bind", f"{bind}:{port}", "--log-level", "warning", "--no-control-socket",
            ],
        }  # fmt: skip
        if not no_workers:
            commands["worker heavy"] = [*manage, "work", "--queues", "heavy", "--threads", str(heavy)]
            commands["worker light"] = [*manage, "work", "--queues", "light", "--threads", "2"]
        supervise(
            commands, environment, lambda: self._say_hello(bind, port, demo, time.monotonic() - started)
        )

    def _say_hello(self, bind: str, port: int, demo: bool, seconds: float) -> None:
        self.stdout.write(f"\nAdproof is up after {seconds:.0f} s:  http://{bind}:{port}/\n")
        if demo:
            self.stdout.write("\nDemo people (one click on the log-in page, or password adproof-demo):")
            for name, what in DEMO_PEOPLE:
                self.stdout.write(f"  {name:6} {what}")
        self.stdout.write("\nCtrl-C ends everything; what is done stays in the data folder.\n")


DEMO_PEOPLE = [
    ("ann", "annotator: goes straight to the labelling desk"),
    ("bo", "annotator"),
    ("rita", "reviewer"),
    ("max", "data manager: products, quality, dataset versions"),
    ("mia", "ML staff: training, checkpoints, rounds"),
    ("olga", "operator: everything, and the admin at /admin/"),
]


def free_port(bind: str, wanted: int) -> int:
    """`wanted`, or the next port nobody listens on."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    for port in range(wanted, wanted + 50):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((bind, port))
            except OSError:
                continue
            return port
    raise CommandError(f"No free port between {wanted} and {wanted + 49} on {bind}: name one with --port.")


def supervise(commands: dict[str, list[str]], environment: dict[str, str], on_up: Any) -> None:
    """Start the processes, start again what dies, end all when told to."""
    stopping = False

    def stop(*_: Any) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    running = {
        name: subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR)
        for name, command in commands.items()
    }
    deaths: dict[str, list[float]] = {name: [] for name in commands}
    try:
        wait_for_web(commands["web"], running["web"], lambda: stopping)
        if not stopping:
            on_up()
        while not stopping:
            time.sleep(0.5)
            for name, process in running.items():
                if process.poll() is None or stopping:
                    continue
                now = time.monotonic()
                deaths[name] = [then for then in deaths[name] if now - then < 60] + [now]
                if len(deaths[name]) > 10:
                    raise CommandError(
                        f"{name} died {len(deaths[name])} times in a minute; see the lines above."
                    )
                running[name] = subprocess.Popen(commands[name], env=environment, cwd=settings.BASE_DIR)
    finally:
        for process in running.values():
            if process.poll() is None:
                process.terminate()
        for process in running.values():
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for_web(command: list[str], process: "subprocess.Popen[bytes]", stopped: Any) -> None:
    host, port = command[command.index("--bind") + 1].rsplit(":", 1)
    for _ in range(600):
        if stopped():
            return
        if process.poll() is not None:
            raise CommandError("The web server did not start; see the lines above.")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise CommandError("The web server did not answer within a minute.")
