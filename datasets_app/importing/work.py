"""The kind of run "import": a dry run tells what would happen, the run after it does just that, and may be killed at any time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import transaction

from adproof.imports.fetch import fetch
from adproof.imports.labels import LabelMap, parse_map
from adproof.imports.problems import BadImport, LeftOut
from datasets_app.importing import uploads
from datasets_app.importing.cutting import cut_out_staged
from datasets_app.importing.items import Sample
from datasets_app.importing.label_rows import LabelRows, names_samples
from datasets_app.importing.order import KIND, Order, rules
from datasets_app.importing.rf1m import Rf1mSource
from datasets_app.importing.sink import Sink
from datasets_app.importing.sources import Belongings
from datasets_app.importing.tables_of import open_table
from datasets_app.importing.tally import Tally
from datasets_app.importing.versions import VersionImport
from generation.models import Candidate, ImportProblem
from runs.actions import start_run
from runs.context import BadInput, RunContext
from runs.kinds import kind

TOGETHER = 32
TOGETHER_BYTES = 128_000_000
PERCEIVE_TOGETHER = 512


@kind(KIND, title="Import", queue="light", max_attempts=5)
def run_import(ctx: RunContext) -> dict[str, Any]:
    try:
        return Work(ctx).do()
    except BadImport as error:
        raise BadInput(str(error)) from error


class Work:
    """state: what is done, kept in the run's result with the rows of each chunk; a run that is started again begins there."""

    def __init__(self, ctx: RunContext) -> None:
        self.ctx = ctx
        self.order = Order(**ctx.params["order"])
        self.state: dict[str, Any] = dict(ctx.run.result)
        self.tally = Tally(self.state.get("tally"))
        self.labels = LabelMap(parse_map(self.order.labels), self.tally.labels)
        self.belongings = Belongings(self.order.source)

    def do(self) -> dict[str, Any]:
        path = self._path()
        if self.order.kind == "version":
            version = VersionImport(self.order, path, self.ctx, self.tally)
            version.take(self._at, self.ctx.writing, self._keep_at)
            if not self.order.dry_run:
                version.start_writing()
        elif self.order.kind == "rf1m":
            self._rf1m(path)
        elif self.order.kind == "candidates" and names_samples(path):
            self._label_rows(path)
        else:
            self._samples(open_table(self.order, self.labels, path, self.ctx.folder).items(), 0)
        runs = 0 if self.order.dry_run else self._perceive()
        shutil.rmtree(self.ctx.folder, ignore_errors=True)
        if not self.order.dry_run and (self.order.is_upload or self.order.url):
            uploads.forget(path)
        return {**self._as_json(), "perceive_runs": runs}

    @property
    def _at(self) -> int:
        return int(self.state.get("at", 0))

    def _as_json(self) -> dict[str, Any]:
        rows = self.labels.table() if self.order.kind != "version" else []
        return {**self.state, "tally": self.tally.as_json(), "label_rows": rows, "dry_run": self.order.dry_run}

    @contextmanager
    def _chunk(self, at: int) -> Iterator[None]:
        """A transaction whose last statement says how far it is."""
        with self.ctx.writing():
            yield
            self._keep_at(at)

    def _keep(self, **state: Any) -> None:
        """How far it is and what was left out, in the transaction of the rows themselves."""
        self.state |= state
        problems, self.tally.new_problems = self.tally.new_problems, []
        ImportProblem.objects.bulk_create(
            ImportProblem(run=self.ctx.run, where=problem.where[:300], problem=problem.text[:500])
            for problem in problems
        )
        self.ctx.run.held().update(result=self._as_json())

    def _keep_at(self, at: int) -> None:
        self._keep(at=at)

    def _path(self) -> Path:
        if not self.order.url:
            return Path(self.order.path)
        there = self.state.get("fetched")
        if there and Path(there).is_file():
            return Path(there)
        self.ctx.progress(0, 0, f"downloading {self.order.url}", force=True)

        def tell(done: int, total: int) -> None:
            self.ctx.stop_if_asked()
            self.ctx.progress(done // 1000, total // 1000)

        found = fetch(self.order.url, uploads.new_folder(), rules(), tell)
        self._keep(fetched=str(found))
        return found

    # --- kinds

    def _samples(self, items: Iterator[Sample | LeftOut], total: int) -> None:
        sink = Sink(
            self.ctx.run,
            self.belongings,
            self.labels,
            self.tally,
            dry_run=self.order.dry_run,
            cuts_out=self.order.cuts_out,
        )
        done = self._at
        for item in islice(items, done):
            sink.pass_by(item)
        self.ctx.progress(done, total, "looking" if self.order.dry_run else "importing", force=True)
        for part in parts(items):
            self.ctx.stop_if_asked()
            done += len(part)
            sink.take(part, self._chunk(done))
            self.ctx.progress(done, max(total, done))

    def _rf1m(self, path: Path) -> None:
        source = Rf1mSource(self.order, self.labels, path, self.ctx, self.tally)
        source.stage(self.state.get("staged", {}), self.ctx.writing, lambda done: self._keep(staged=done))
        if self.order.cuts_out and not self.order.dry_run and not self._at:
            known = self.ctx.run.parts.exists()  # of an attempt before: they are shared out once
            pictures = [] if known else source.to_cut()
            if known or pictures:
                cut_out_staged(self.ctx, pictures)
        self._samples(source.items(), source.total)
        with self.ctx.writing():
            source.forget()

    def _label_rows(self, path: Path) -> None:
        source = LabelRows(path, self.labels, self.belongings, self.tally, dry_run=self.order.dry_run)
        done, rows = self._at, 0
        for number, part in enumerate(source.parts()):
            if number < done:
                rows += part.rows
                continue
            self.ctx.stop_if_asked()
            with self.ctx.writing():
                source.take(part)
                self._keep_at(number + 1)
            rows += part.rows
            self.ctx.progress(rows, 0, "labels")

    def _perceive(self) -> int:
        """Runs that make depth and saliency of the new candidates, where they came without."""
        ids = list(
            Candidate.objects.filter(run=self.ctx.run, depth_sha256="").order_by("pk").values_list("pk", flat=True)
        )
        with transaction.atomic():
            for at in range(0, len(ids), PERCEIVE_TOGETHER):
                some = ids[at : at + PERCEIVE_TOGETHER]
                start_run(
                    "perceive", {"candidates": some}, title=f"Depth and saliency of {len(some)} candidates",
                    user=self.ctx.run.created_by, total=len(some), key=f"import/{self.ctx.run.pk}/{at}",
                )  # fmt: skip
        return -(-len(ids) // PERCEIVE_TOGETHER)


def parts(items: Iterator[Sample | LeftOut]) -> Iterator[list[Sample | LeftOut]]:
    """Chunks, smaller where pictures wait in memory."""
    part: list[Sample | LeftOut] = []
    held = 0
    for item in items:
        part.append(item)
        held += item.held_bytes if isinstance(item, Sample) else 0
        if len(part) == TOGETHER or held > TOGETHER_BYTES:
            yield part
            part, held = [], 0
    if part:
        yield part
