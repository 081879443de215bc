"""What a project's preferences say: who is preferred, how sure that is, whether people agree, whether the left wins.

The database counts; what comes back is as small as there are things to compare, however many preferences there are.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Q
from django.utils import timezone
from numpy.typing import NDArray

from adproof.aggregation.agreement import Alpha, alpha_of_patterns
from adproof.aggregation.bradley_terry import FIRST, SECOND, TIE, Strengths, fit_counts, grouped_error, leave_one_out
from adproof.aggregation.intervals import wilson
from annotation.models import PairSlot, Project
from generation.models import Generator, Prompt

GROUPS = 32  # products by their number: answers about one product hang together
LEAST_GROUPS = 10  # with fewer, they tell no error of their own
ENOUGH = 20  # preferences before anything is said about one prompt
MOST_THINGS = 40  # compared at once: those with the most preferences
Z = 1.96
# Figures that took longer than this are kept for so many times the time they took: looking at them can never take
# more than that share of the database, however large the study is.
SLOW_S = 0.5
KEPT_TIMES = 30

_STANDING = """
    FROM annotation_preference p
    JOIN annotation_pair q ON q.id = p.pair_id
    JOIN generation_candidate f ON f.id = q.first_id
    JOIN generation_candidate s ON s.id = q.second_id
    WHERE q.project_id = %(project)s AND NOT p.is_undone AND NOT p.is_surplus"""

_COUNTS = """
    SELECT f.{thing}, s.{thing}, p.choice, f.product_id %% %(groups)s, count(*)
    {standing} {which} GROUP BY 1, 2, 3, 4"""

_PROMPTS = f"""
    SELECT f.prompt_id, count(*) {_STANDING} AND f.prompt_id = s.prompt_id
    GROUP BY 1 HAVING count(*) >= %(enough)s ORDER BY 2 DESC, 1"""

_SIDES = f"""
    SELECT count(*) FILTER (WHERE (p.choice = 'first') = p.first_was_left AND p.choice <> 'tie'),
        count(*) FILTER (WHERE (p.choice = 'first') <> p.first_was_left AND p.choice <> 'tie'),
        count(*) FILTER (WHERE p.choice = 'tie'),
        count(*) FILTER (WHERE f.prompt_id <> s.prompt_id),
        count(DISTINCT p.annotator_id)
    {_STANDING}"""

_PATTERNS = f"""
    SELECT first, second, tie, count(*) FROM (
        SELECT count(*) FILTER (WHERE p.choice = 'first') AS first, count(*) FILTER (WHERE p.choice = 'second') AS second,
            count(*) FILTER (WHERE p.choice = 'tie') AS tie
        {_STANDING} GROUP BY p.pair_id
    ) pairs GROUP BY 1, 2, 3"""

_PEOPLE = f"""
    WITH said AS (
        SELECT p.annotator_id, p.choice, p.seconds, (p.choice = 'first') = p.first_was_left AS is_left,
            count(*) OVER (PARTITION BY p.pair_id) - 1 AS others,
            count(*) OVER (PARTITION BY p.pair_id, p.choice) - 1 AS same
        {_STANDING}
    )
    SELECT u.username, u.is_simulated, count(*), count(*) FILTER (WHERE choice = 'tie'),
        count(*) FILTER (WHERE choice <> 'tie' AND is_left), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds),
        sum(others), sum(same)
    FROM said JOIN accounts_user u ON u.id = said.annotator_id GROUP BY u.id ORDER BY 3 DESC, 1"""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Thing:
    """A generator (or a prompt) with its strength: log scale, 0 is the mean of all that are compared."""

    pk: int
    name: str
    strength: float
    low: float
    high: float
    compared: int
    wins: int
    losses: int
    ties: int
    group: int  # things with different numbers were never compared, not even through others

    @property
    def share(self) -> float | None:
        """Of decided choices, how many it won."""
        return self.wins / (self.wins + self.losses) if self.wins + self.losses else None


@dataclass(frozen=True)
class Cell:
    wins: int  # of the row over the column
    losses: int
    ties: int

    @property
    def share(self) -> float | None:
        return self.wins / (self.wins + self.losses) if self.wins + self.losses else None


@dataclass(frozen=True)
class Results:
    things: list[Thing] = field(default_factory=list)  # the strongest first
    matrix: list[list[Cell | None]] = field(default_factory=list)  # in the same order
    compared: int = 0  # preferences between two different things
    alike: int = 0  # preferences between two of the same: they say nothing here
    left_out: int = 0  # things beyond MOST_THINGS
    is_grouped: bool = False  # the intervals know that answers about one product hang together
    best: tuple[float, float, float] | None = None  # share and interval with which the best beats the second

    @property
    def is_apart(self) -> bool:
        """Some were never compared with the others."""
        return len({thing.group for thing in self.things}) > 1


def results(project: Project, by: str = "generator", prompt: int | None = None) -> Results:
    """Bradley-Terry strengths of generators, or of prompts. prompt: only pairs of which both were drawn from it."""
    rows = _counts(project, by, prompt)
    alike = sum(n for first, second, _, _, n in rows if first == second)
    rows = [row for row in rows if row[0] != row[1]]
    per_thing: dict[int, int] = defaultdict(int)
    for first, second, _, _, n in rows:
        per_thing[first] += n
        per_thing[second] += n
    chosen = sorted(per_thing, key=lambda thing: (-per_thing[thing], thing))[:MOST_THINGS]
    rows = [row for row in rows if row[0] in chosen and row[1] in chosen]
    if not rows:
        return Results(alike=alike)
    place = {thing: number for number, thing in enumerate(chosen)}
    firsts, seconds, counts = _cube(rows, place)
    found = fit_counts(firsts, seconds, counts.sum(axis=0), len(chosen))
    groups = int(counts.any(axis=(1, 2)).sum())
    left_out = (
        leave_one_out(firsts, seconds, counts, len(chosen)) if groups >= LEAST_GROUPS else np.zeros((0, len(chosen)))
    )
    table = _table(firsts, seconds, counts.sum(axis=0), len(chosen))
    names = dict((Generator if by == "generator" else Prompt).objects.filter(pk__in=chosen).values_list("pk", "name"))
    things = [_thing(thing, names[thing], number, found, left_out, table) for number, thing in enumerate(chosen)]
    order = sorted(range(len(things)), key=lambda number: -things[number].strength)
    return Results(
        things=[things[number] for number in order],
        matrix=[[_cell(table, row, column) for column in order] for row in order],
        compared=int(counts.sum()),
        alike=alike,
        left_out=len(per_thing) - len(chosen),
        is_grouped=groups >= LEAST_GROUPS,
        best=_best(found, left_out, order),
    )


def _counts(project: Project, by: str, prompt: int | None) -> list[tuple[int, int, str, int, int]]:
    which = "AND f.prompt_id = %(prompt)s AND s.prompt_id = %(prompt)s" if prompt is not None else ""
    thing = {"generator": "generator_id", "prompt": "prompt_id"}[by]
    return _rows(_COUNTS.format(thing=thing, standing=_STANDING, which=which), project, groups=GROUPS, prompt=prompt)


def _rows(statement: str, project: Project, **values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"project": project.pk, **values})
        return cursor.fetchall()


_OUTCOMES = {"first": FIRST, "second": SECOND, "tie": TIE}


def _cube(rows: list[tuple[int, int, str, int, int]], place: dict[int, int]) -> tuple[list[int], list[int], Floats]:
    """Which is compared with which, and (groups, pairs of things, outcomes) how often."""
    pairs = sorted({(place[first], place[second]) for first, second, *_ in rows})
    number = {pair: place for place, pair in enumerate(pairs)}
    counts = np.zeros((GROUPS, len(pairs), 3))
    for first, second, choice, group, n in rows:
        counts[group, number[place[first], place[second]], _OUTCOMES[choice]] += n
    return [first for first, _ in pairs], [second for _, second in pairs], counts


def _table(firsts: list[int], seconds: list[int], counts: Floats, n: int) -> NDArray[np.int64]:
    """(n, n, 3): wins of the row, wins of the column, ties."""
    table = np.zeros((n, n, 3), dtype=np.int64)
    for first, second, said in zip(firsts, seconds, counts.astype(np.int64), strict=True):
        table[first, second] += said
        table[second, first] += said[[SECOND, FIRST, TIE]]
    return table


def _cell(table: NDArray[np.int64], row: int, column: int) -> Cell | None:
    wins, losses, ties = (int(value) for value in table[row, column])
    return Cell(wins, losses, ties) if wins + losses + ties else None


def _error(found: Strengths, left_out: Floats, contrast: Floats) -> float:
    """The larger of the fit's own and that of leaving groups of products out: no interval is too narrow."""
    own = float(np.sqrt(max(0.0, contrast @ found.covariance @ contrast)))
    return max(own, grouped_error(left_out, contrast)) if len(left_out) else own


