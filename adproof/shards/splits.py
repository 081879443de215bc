"""Which split a product belongs to, and the digest that says what a version contains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from adproof.shards.schema import SPLITS

SHARES = (0.8, 0.1, 0.1)


def split_of(product_key: str, salt: str, shares: Sequence[float] = SHARES) -> str:
    """The split of a product: the same for ever, however many products come later.

    Args:
        product_key: the product's stable key (of near-duplicates, the one they share). salt: of the dataset.
        shares: of train, validation, test; positive or 0, summing to 1.
    Raises: ValueError: the shares are not three numbers that sum to 1.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares must be {len(SPLITS)} numbers that sum to 1, not {tuple(shares)}")
    hashed = hashlib.sha256(json.dumps([salt, product_key]).encode()).digest()
    place = int.from_bytes(hashed[:8], "big") / 2**64
    for split, share in zip(SPLITS, shares, strict=True):
        if place < share:
            return split
        place -= share
    return next(split for split, share in reversed(list(zip(SPLITS, shares, strict=True))) if share > 0)


def row_digest(sample_id: str, label: int, split: str, hashes: Sequence[str]) -> bytes:
    """(32 bytes) sha256 of the JSON list [sample_id, label, split, [picture sha256 ...]]."""
    return hashlib.sha256(json.dumps([sample_id, label, split, list(hashes)]).encode()).digest()


def row_digests(ids: Sequence[str], labels: Sequence[int], split: str, hashes: Iterable[Sequence[str]]) -> list[bytes]:
    """row_digest of many rows of a split. Args: hashes: those of each row, hexadecimal or ""."""
    quoted, name, between = json.JSONEncoder().encode, json.dumps(split), '", "'
    return [
        hashlib.sha256(f'[{quoted(one)}, {label}, {name}, ["{between.join(of_one)}"]]'.encode()).digest()
        for one, label, of_one in zip(ids, labels, hashes, strict=True)
    ]


def digest(rows: Iterable[tuple[str, int, str, Sequence[str]]]) -> str:
    """What a version contains, in 64 hex digits: equal if and only if the same samples have the same labels,
    splits and pictures. The order of the rows does not matter.

    Args: rows: (sample_id, label, split, sha256 of each picture in column order, "" for none).
    """
    return combine(row_digest(*row) for row in rows)


def combine(row_digests: Iterable[bytes]) -> str:
    """The digest of a version from those of its rows: sha256 over them, sorted."""
    whole = hashlib.sha256()
    for one in sorted(row_digests):
        whole.update(one)
    return whole.hexdigest()
