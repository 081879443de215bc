"""Which prompts work: how many of their candidates are available, by people and by RFNet, and what the others suffer from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, FilteredRelation, OuterRef, Q

from adproof.aggregation.intervals import wilson
from adproof.labels import N_LABELS, TITLES, Label
from generation.models import Candidate, Product, Prompt
from runs.counted import counted

KEPT_DETAILS = 60


@dataclass
class Said:
    """One side's five counts."""

    counts: list[int] = field(default_factory=lambda: [0] * N_LABELS)

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def availability(self) -> float | None:
        return self.counts[Label.AVAILABLE] / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.counts[Label.AVAILABLE], self.total)

    @property
    def worst(self) -> Label | None:
        """The most frequent defect."""
        most = max(range(1, N_LABELS), key=lambda label: self.counts[label])
        return Label(most) if self.counts[most] else None

    @property
    def mix(self) -> list[dict[str, Any]]:
        """The five shares, as pieces of a bar 100 wide."""
        if not self.total:
            return []
        pieces, at = [], 0.0
        for label, title in TITLES.items():
            share = 100 * self.counts[label] / self.total
            pieces.append({"label": int(label), "title": title, "at": at, "share": share, "count": self.counts[label]})
            at += share
        return pieces


@dataclass
class Results:
    """Of one prompt, or of one part of it."""

    candidates: int = 0
    abandoned: int = 0
    people: Said = field(default_factory=Said)
    judge: Said = field(default_factory=Said)

    def add(self, people: int | None, judge: int | None, is_abandoned: bool, n: int) -> None:
        if is_abandoned:
            self.abandoned += n
            return
        self.candidates += n
        if people is not None:
            self.people.counts[people] += n
        if judge is not None:
            self.judge.counts[judge] += n

    @property
    def best(self) -> Said:
        """People's word where there is any, else RFNet's."""
        return self.people if self.people.total else self.judge


def _rows(by: list[str], **which: Any) -> Iterable[tuple[Any, ...]]:
    """(*by, people's label, verdict in use, abandoned, count); unsuitable products do not count."""
    in_use = (
        apps.get_model("rfnet_service", "Checkpoint")
        .objects.filter(is_promoted=True)
        .values_list("pk", flat=True)
        .first()
    )
    rows = Candidate.objects.filter(**which).annotate(
        said=FilteredRelation("consensus", condition=Q(consensus__is_complete=True)),
        judged=FilteredRelation("verdicts", condition=Q(verdicts__checkpoint=in_use or 0)),
        is_finished=ExpressionWrapper(Q(abandoned_at_step__isnull=True), BooleanField()),
    )
    rows = rows.exclude(product__in=Product.objects.flagged().values("pk"))
    names = [*by, "said__label", "judged__label", "is_finished"]
    return rows.order_by().values_list(*names).annotate(n=Count("pk"))


Counts = list[list[Any]]


@counted("prompt-results")
def counts_by_prompt() -> Counts:
    return [list(row) for row in _rows(["prompt"])]


def _often_asked() -> list[int]:
    """Prompts whose details the clock keeps; those of others are counted when somebody asks."""
    rows = Prompt.objects.filter(Exists(Candidate.objects.filter(prompt=OuterRef("pk"))))
    return list(rows.order_by("-pk").values_list("pk", flat=True)[:KEPT_DETAILS])


@counted("prompt-results-of", each=_often_asked)
def counts_of(pk: int) -> Counts:
    return [list(row) for row in _rows(["generator__name", "product__category"], prompt=pk)]


def by_prompt(counts: Counts | None = None) -> dict[int, Results]:
    """Of every prompt that has candidates."""
    found: dict[int, Results] = {}
    for prompt, people, judge, is_finished, n in counts_by_prompt() if counts is None else counts:
        found.setdefault(prompt, Results()).add(people, judge, not is_finished, n)
    return found


@dataclass
class Detail:
    whole: Results
    by_generator: dict[str, Results]
    by_category: dict[str, Results]


def detail_of(pk: int) -> Detail:
    detail = Detail(Results(), {}, {})
    for generator, category, people, judge, is_finished, n in counts_of(pk):
        for results in (
            detail.whole,
            detail.by_generator.setdefault(generator, Results()),
            detail.by_category.setdefault(category, Results()),
        ):
            results.add(people, judge, not is_finished, n)
    return detail


def surest_first(rows: list[Any], side: str) -> list[Any]:
    """By the lower end of the interval, so that three lucky pictures do not lead; those without a word come last."""

    def key(row: Any) -> tuple[bool, float, str]:
        said: Said = getattr(row.results, side)
        return not said.total, -said.interval[0], row.name

    return sorted(rows, key=key)