def _thing(pk: int, name: str, number: int, found: Strengths, left_out: Floats, table: NDArray[np.int64]) -> Thing:
    n = len(found.strength)
    contrast = np.eye(n)[number] - 1 / n
    strength, error = float(found.strength[number]), _error(found, left_out, contrast)
    wins, losses, ties = (int(value) for value in table[number].sum(axis=0))
    return Thing(
        pk, name, strength, strength - Z * error, strength + Z * error, wins + losses + ties, wins, losses, ties,
        int(found.group[number]),
    )  # fmt: skip


def _best(found: Strengths, left_out: Floats, order: list[int]) -> tuple[float, float, float] | None:
    first, second = order[0], order[1]
    if found.group[first] != found.group[second]:
        return None
    contrast = np.zeros(len(order))
    contrast[first], contrast[second] = 1.0, -1.0
    difference, error = float(contrast @ found.strength), _error(found, left_out, contrast)
    low, middle, high = (
        float(1 / (1 + np.exp(-x))) for x in (difference - Z * error, difference, difference + Z * error)
    )
    return middle, low, high


# --- people, sides, agreement


@dataclass(frozen=True)
class Sides:
    left: int
    right: int
    ties: int
    across_prompts: int
    people: int

    @property
    def total(self) -> int:
        return self.left + self.right + self.ties

    @property
    def left_share(self) -> float | None:
        return self.left / (self.left + self.right) if self.left + self.right else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.left, self.left + self.right)

    @property
    def tie_share(self) -> float | None:
        return self.ties / self.total if self.total else None

    @property
    def is_biased(self) -> bool:
        low, high = self.interval
        return not low <= 0.5 <= high


