"""Label Studio's JSON, read as what it is: from outside. Its server enforces no label config, so nothing is taken on trust."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID, uuid5

from adproof.labels import parse_label
from annotation.labelstudio.shape import CANDIDATE_KEY, CONTROL, SHA256_KEY
from config.numbers import MAX_ID

BRIDGE = UUID("5b0f3c1e-8f0a-5d2b-9c55-3a3f6f0c7a10")  # the namespace of ids made from (address, annotation id)
MOST_CHARACTERS = 64 * 2**20  # of one task: two embedded pictures fit
MOST_ANSWERS = 1000  # of one task
MOST_TASKS = 1_000_000
DAY_S = 86_400
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_KEY = re.compile(r"[0-9a-f]{64}")
_PIECE = 2**20
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder()


class BadFile(Exception):
    """It can't be read any further; the message says where and why."""


@dataclass(frozen=True)
class Found:
    """One answer as it came, its label checked; whose it is still has to be found out."""

    id: UUID
    exported: UUID | None  # the id it had where it was exported, if that was here
    imported: int | None  # the number it had in the file that Label Studio imported, if it came by one
    candidate: str  # its key, or the SHA-256 of its picture
    label: int
    seconds: float
    at: datetime | None
    person: Any  # as it came: a number, or {"email": ...}
    where: str


@dataclass(frozen=True)
class Problem:
    where: str
    why: str


@dataclass(frozen=True)
class Skipped:
    """Somebody passed the task on there: no answer, and nothing wrong."""

    where: str


@dataclass(frozen=True)
class Names:
    """What the other side calls things: its choices control, and its labels where their names are not ours."""

    control: str = CONTROL
    labels: dict[str, int] = field(default_factory=dict)


OUR_NAMES = Names()


def annotation_id(address: str, number: int) -> UUID:
    """The same for the same annotation of the same server, so that bringing it twice is safe."""
    return uuid5(BRIDGE, f"{address.rstrip('/').lower()} {number}")


def answers_of(row: Any, address: str, position: int, names: Names = OUR_NAMES) -> Iterator[Found | Problem | Skipped]:
    """The answers of one task of a JSON export, and what is wrong with the others."""
    where = f"task {position}"
    try:
        annotations = _annotations(row)
        key = _candidate(row) if annotations else ""
    except ValueError as error:
        yield Problem(where, str(error))
        return
    for number, given in enumerate(annotations, 1):
        at = f"{where}, annotation {number}"
        try:
            yield _answer(given, key, address, at, names)
        except ValueError as error:
            yield Problem(at, str(error))


def _annotations(row: Any) -> list[Any]:
    if not isinstance(row, dict):
        raise ValueError("It is no JSON object.")
    if "annotations" not in row and "annotation_id" in row:
        raise ValueError("This is JSON-MIN, which leaves out what is needed: in Label Studio choose Export, JSON.")
    annotations = row.get("annotations", row.get("completions", []))
    if not isinstance(annotations, list):
        raise ValueError("annotations is no list.")
    if len(annotations) > MOST_ANSWERS:
        raise ValueError(f"It has {len(annotations)} annotations; {MOST_ANSWERS} is the most.")
    return annotations


def _candidate(row: dict[str, Any]) -> str:
    for name in (CANDIDATE_KEY, SHA256_KEY):
        for part in ("meta", "data"):
            inner = row.get(part)
            if isinstance(inner, dict) and name in inner:
                key = inner[name]
                if isinstance(key, str) and _KEY.fullmatch(key):
                    return key
                raise ValueError(f"{part}.{name} is {_short(key)}: 64 digits from 0 to f are wanted.")
    raise ValueError(f"It names no candidate of ours ({CANDIDATE_KEY} or {SHA256_KEY} in meta or data).")


def _answer(given: Any, candidate: str, address: str, where: str, names: Names) -> Found | Skipped:
    if not isinstance(given, dict):
        raise ValueError("It is no JSON object.")
    if given.get("was_cancelled") is True:
        return Skipped(where)
    if given.get("was_cancelled") not in (None, False):
        raise ValueError("was_cancelled is neither true nor false.")
    return Found(
        _own_id(given, address), _exported(given), _imported(given), candidate, _label(given.get("result"), names),
        _seconds(given.get("lead_time")), _time(given.get("created_at")), given.get("completed_by"), where,
    )  # fmt: skip


def _own_id(given: dict[str, Any], address: str) -> UUID:
    number = given.get("id")
    if not _is_id(number):
        raise ValueError(f"Its id is {_short(number)}, no number.")
    return annotation_id(address, number)


