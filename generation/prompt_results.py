"""Which prompts work: how many of their candidates are available, by people and by RFNet, and what the others suffer from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.apps import apps
from django.db.models import Count, FilteredRelation, Q

from adproof.aggregation.intervals import wilson
from adproof.labels import N_LABELS, TITLES, Label
from config.counted import counted
from generation.models import Candidate, Product


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
    )
    unsuitable = Product.objects.flagged().values("pk")
    if Product.objects.flagged().exists():
        rows = rows.exclude(product__in=unsuitable)
    names = [*by, "said__label", "judged__label", "abandoned_at_step__isnull"]
    return rows.order_by().values_list(*names).annotate(n=Count("pk"))


def _by_prompt() -> dict[int, Results]:
    found: dict[int, Results] = {}
    for prompt, people, judge, is_finished, n in _rows(["prompt"]):
        found.setdefault(prompt, Results()).add(people, judge, not is_finished, n)
    return found


def by_prompt() -> dict[int, Results]:
    """Of every prompt that has candidates; kept for a while where a million are counted."""
    return counted("prompt-results", _by_prompt)


@dataclass
class Detail:
    whole: Results
    by_generator: dict[str, Results]
    by_category: dict[str, Results]


def _detail(pk: int) -> Detail:
    detail = Detail(Results(), {}, {})
    by = ["generator__name", "product__category"]
    for generator, category, people, judge, is_finished, n in _rows(by, prompt=pk):
        for results in (
            detail.whole,
            detail.by_generator.setdefault(generator, Results()),
            detail.by_category.setdefault(category, Results()),
        ):
            results.add(people, judge, not is_finished, n)
    return detail


def detail_of(pk: int) -> Detail:
    return counted(f"prompt-results-{pk}", partial(_detail, pk))


def surest_first(rows: list[Any], side: str) -> list[Any]:
    """By the lower end of the interval, so that three lucky pictures do not lead; those without a word come last."""

    def key(row: Any) -> tuple[bool, float, str]:
        said: Said = getattr(row.results, side)
        return not said.total, -said.interval[0], row.name

    return sorted(rows, key=key)
