"""Everything on one machine: database, pages, workers. Ends all of it when it ends."""

import os
import signal
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from runs.supervisor import CannotServe, free_port, wait_for_web, web_and_workers

DEMO_PEOPLE = [
    ("ann", "annotator: goes straight to the labelling desk"),
    ("bo", "annotator"),
    ("rita", "reviewer"),
    ("max", "data manager: products, quality, dataset versions"),
    ("mia", "ML staff: training, checkpoints, rounds"),
    ("olga", "operator: everything, and the admin at /admin/"),
]


class Command(BaseCommand):
    help = "Start database, web and workers on this machine, with sample products and demo people."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")))
        parser.add_argument("--bind", default=os.environ.get("BIND", "127.0.0.1"))
        parser.add_argument("--no-demo", action="store_true", help="no sample products, no demo people")
        parser.add_argument("--heavy", type=int, default=2, help="child processes that run models; 0: no workers here")

    def handle(self, *args: Any, port: int, bind: str, no_demo: bool, heavy: int, **options: Any) -> None:
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
        stopping = False

        def stop(*_: Any) -> None:
            nonlocal stopping
            stopping = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        try:
            port = free_port(bind, port)
            supervisor = web_and_workers(bind, port, heavy=heavy, demo=demo)
            try:
                wait_for_web(supervisor, bind, port, lambda: stopping)
                if not stopping:
                    self._say_hello(bind, port, demo, time.monotonic() - started)
                while not stopping:
                    time.sleep(0.5)
                    if not stopping:
                        supervisor.check()
            finally:
                supervisor.stop()
        except CannotServe as problem:
            raise CommandError(str(problem)) from problem

    def _say_hello(self, bind: str, port: int, demo: bool, seconds: float) -> None:
        self.stdout.write(f"\nAdproof is up after {seconds:.0f} s:  http://{bind}:{port}/\n")
        if demo:
            self.stdout.write("\nDemo people (one click on the log-in page, or password adproof-demo):")
            for name, what in DEMO_PEOPLE:
                self.stdout.write(f"  {name:6} {what}")
        self.stdout.write("\nCtrl-C ends everything; what is done stays in the data folder.\n")
        self.stdout.flush()
