"""Pairs for people to choose from: two candidates of one product, picked at random, the same again for the same seed."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from math import lcm
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet

from adproof.labels import Label
from annotation.models import Pair, Project
from generation.models import Candidate

PAIRS_AT_MOST = 10_000  # at once: some seconds
PER_PRODUCT_AT_MOST = 50
_PRODUCTS_AT_A_TIME = 200
_PAIRS_AT_A_TIME = 1000

ADD_PAIRS = """
    WITH made AS (
        INSERT INTO annotation_pair (project_id, first_id, second_id, overlap, tie, is_open, created_at)
        SELECT %(project)s, first, second, %(overlap)s, tie, true, now()
        FROM unnest(%(first)s::bigint[], %(second)s::bigint[], %(tie)s::float8[]) AS given (first, second, tie)
        ON CONFLICT DO NOTHING RETURNING id
    ), slots AS (
        INSERT INTO annotation_pairslot (pair_id, number, is_filled)
        SELECT id, number, false FROM made CROSS JOIN generate_series(0, %(overlap)s - 1) number
    )
    SELECT count(*) FROM made"""


@dataclass(frozen=True)
class Wanted:
    """Which pairs to make.

    generators: one candidate of each, to compare the two; None: any two candidates of a product.
    per_product: pairs of each product, at most. same_prompt: both drawn from one prompt. only_available: both have
    the consensus "available". overlap: people asked about each. The same seed picks the same pairs of the same rows.
    """

    generators: tuple[int, int] | None = None
    per_product: int = 1
    at_most: int = 1000
    same_prompt: bool = True
    only_available: bool = False
    overlap: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = (
            ("pairs per product", self.per_product, PER_PRODUCT_AT_MOST),
            ("pairs", self.at_most, PAIRS_AT_MOST),
            ("people per pair", self.overlap, 9),
        )
        for name, value, most in ranges:
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be from 1 to {most:,}, not {value}.")
        if self.generators and self.generators[0] == self.generators[1]:
            raise ValueError("Choose two different generators: one compared with itself says nothing.")


class Row(NamedTuple):
    candidate: int
    generator: int
    prompt: int


@dataclass
class Plan:
    """The pairs there would be, and what is left out: (how many, of what, which)."""

    pairs: list[tuple[int, int]] = field(default_factory=list)  # candidates, the smaller number first
    products: int = 0  # that these are of
    left_out: list[tuple[int, str, str]] = field(default_factory=list)
    made: int = 0


def make_pairs(project: Project, wanted: Wanted) -> Plan:
    """Make the planned pairs with their slots. Made again, no product gets more than its share; a limit goes on."""
    found = plan(project, wanted)
    ties = random.Random(f"{wanted.seed}:order")
    for start in range(0, len(found.pairs), _PAIRS_AT_A_TIME):
        chunk = found.pairs[start : start + _PAIRS_AT_A_TIME]
        with transaction.atomic(), connection.cursor() as cursor:
            values = {
                "project": project.pk, "overlap": wanted.overlap, "first": [first for first, _ in chunk],
                "second": [second for _, second in chunk], "tie": [ties.random() for _ in chunk],
            }  # fmt: skip
            cursor.execute(ADD_PAIRS, values)
            found.made += cursor.fetchone()[0]
    return found


def plan(project: Project, wanted: Wanted) -> Plan:
    """Which pairs make_pairs would make now. Products come in an order that the seed draws, so that a limit is fair."""
    found = Plan()
    usable = _usable(wanted)
    products = _products(usable, wanted)
    looked = known = 0
    for rows, there in _by_product(project, usable, products, wanted):
        room = wanted.at_most - len(found.pairs)
        if not room:
            break
        looked += 1
        known += len(there)
        # What a product has counts: making twice gives no product more.
        most = max(0, min(wanted.per_product - len(there), room))
        fresh = list(islice((pair for pair in _options(rows, wanted) if pair not in there), most))
        found.pairs += fresh
        found.products += bool(fresh)
    lone = usable.values("product").distinct().count() - len(products)
    reasons = chain(_unusable(wanted), _unpaired(wanted, lone, known, len(products) - looked))
    found.left_out = [row for row in reasons if row[0]]
    return found


def _by_product(
    project: Project, usable: QuerySet[Candidate], products: Sequence[int], wanted: Wanted
) -> Iterator[tuple[list[Row], set[tuple[int, int]]]]:
    """Of each product: its usable candidates, and those of its pairs that the project has and that would do."""
    for start in range(0, len(products), _PRODUCTS_AT_A_TIME):
        chunk = products[start : start + _PRODUCTS_AT_A_TIME]
        columns = usable.filter(product__in=chunk).order_by("id").values_list("product", "id", "generator", "prompt")
        rows: dict[int, list[Row]] = {product: [] for product in chunk}
        of: dict[int, tuple[int, Row]] = {}
        for product, *row in columns:
            rows[product].append(Row(*row))
            of[row[0]] = (product, Row(*row))
        there: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for first, second in Pair.objects.filter(project=project, first__in=of).values_list("first", "second"):
            if second in of and _would_do(of[first][1], of[second][1], wanted):
                there[of[first][0]].add((first, second))
        yield from ((rows[product], there[product]) for product in chunk)


def _would_do(one: Row, other: Row, wanted: Wanted) -> bool:
    if wanted.same_prompt and one.prompt != other.prompt:
        return False
    return wanted.generators is None or one.generator != other.generator


# --- what may be paired


def _asked(wanted: Wanted) -> QuerySet[Candidate]:
    rows = Candidate.objects.all()
    return rows.filter(generator__in=wanted.generators) if wanted.generators else rows


_AVAILABLE = Q(consensus__label=int(Label.AVAILABLE))


def _usable(wanted: Wanted) -> QuerySet[Candidate]:
    rows = _asked(wanted).usable().exclude(image_sha256="").exclude(product__image_sha256="").order_by()
    return rows.filter(_AVAILABLE) if wanted.only_available else rows


def _unusable(wanted: Wanted) -> Iterator[tuple[int, str, str]]:
    no_picture = Q(image_sha256="") | Q(product__image_sha256="")
    fit = Q(product__unsuitable=False) & ~no_picture
    counts = _asked(wanted).aggregate(
        unsuitable=Count("id", filter=Q(product__unsuitable=True)),
        no_picture=Count("id", filter=Q(product__unsuitable=False) & no_picture),
        unjudged=Count("id", filter=fit & Q(consensus=None)),
        judged_bad=Count("id", filter=fit & Q(consensus__isnull=False) & ~_AVAILABLE),
    )
    yield counts["unsuitable"], "candidate", "of products flagged as unsuitable"
    yield counts["no_picture"], "candidate", "without a picture"
    if wanted.only_available:
        yield counts["unjudged"], "candidate", "that nobody has judged yet"
        yield counts["judged_bad"], "candidate", "with a defect by the consensus"


def _unpaired(wanted: Wanted, lone: int, known: int, unlooked: int) -> Iterator[tuple[int, str, str]]:
    drawn = " drawn from one prompt" if wanted.same_prompt else ""
    who = "candidates of both generators" if wanted.generators else "two candidates"
    yield lone, "product", f"without {who}{drawn}"
    yield known, "pair", "that the project has already"
    yield unlooked, "product", f"not needed for the {wanted.at_most:,} pairs asked for"


def _products(usable: QuerySet[Candidate], wanted: Wanted) -> list[int]:
    """Products that have a pair, in the seed's order."""
    groups = usable.values("product", "prompt") if wanted.same_prompt else usable.values("product")
    if wanted.generators:
        before, after = (Count("id", filter=Q(generator=generator)) for generator in wanted.generators)
        groups = groups.annotate(before=before, after=after).filter(before__gt=0, after__gt=0)
    else:
        groups = groups.annotate(n=Count("id")).filter(n__gt=1)
    found = {row["product"] for row in groups}
    return sorted(found, key=lambda product: hashlib.md5(f"{wanted.seed}:{product}".encode()).digest())


