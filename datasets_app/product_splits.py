"""Which split each product is in: decided once for each dataset name, near-duplicates together, and kept for ever.

A product without a split gets that of the near-duplicate which has had one longest; a group that is new as a whole gets
the salted hash of its oldest product's SKU (adproof.shards.splits). What was given is never changed: where a new product
joins two groups that lie in different splits, both keep theirs, and a freeze leaves out the rows of the side that is
better missed (train before validation before test). The products of validation and test are the holdout: no model's
doubt ever chooses what people label among them (training.actions.open_round).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from django.db import connection, transaction

from adproof.shards.duplicates import groups, near_pairs
from adproof.shards.splits import split_of
from datasets_app.models import SPLITS, DatasetVersion, ProductSplit, default_shares
from generation.models import Product

HOLDOUT = ("validation", "test")
_NO_SPLIT = -1
_COLUMNS = [("id", "i8"), ("look", "i8"), ("has_look", "?"), ("picture", "i8"), ("split", "i1"), ("given", "i8")]
_READ = """
    SELECT p.id, coalesce(p.look_hash, 0), p.look_hash IS NOT NULL, hashtextextended(p.image_sha256, 0),
           coalesce(array_position(%s::text[], s.split::text) - 1, -1), coalesce(s.id, 0)
    FROM generation_product p LEFT JOIN datasets_app_productsplit s ON s.product_id = p.id AND s.name = %s
    WHERE p.id > %s ORDER BY p.id LIMIT %s
"""
_CHUNK = 20_000
# Any number, so long as nothing else of ours locks by it.
_LOCK = 7_301_002


@dataclass(frozen=True)
class Looked:
    """What was seen while splits were given.

    alike: products of groups that lie in more than one split, (product, group, split).
    groups, grouped: groups of two or more alike products, and the products in them. largest: the most in one.
    without_look: products whose picture nobody could look at. products: all.
    """

    products: int = 0
    groups: int = 0
    grouped: int = 0
    largest: int = 0
    without_look: int = 0
    alike: list[tuple[int, int, str]] = field(default_factory=list)


def shares_of(name: str) -> list[float]:
    """Shares of train, validation, test: those of the newest version, for they are never changed."""
    newest = DatasetVersion.objects.filter(name=name).order_by("-number").values_list("shares", flat=True).first()
    return list(newest or default_shares())


def give_splits(name: str, shares: Sequence[float] | None = None) -> Looked:
    """Give every product that has none its split in the dataset `name`; one at a time, whoever asks."""
    shares = shares_of(name) if shares is None else shares
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK, name])
        rows = _read(name)
        if not len(rows):
            return Looked()
        group = _groups(rows)
        _give(name, shares, rows, group)
        return _looked(rows, group)


def splits(name: str, products: Iterable[int]) -> dict[int, str]:
    """product -> split; those without one are not in it (give_splits gives them one)."""
    found = ProductSplit.objects.filter(name=name, product__in=list(products))
    return dict(found.values_list("product_id", "split"))


def _read(name: str) -> np.ndarray:
    parts, last = [], 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_READ, [list(SPLITS), name, last, _CHUNK])
            part = np.array(cursor.fetchall(), dtype=_COLUMNS)
            if not len(part):
                return np.concatenate(parts) if parts else part
            parts.append(part)
            last = int(part["id"][-1])


def _groups(rows: np.ndarray) -> np.ndarray:
    """(n,) the place of the oldest product of each one's group; those of one picture are one group in any case."""
    looked = np.flatnonzero(rows["has_look"])
    near = looked[near_pairs(rows["look"][looked])]
    _, first, inverse = np.unique(rows["picture"], return_index=True, return_inverse=True)
    places = np.arange(len(rows))
    again = first[inverse] != places
    same = np.stack([first[inverse][again], places[again]], axis=1)
    return groups(len(rows), np.concatenate([near, same]))


def _give(name: str, shares: Sequence[float], rows: np.ndarray, group: np.ndarray) -> None:
    """Fills rows["split"] in, and stores what is new."""
    new = np.flatnonzero(rows["split"] == _NO_SPLIT)
    if not new.size:
        return
    # The place that decides for each group: the one that has had its split longest, or the oldest.
    decides = np.arange(len(rows))
    had = np.flatnonzero(rows["split"] != _NO_SPLIT)
    had = had[np.argsort(-rows["given"][had], kind="stable")]
    decides[group[had]] = had  # the last one written is the one given first
    undecided = np.unique(decides[group[new]])
    undecided = undecided[rows["split"][undecided] == _NO_SPLIT]
    for at in range(0, len(undecided), _CHUNK):
        chunk = undecided[at : at + _CHUNK]
        skus = _skus(rows["id"][chunk].tolist())
        for place in chunk.tolist():
            rows["split"][place] = SPLITS.index(split_of(skus[int(rows["id"][place])], name, shares))
    by = decides[group[new]]
    rows["split"][new] = rows["split"][by]
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY datasets_app_productsplit (name, product_id, split, decided_by_id, created_at) FROM STDIN"
        ) as copy,
    ):
        given = zip(rows["id"][new].tolist(), rows["split"][new].tolist(), rows["id"][by].tolist(), strict=True)
        for product, split, decided_by in given:
            copy.write_row((name, product, SPLITS[split], decided_by, "now"))


def _skus(ids: list[int]) -> dict[int, str]:
    """By one array: Django would write out 20,000 numbers."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, sku FROM {Product._meta.db_table} WHERE id = ANY(%s)", [ids])
        return dict(cursor.fetchall())


def _looked(rows: np.ndarray, group: np.ndarray) -> Looked:
    sizes = np.bincount(group, minlength=len(rows))
    # A group lies in more than one split if its smallest and its largest differ.
    low, high = np.full(len(rows), len(SPLITS)), np.full(len(rows), -1)
    np.minimum.at(low, group, rows["split"])
    np.maximum.at(high, group, rows["split"])
    torn = np.flatnonzero((low < high)[group])
    return Looked(
        products=len(rows),
        groups=int((sizes > 1).sum()),
        grouped=int(sizes[sizes > 1].sum()),
        largest=int(sizes.max()),
        without_look=int((~rows["has_look"]).sum()),
        alike=[
            (int(rows["id"][at]), int(rows["id"][group[at]]), SPLITS[int(rows["split"][at])]) for at in torn.tolist()
        ],
    )
