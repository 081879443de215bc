"""A worker: takes messages, claims runs, has them done by child processes."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

import dramatiq
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Work on runs. --queues heavy for what loads models, light for the rest; one thread = one child process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--queues", nargs="+", default=["heavy", "light"], choices=["heavy", "light"])
        parser.add_argument("--threads", type=int, default=1)

    def handle(self, *args: Any, queues: list[str], threads: int, **options: Any) -> None:
        from runs import worker as running

        worker = dramatiq.Worker(
            dramatiq.get_broker(),
            queues={*queues, *(f"{name}.DQ" for name in queues)},
            worker_threads=threads,
            worker_timeout=500,
        )
        over = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: over.set())
        worker.start()
        over.wait()
        # Runs in work go back to the queue, without counting as a failed attempt; another worker continues them.
        running.stop_children()
        worker.stop(timeout=20_000)
