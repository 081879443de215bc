"""What a handler sees of its run, and the only way in which it writes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from runs.models import Run, RunMetric, settle_parent


class Superseded(Exception):
    """Another worker holds this run now: this process must write nothing more."""


class StopRequested(Exception):
    """Somebody pressed stop; what is done stays, and the run can be resumed."""


class PauseRequested(Exception):
    """The run that this is a part of is paused: what is in hand is stored, the part waits."""


class BudgetUsedUp(Exception):
    """No more may be spent; what was made stays (`result`), and the run can be given more."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__("The budget is used up.")
        self.result = result


class BadInput(Exception):
    """The run can't succeed however often it is tried; the message says what to do. Fails the run at once."""


class RunContext:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.params: dict[str, Any] = run.params
        self._told = 0.0
        self._asked = 0.0
        self._stop = self._pause = False

    @property
    def folder(self) -> Path:
        """Working folder of this run, kept over attempts: checkpoints and half-done things go here."""
        path = settings.DATA_DIR / "work" / f"run-{self.run.pk}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def progress(self, done: int, total: int | None = None, stage: str | None = None, *, force: bool = False) -> None:
        """At most one write a second, unless forced."""
        now = time.monotonic()
        if not force and stage is None and now - self._told < 1.0:
            return
        self._told = now
        values: dict[str, Any] = {"done": done}
        if total is not None:
            values["total"] = total
        if stage is not None:
            values["stage"] = stage[:200]
        if not self.run.held().update(**values):
            raise Superseded
        if self.run.parent_id:
            settle_parent(self.run.parent_id)

    def stage(self, text: str) -> None:
        if not self.run.held().update(stage=text[:200]):
            raise Superseded

    def log(self, message: str, level: str = "info") -> None:
        self.run.log(message, level)

    def metric(self, step: int, **values: float) -> None:
        RunMetric.objects.create(run=self.run, step=step, values=values)

    def should_stop(self) -> bool:
        """Asks the row at most every half second, so that it may be called in an inner loop."""
        now = time.monotonic()
        if not self._stop and now - self._asked > 0.5:
            self._asked = now
            flags = self.run.held().values_list("stop_requested", "parent__state").first()
            if flags is None:
                raise Superseded
            self._stop, self._pause = flags[0], flags[1] == Run.State.PAUSED
        return self._stop

    def stop_if_asked(self) -> None:
        if self.should_stop():
            raise StopRequested
        if self._pause:
            raise PauseRequested

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction in which the run is surely ours: everything a handler stores is stored in one of these."""
        with transaction.atomic():
            if not self.run.held().select_for_update().exists():
                raise Superseded
            yield
