"""One part of a plan at work: it draws what the budget still allows, and what can't be drawn goes into a list.

The rows are the truth: after a kill in any line the part counts anew what it has made, so a picture is neither drawn twice
nor paid twice, and two workers never go over the budget together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Sum

from config.full_disk import is_full_disk
from generation.costs import counted_rows, made_by
from generation.drawing import EarlyLook, Item, already_drawn, draw_missing
from generation.models import Candidate, Failure, Generator, Plan, Share
from runs.actions import rest_waiting_parts
from runs.context import BadInput, BudgetUsedUp, RunContext
from runs.models import Run

WAIT_S = 0.3
# So many failures without one picture: something is wrong with more than single items.
TOO_MANY_FAILURES = 50


class Work:
    """What a part of a run of drawing does. Use: draw() as often as needed, then finish()."""

    def __init__(self, ctx: RunContext, generator: Generator, early: EarlyLook | None = None) -> None:
        self.ctx, self.generator, self.early = ctx, generator, early
        self.plan = Plan.objects.light().filter(run=ctx.run.parent_id).first() if ctx.run.parent_id else None
        self.failed, self.is_short = 0, False
        self.failed_draws: set[UUID] = set()
        self._read: set[str] = set()
        # What the part has to tell besides its pictures and seconds, whenever it ends.
        self.results: Callable[[], dict[str, Any]] = dict
        if self.plan:
            self.share = Share.objects.get_or_create(part=ctx.run, defaults={"plan": self.plan})[0]
            self._record()
            # What it could not draw before it was ended is tried again, and listed only if it fails again.
            with ctx.writing():
                Failure.objects.filter(part=ctx.run).delete()
        self._load()

    def _load(self) -> None:
        """A generator that is not there is no fault of any item: the run fails, once, with the way to get it."""
        from generation import runtime

        try:
            runtime.drawer_of(self.generator)
            runtime.depth()
            runtime.saliency()
        except (ValueError, OSError) as problem:
            if is_full_disk(problem):
                raise
            rest_waiting_parts(self.ctx.run.parent_id, Run.State.STOPPED)
            raise BadInput(f"{self.generator} can't draw: {problem}") from problem

    def draw(self, items: Sequence[Item]) -> list[tuple[Item, Candidate]]:
        """Those of the items that are there now, drawn before or just now, each with its candidate."""
        items = [item for item in items if self._has_words(item)]
        there = already_drawn(items, self.early)
        granted = self._reserve(sum(item.key not in there for item in items))
        todo = []
        for item in items:
            is_known = item.key in there
            if is_known or granted > 0:
                todo.append(item)
                granted -= not is_known
        self.is_short |= len(todo) < len(items)
        self._tell_of_unread(todo)
        drawn = self._draw(todo, there) if todo else []
        self._record()
        if not drawn and self.is_short and not todo:
            self._spent()
        return drawn

    def _tell_of_unread(self, items: Sequence[Item]) -> None:
        """A text that is longer than the text encoder reads draws as if its end were not there: said once for a prompt."""
        from generation import runtime

        drawer = runtime.drawer_of(self.generator)
        for item in items:
            for called, text in (("text", item.words.text), ("negative text", item.words.negative)):
                if text in self._read:
                    continue
                self._read.add(text)
                if unread := drawer.unread(text):
                    self._tell_once(
                        f"The {called} of “{item.prompt}” is longer than {self.generator} reads:",
                        f"“{unread}” has no effect. Shorten it, or put what matters first.",
                    )

    def _tell_once(self, what: str, more: str) -> None:
        """On the page of the whole run, however many parts and texts this is true of."""
        run = self.ctx.run if self.plan is None else self.plan.run
        if not run.events.filter(message__startswith=what).exists():
            run.log(f"{what} {more}", "warning")

    def _has_words(self, item: Item) -> bool:
        """A prompt without a plan may have been edited meanwhile so that it can't be said any more."""
        try:
            return bool(item.words)
        except ValueError as problem:
            self._failed(item, problem)
            return False

    def _draw(self, items: Sequence[Item], there: Mapping[str, Candidate]) -> list[tuple[Item, Candidate]]:
        """All together; where that fails, one by one, and those that fail are listed."""
        try:
            return list(zip(items, draw_missing(self.ctx, items, there, self.early), strict=True))
        except (FileNotFoundError, ValueError) as problem:
            if len(items) == 1:
                self._failed(items[0], problem)
                return []
        return [pair for item in items for pair in self._draw([item], there)]

    def _failed(self, item: Item, problem: Exception) -> None:
        if self.plan is None:
            raise BadInput(f"{item.product}: {_sentence(problem)}") from problem
        with self.ctx.writing():
            Failure.objects.update_or_create(
                plan=self.plan, product=item.product, prompt=item.prompt, seed=item.seed,
                defaults={
                    "part": self.ctx.run, "problem": _sentence(problem)[:500], "attempt": item.attempt,
                    "number": item.number,
                },
            )  # fmt: skip
        self.failed += 1
        self.failed_draws.add(item.draw)
        if self.failed >= TOO_MANY_FAILURES and not Candidate.objects.filter(run=self.ctx.run).exists():
            raise BadInput(f"The first {self.failed} pictures of this part all failed. The last: {_sentence(problem)}")

    # --- the budget

    def _reserve(self, wanted: int) -> int:
        """How many of these pictures may be drawn now. Waits while what others hold decides whether there is more."""
        if self.plan is None or not wanted:
            return wanted
        limits = Plan.objects.filter(pk=self.plan.pk).values_list("budget_images", "budget_seconds").get()
        if limits == (None, None):
            return wanted
        while True:
            self.ctx.stop_if_asked()
            with self.ctx.writing():
                plan = Plan.objects.light().select_for_update().get(pk=self.plan.pk)
                images, seconds, held = self._used()
                if plan.budget_seconds is not None and seconds >= plan.budget_seconds:
                    return 0
                free = wanted if plan.budget_images is None else plan.budget_images - images - held
                granted = min(wanted, max(0, free))
                if granted:
                    Share.objects.filter(pk=self.share.pk).update(held=granted)
                if granted or not held:
                    return granted
            time.sleep(WAIT_S)

    def _used(self) -> tuple[int, float, int]:
        """Pictures and seconds of the whole run, and how many pictures other parts hold that are at work now."""
        shares = Share.objects.filter(plan=self.plan)
        others = shares.filter(is_closed=False, part__state=Run.State.RUNNING).exclude(pk=self.share.pk)
        held = others.aggregate(held=Sum("held"))["held"] or 0
        return *made_by(shares), held

    def _record(self, *, closed: bool = False) -> None:
        """What this part has made so far, as its rows say."""
        if self.plan is None:
            return
        images, seconds = counted_rows(Candidate.objects.filter(run=self.ctx.run))
        self.share.images, self.share.seconds, self.share.held, self.share.is_closed = images, seconds, 0, closed
        with self.ctx.writing():
            self.share.save()

    def _spent(self) -> None:
        """Nothing is left and nobody holds anything: the parts that have not begun need not begin."""
        self._record(closed=True)
        rest_waiting_parts(self.ctx.run.parent_id, Run.State.SPENT)
        raise BudgetUsedUp({**self.totals(), **self.results()})

    def totals(self) -> dict[str, Any]:
        if self.plan is None:
            images, seconds = counted_rows(Candidate.objects.filter(run=self.ctx.run))
            return {"images": images, "seconds": round(seconds, 2)}
        return {"images": self.share.images, "seconds": round(self.share.seconds, 2)}

    def finish(self) -> dict[str, Any]:
        """The part's result; BudgetUsedUp where some of it could not be afforded."""
        if self.is_short:
            self._spent()
        self._record(closed=True)
        if self.failed:
            total = max(0, self.ctx.run.total - self.failed)
            self.ctx.progress(total, total, force=True)
        return {**self.totals(), **({"failed": self.failed} if self.failed else {}), **self.results()}


def _sentence(problem: Exception) -> str:
    if isinstance(problem, FileNotFoundError):
        return (
            "The product's own picture is not in the store any more: upload it again, then try the failed ones again."
        )
    text = str(problem) or type(problem).__name__
    return text[:1].upper() + text[1:]