def sides(project: Project) -> Sides:
    return Sides(*_rows(_SIDES, project)[0])


@dataclass(frozen=True)
class Agreement:
    share: float | None  # of two people who judged one pair, how often both said the same
    alpha: Alpha


def agreement(project: Project) -> Agreement:
    rows = np.array(_rows(_PATTERNS, project), dtype=np.int64).reshape(-1, 4)
    votes, n = rows[:, :3], rows[:, 3]
    said = votes.sum(axis=1)
    twos = (n * said * (said - 1)).sum()
    same = (n * (votes * (votes - 1)).sum(axis=1)).sum()
    return Agreement(
        share=float(same / twos) if twos else None, alpha=alpha_of_patterns(votes, n, rng=np.random.default_rng(0))
    )


@dataclass(frozen=True)
class Person:
    name: str
    is_simulated: bool
    count: int
    ties: int
    left: int
    median_seconds: float
    others: int
    same: int

    @property
    def left_share(self) -> float | None:
        decided = self.count - self.ties
        return self.left / decided if decided else None

    @property
    def is_biased(self) -> bool:
        low, high = wilson(self.left, self.count - self.ties)
        return not low <= 0.5 <= high

    @property
    def agreement(self) -> float | None:
        return self.same / self.others if self.others else None


def people(project: Project) -> list[Person]:
    return [
        Person(name, simulated, count, ties, left, float(median), int(others), int(same))
        for name, simulated, count, ties, left, median, others, same in _rows(_PEOPLE, project)
    ]


def prompts(project: Project) -> list[tuple[Prompt, int]]:
    """Prompts of which enough pairs were judged, both drawn from it; the most first."""
    rows = _rows(_PROMPTS, project, enough=ENOUGH)
    found = Prompt.objects.in_bulk([pk for pk, _ in rows])
    return [(found[pk], n) for pk, n in rows]


def progress(project: Project) -> dict[str, int]:
    """Pairs and places, and how many are done."""
    pairs = project.pairs.aggregate(total=Count("id"), open=Count("id", filter=Q(is_open=True)))
    places = PairSlot.objects.filter(pair__project=project).aggregate(
        places=Count("id"), filled=Count("id", filter=Q(is_filled=True))
    )
    return {**pairs, **places, "done": pairs["total"] - pairs["open"]}


@dataclass(frozen=True)
class Figures:
    """All that the page shows, and when it was counted."""

    found: Results
    prompts: list[tuple[Prompt, int]]
    sides: Sides
    agreement: Agreement
    people: list[Person]
    progress: dict[str, int]
    counted_at: datetime
    is_kept: bool = False


def figures(project: Project, by: str = "generator", prompt: int | None = None) -> Figures:
    """Counted now, or kept from a moment ago where counting takes long."""
    key = f"pair-figures:{project.pk}:{by}:{prompt}"
    kept: Figures | None = cache.get(key)
    if kept is not None:
        return replace(kept, is_kept=True)
    started = time.perf_counter()
    made = Figures(
        found=results(project, by, prompt), prompts=prompts(project), sides=sides(project),
        agreement=agreement(project), people=people(project), progress=progress(project), counted_at=timezone.now(),
    )  # fmt: skip
    took = time.perf_counter() - started
    if took > SLOW_S:
        cache.set(key, made, timeout=KEPT_TIMES * took)
    return made


def forget(project: Project) -> None:
    """New pairs were made: whoever made them wants to see them."""
    cache.delete(f"pair-figures:{project.pk}:generator:None")