def _exported(given: dict[str, Any]) -> UUID | None:
    try:
        return UUID(given["unique_id"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _imported(given: dict[str, Any]) -> int | None:
    number = given.get("import_id")
    return number if _is_id(number) else None


def _label(result: Any, names: Names) -> int:
    if not isinstance(result, list):
        raise ValueError("result is no list.")
    if not all(isinstance(region, dict) for region in result):
        raise ValueError("result holds something that is no JSON object.")
    chosen = [region for region in result if region.get("from_name") == names.control]
    if not chosen:
        raise ValueError(f"It has no label: no region is from_name {_short(names.control)}.")
    if len(chosen) > 1:
        raise ValueError("It has more than one label.")
    if chosen[0].get("type", "choices") != "choices":
        raise ValueError(f"type is {_short(chosen[0]['type'])}: choices are wanted.")
    value = chosen[0].get("value")
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise ValueError("value.choices is no list of names.")
    if len(choices) != 1:
        raise ValueError(f"It has {len(choices)} labels: exactly one is wanted.")
    name = choices[0][:100]
    if name.strip().lower() in names.labels:
        return names.labels[name.strip().lower()]
    try:
        return int(parse_label(name))
    except ValueError as error:
        raise ValueError(str(error)[:300]) from None


def _time(given: Any) -> datetime | None:
    """When it was given; None where Label Studio does not say. A time without a zone is UTC."""
    if given is None:
        return None
    wrong = f"created_at is {_short(given)}: a time like 2026-11-24T10:48:40Z is wanted."
    if isinstance(given, str) and len(given) <= 40:
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            raise ValueError(wrong) from None
    if not isinstance(given, datetime):
        raise ValueError(wrong)
    given = given if given.tzinfo else given.replace(tzinfo=UTC)
    if given < OLDEST:
        raise ValueError(wrong)
    return min(given, datetime.now(UTC))


def _seconds(given: Any) -> float:
    """0 where Label Studio measured none. Longer than a day is somebody who left the page open."""
    if given is None:
        return 0.0
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"lead_time is {_short(given)}, no number.")
    try:
        seconds = float(given)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"lead_time is {_short(given)}: 0 or more seconds are wanted.")
    return min(seconds, float(DAY_S))


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ID


def _short(value: Any) -> str:
    try:
        return repr(value)[:60]
    except (ValueError, RecursionError):
        return "something unreadable"


# --- files


def check(path: Path) -> int:
    """Tasks in the file. Raises BadFile: what is broken anywhere is known before anything is taken."""
    return sum(1 for _ in rows_of(path))


def rows_of(path: Path) -> Iterator[Any]:
    """The items of a file with one JSON list, one at a time: memory holds one task, however large the file is."""
    with open(path, encoding="utf-8-sig") as file:
        try:
            yield from _List(file)
        except UnicodeDecodeError as error:
            raise BadFile("The file is not UTF-8.") from error


class _List:
    """The items of the JSON list that a text file holds."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at = file, "", 0

    def __iter__(self) -> Iterator[Any]:
        if self._sign() != "[":
            raise BadFile("The file holds no JSON list. In Label Studio choose Export, JSON.")
        self.at += 1
        number = 0
        if self._sign() == "]":
            return
        while True:
            number += 1
            self._sign()
            if number > MOST_TASKS:
                raise BadFile(f"The file has more than {MOST_TASKS:,} tasks: export it in parts.")
            yield self._item(number)
            sign = self._sign()
            if sign == "]":
                self.at += 1
                if self._sign():
                    raise BadFile("Something follows the end of the list: the file is broken.")
                return
            if sign != ",":
                raise BadFile(f"After task {number} neither , nor ] comes: the file is cut off or broken.")
            self.at += 1

    def _sign(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more(_PIECE):
                return ""

    def _more(self, size: int) -> bool:
        piece = self.file.read(size)
        self.text, self.at = self.text[self.at :] + piece, 0
        return bool(piece)

    def _item(self, number: int) -> Any:
        size = _PIECE
        while True:
            try:
                row, end = _DECODER.raw_decode(self.text, self.at)
                if end < len(self.text):
                    self.at = end
                    return row
                if not self._more(_PIECE):  # else a number could go on in the next piece
                    self.at = len(self.text)
                    return row
                continue
            except RecursionError:
                raise BadFile(f"Task {number} is nested too deeply.") from None
            except ValueError as error:
                reason = str(error)[:200]
            if len(self.text) - self.at > MOST_CHARACTERS:
                raise BadFile(f"Task {number} is broken, or larger than {MOST_CHARACTERS // 2**20} MiB: {reason}")
            if not self._more(size):
                raise BadFile(f"Task {number} is broken: {reason}")
            size *= 2  # so that a large task is not parsed once per megabyte
