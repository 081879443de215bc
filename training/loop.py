"""The whole loop without a browser: what each station does is done by the same actions, runs and API that people use.

The people are simulated: they work through the public API, see the picture through the independent judge (a net that
is neither RFNet nor was trained on the same scenes) and make a person's mistakes. Every figure is computed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotation.models import Project
from datasets_app.actions import start_freeze
from datasets_app.models import DatasetVersion
from datasets_app.product_splits import HOLDOUT, give_splits, splits
from generation.models import Candidate, Generator, Product, Prompt
from generation.planned import planned
from generation.planning import start_generation
from generation.samples import SAMPLE_SOURCE
from rfnet_service.actions import promoted, start_scoring
from rfnet_service.models import Checkpoint
from runs.actions import start_run
from runs.models import Run, RunMetric
from training.actions import DATASET, start_training
from training.models import Training

Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much of everything; one minute counts for about 60 images on two cores."""

    first: int  # candidates labelled before there is an RFNet
    pool: int  # candidates of which RFNet picks
    picked: int  # of the pool, labelled in the second round
    judged: int  # held-out product-prompt pairs drawn by each generator to compare them
    people: int
    overlap: int
    epochs: int
    updates: int
    attempts: int
    beta: float = 0.5


FULL = Size(first=224, pool=224, picked=112, judged=64, people=6, overlap=2, epochs=10, updates=60, attempts=3)
QUICK = Size(first=48, pool=24, picked=16, judged=12, people=4, overlap=2, epochs=3, updates=4, attempts=2)


@dataclass
class Report:
    seed: int
    size: Size
    started: float = field(default_factory=time.time)
    stations: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pictures: list[dict[str, Any]] = field(default_factory=list)


class LoopFailed(Exception):
    """A run of the loop ended otherwise than with success."""