# --- which pairs of one product


def _options(rows: Sequence[Row], wanted: Wanted) -> Iterator[tuple[int, int]]:
    """Every pair of one product's candidates, once: prompts in turn, fresh candidates first."""
    rng = random.Random(f"{wanted.seed}:{rows[0].candidate if rows else 0}")
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.prompt if wanted.same_prompt else 0].append(row)
    streams = [_pairs_of(group, wanted, rng) for group in groups.values()]
    rng.shuffle(streams)
    while streams:
        for stream in list(streams):
            pair = next(stream, None)
            if pair is None:
                streams.remove(stream)
            else:
                yield min(pair), max(pair)


def _pairs_of(group: Sequence[Row], wanted: Wanted, rng: random.Random) -> Iterator[tuple[int, int]]:
    if wanted.generators is None:
        return _any_two([row.candidate for row in group], rng)
    before, after = ([row.candidate for row in group if row.generator == one] for one in wanted.generators)
    return _one_of_each(before, after, rng)


def _one_of_each(before: list[int], after: list[int], rng: random.Random) -> Iterator[tuple[int, int]]:
    """Walks both lists in step, and shifts the second whenever the walk closes: all pairs, each once."""
    rng.shuffle(before)
    rng.shuffle(after)
    if not before or not after:
        return
    round_trip = lcm(len(before), len(after))
    for step in range(len(before) * len(after)):
        yield before[step % len(before)], after[(step + step // round_trip) % len(after)]


def _any_two(candidates: list[int], rng: random.Random) -> Iterator[tuple[int, int]]:
    """Neighbours first (nobody twice), then ever farther apart around a circle: all pairs, each once."""
    rng.shuffle(candidates)
    n = len(candidates)
    for apart in range(1, n // 2 + 1):
        # Opposite ones on the circle meet twice around it.
        starts = list(range(n if 2 * apart < n else apart))
        for start in sorted(starts, key=lambda place: place % (2 * apart) >= apart):
            yield candidates[start], candidates[(start + apart) % n]
