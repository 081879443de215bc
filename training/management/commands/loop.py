"""`make loop`: the whole loop on this machine without a browser, and a report at its end."""

import json
import signal
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from runs.supervisor import CannotServe, free_port, wait_for_web, web_and_workers

SHARPNESS = 3  # exponent on the judge's probabilities


class Command(BaseCommand):
    help = "Products to better candidates, with simulated people; writes report.html and report.json."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quick", action="store_true", help="everything small: under 3 minutes")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--out", type=Path, default=None, help="folder of the report (default: out/loop)")
        parser.add_argument("--heavy", type=int, default=2, help="child processes that run models")
        parser.add_argument("--beta", type=float, default=None, help="weight of the Consistent Condition in RFFT")

    def handle(
        self, *args: Any, quick: bool, seed: int, out: Path | None, heavy: int, beta: float | None, **options: Any
    ) -> None:
        from dataclasses import replace

        from generation.models import Candidate
        from training.loop import FULL, QUICK, Loop, LoopFailed
        from training.loop_report import write_report

        size = QUICK if quick else FULL
        if beta is not None:
            size = replace(size, beta=beta)
        # Told to end, it still ends the web server and the workers that it started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
        started = time.monotonic()
        call_command("migrate", verbosity=0)
        if Candidate.objects.exists():
            raise CommandError(
                "This data folder is in use already. The loop wants an empty one: name it in ADPROOF_DATA."
            )
        call_command("prepare_static")
        call_command("demo_data", no_candidates=True)
        port = free_port("127.0.0.1", 8600)
        supervisor = web_and_workers("127.0.0.1", port, heavy=heavy)
        try:
            wait_for_web(supervisor, "127.0.0.1", port)
            annotate = self._people(f"http://127.0.0.1:{port}", size.people, seed)
            report = Loop(size, seed, annotate, self._say, supervisor.check).go()
        except (LoopFailed, CannotServe) as problem:
            raise CommandError(str(problem)) from problem
        finally:
            supervisor.stop()
        report.figures["minutes"] = round((time.monotonic() - started) / 60, 2)
        folder = out or settings.BASE_DIR / "out" / ("loop-quick" if quick else "loop")
        page = write_report(report, folder)
        self._say(f"Report: {page}")
        self.stdout.write(json.dumps(report.figures))

    def _say(self, line: str) -> None:
        """A line that begins with a carriage return replaces itself on a terminal, and is left out elsewhere."""
        if line.startswith("\r"):
            if sys.stdout.isatty():
                self.stdout.write(f"{line:<110}", ending="")
                self.stdout.flush()
            return
        self.stdout.write(("\n" if sys.stdout.isatty() else "") + line)
        self.stdout.flush()

    def _people(self, url: str, n: int, seed: int) -> Any:
        import torch

        from annotation.crowd import simulated_people
        from annotation.simulated import judged_truth, work_together
        from training.loop import LoopFailed

        torch.set_num_threads(1)
        people, judged = simulated_people(n, seed), judged_truth()

        def truth(shown: Any) -> Any:
            """People make up their mind: a calibrated net's doubt would have them toss a coin each."""
            sharp = judged(shown) ** SHARPNESS
            return sharp / sharp.sum()

        def annotate(project: Any) -> int:
            works = work_together(
                url, people, project.pk, truth, on_progress=lambda saved: self._say(f"\r        {saved} labels")
            )
            errors = [work.error for work in works if work.error]
            if errors:
                raise LoopFailed(f"An annotator could not go on: {errors[0]}")
            return sum(work.saved for work in works)

        return annotate