class Loop:
    compared: Run  # the base generator's pictures of what both generators are compared on

    def __init__(
        self, size: Size, seed: int, annotate: Callable[[Project], int], say: Say, tick: Callable[[], None]
    ) -> None:
        self.size, self.seed, self.annotate, self.say, self.tick = size, seed, annotate, say, tick
        self.report = Report(seed, size)
        self.project = Project.objects.get()
        Project.objects.filter(pk=self.project.pk).update(overlap=size.overlap)
        self.project.refresh_from_db()
        self.products = list(Product.objects.filter(source=SAMPLE_SOURCE).order_by("pk"))
        self.prompts = list(Prompt.objects.filter(is_active=True).order_by("pk"))
        self.base = Generator.objects.get(is_in_use=True)

    def go(self) -> Report:
        # What both generators will be compared on: products that no training ever sees, always the same seeds.
        # It needs nobody's label, so it is drawn while people label and RFNet learns.
        self.station("candidates", "Draw the first candidates", lambda: self._draw(self.size.first, seed=self.seed))
        self.compared = self._draw_compared(self.base)
        self.station("round 1", "Pick over all products", lambda: self._round(self.size.first))
        self.station("people", "People label", self._people)
        self.station("consensus", "Dawid-Skene", self._consensus)
        version = self.station("version 1", "Freeze and write", self._freeze)
        self.station("RFNet 1", "Train RFNet", lambda: self._train(version))
        self.station("pool", "Draw more candidates", lambda: self._draw(self.size.pool, seed=self.seed + 1))
        self.station("verdicts", "RFNet judges them", self._score)
        self.station("round 2", "Pick what RFNet doubts", lambda: self._round(self.size.picked))
        self.station("people again", "People label", self._people)
        self.station("consensus again", "Dawid-Skene", self._consensus)
        version = self.station("version 2", "Freeze and write", self._freeze)
        self.station("RFNet 2", "Train RFNet", lambda: self._train(version))
        tuned = self.station("RFFT", "Tune the generator on RFNet's feedback", self._tune)
        self.station("base images", "Wait for the base generator's images", lambda: self._wait(self.compared))
        self.station("tuned images", "Draw with the tuned generator", lambda: self._wait(self._draw_compared(tuned)))
        self.station("recurrent", "Recurrent Generation", lambda: self._recurrent(tuned))
        self._score()
        self._people_judge(tuned)
        self._sum_up(tuned)
        return self.report

    def station(self, name: str, what: str, do: Callable[[], Any]) -> Any:
        self.say(f"[{len(self.report.stations) + 1:2}/17] {what}")
        started = time.monotonic()
        result = do()
        self.report.stations.append({"station": name, "what": what, "seconds": round(time.monotonic() - started, 1)})
        return result

    def _wait(self, run: Run) -> Run:
        shown = ""
        while True:
            run.refresh_from_db()
            self.tick()
            line = f"        {run.title}: {run.done}/{run.total or '?'} {run.stage}".rstrip()
            if line != shown:
                self.say(f"\r{line}")
                shown = line
            if run.is_finished:
                break
            time.sleep(0.3)
        if run.state != Run.State.SUCCEEDED:
            raise LoopFailed(f"{run.title} (run {run.pk}) {run.get_state_display().lower()}: {run.error}")
        return run

    def _draw(self, n: int, seed: int) -> Run:
        """Every product, prompts in turn."""
        per_pair = 1 + n // max(1, len(self.products) * len(self.prompts))
        return self._wait(
            start_generation(
                products=self.products,
                prompts=self.prompts,
                generator=self.base,
                per_pair=per_pair,
                limit=n,
                base_seed=seed,
            )
        )

    def _held_out(self) -> list[Product]:
        give_splits(DATASET)
        split = splits(DATASET, [product.pk for product in self.products])
        return [product for product in self.products if split[product.pk] in HOLDOUT]

    def _draw_compared(self, generator: Generator, attempts: int = 1) -> Run:
        """The same held-out products, prompts and seeds for every generator."""
        return start_generation(
            products=self._held_out(), prompts=self.prompts, generator=generator, limit=self.size.judged,
            base_seed=self.seed + 1000, attempts=attempts,
        )  # fmt: skip

    def _round(self, count: int) -> Run:
        return self._wait(start_run("open_round", {"project": self.project.pk, "count": count, "seed": self.seed}))

    def _people(self) -> int:
        return self.annotate(self.project)

    def _consensus(self) -> Run:
        return self._wait(start_run("fit_consensus", {}, key="fit_consensus"))

    def _freeze(self) -> DatasetVersion:
        run = self._wait(start_freeze(DATASET, {}))
        return DatasetVersion.objects.get(pk=run.result["version"])

    def _train(self, version: DatasetVersion) -> Checkpoint:
        training = Training(
            kind="rfnet", dataset_version=version, config={"epochs": self.size.epochs, "seed": self.seed}
        )
        run = self._wait(start_training(training))
        checkpoint = Checkpoint.objects.get(pk=run.result["checkpoint"])
        self.report.curves[f"RFNet on {version}"] = _curve(run)
        return checkpoint

    def _score(self) -> None:
        from rfnet_service.actions import CannotScore

        checkpoint = promoted()
        assert checkpoint is not None
        try:
            self._wait(start_scoring(checkpoint))
        except CannotScore:
            return

    def _tune(self) -> Generator:
        training = Training(
            kind="rfft", generator=self.base, feedback=promoted(),
            config={"updates": self.size.updates, "beta": self.size.beta, "seed": self.seed, "sample_seed": self.seed},
        )  # fmt: skip
        run = self._wait(start_training(training))
        self.report.curves["RFFT"] = _curve(run)
        return Generator.objects.get(pk=run.result["generator"])

    def _recurrent(self, tuned: Generator) -> None:
        for name, generator in (("before", self.base), ("after", tuned)):
            run = self._wait(self._draw_compared(generator, attempts=self.size.attempts))
            self.report.figures[f"recurrent_{name}"] = {
                "available_at": [run.result[f"availability_at_{k}"] for k in range(1, self.size.attempts + 1)],
                "mean_attempts": run.result["mean_attempts"],
            }

    def _compared(self, generator: Generator) -> list[Candidate]:
        """First attempts only: one image for each held-out pair."""
        held_out = [product.pk for product in self._held_out()]
        rows = Candidate.objects.filter(generator=generator, product__in=held_out, attempt=1, seed__in=self._seeds())
        return list(rows.select_related("product", "prompt").order_by("product", "prompt", "seed"))

    def _seeds(self) -> list[int]:
        """Of the pictures that both generators drew."""
        parts = self.compared.parts.order_by("pk")
        return [item["seed"] for part in parts for item in planned(part.params)["items"]]

    def _people_judge(self, tuned: Generator) -> None:
        """Both generators' images go to the same people, mixed, in a project of their own: no training ever reads them."""
        from annotation.actions import Pick, add_tasks

        self.say("        the same people label both generators' images, mixed")
        blind = Project.objects.get_or_create(name="Before and after", defaults={"overlap": 3})[0]
        rng = np.random.default_rng(self.seed)
        candidates = self._compared(self.base) + self._compared(tuned)
        add_tasks(
            blind,
            [
                Pick(candidates[at].pk, float(rng.random()), "before and after")
                for at in rng.permutation(len(candidates))
            ],
        )
        self.annotate(blind)

    def _sum_up(self, tuned: Generator) -> None:
        from training.loop_figures import sum_up

        sum_up(self, tuned)


def _curve(run: Run) -> list[dict[str, Any]]:
    return [{"step": row.step, **row.values} for row in RunMetric.objects.filter(run=run).order_by("step", "id")]
