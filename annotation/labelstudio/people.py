"""Whose answer it is: Label Studio's e-mail addresses and numbers, and accounts here."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.models import User
from accounts.roles import may
from annotation.labelstudio.shape import NO_ADDRESS
from annotation.tables import safe
from config.numbers import MAX_ID

COLUMNS = ("label_studio", "username")
ADDRESS = "email"  # a column that may be there: the address of somebody whom label_studio names by number
_NOT_IN_NAMES = re.compile(r"[^\w.@+-]")


class BadMap(Exception):
    """The file that maps people can't be used; the message says which line and why."""


def read_rows(path: Path, columns: tuple[str, ...], may_have: str = "") -> list[tuple[int, list[str]]]:
    """These columns of a CSV file, and another one if it is there, with the line of each row."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not set(columns) <= set(rows.fieldnames or []):
                raise BadMap(f"{path.name}: the columns {' and '.join(columns)} are wanted.")
            names = [*columns, may_have] if may_have else columns
            return [(n, [str(row.get(name) or "").strip() for name in names]) for n, row in enumerate(rows, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadMap(f"{path.name} can't be read: {error}") from error


def read_map(path: Path) -> tuple[dict[str, User], dict[int, str]]:
    """From a CSV file with the columns label_studio (e-mail address or number there), username (here), and perhaps
    email: who is who, and the addresses behind numbers. A line without a username only says whose a number is.
    """
    found: dict[str, User] = {}
    known: dict[int, str] = {}
    for line, (key, username, address) in read_rows(path, COLUMNS, ADDRESS):
        if not key:
            raise BadMap(f"{path.name}, line {line}: {COLUMNS[0]} is empty.")
        if address and key.isdecimal() and len(key) < 19:
            known[int(key)] = address
        if not username and address:
            continue
        user = User.objects.filter(username=username).first() if username.isprintable() else None
        if user is None:
            raise BadMap(f"{path.name}, line {line}: nobody here has the user name {username[:60]!r}.")
        if key.lower() in found:
            raise BadMap(f"{path.name}, line {line}: {key[:60]!r} is there twice.")
        found[key.lower()] = user
    return found, known


def write_map(path: Path, people: Iterable[tuple[int, str]]) -> tuple[int, int]:
    """Everybody of a Label Studio server, with the account here that has their address: a map to complete.
    Returns how many there are, and how many have an account.
    """
    rows = [(number, address, _account((address.strip().lower(),))) for number, address in people]
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([COLUMNS[0], ADDRESS, COLUMNS[1]])
        for number, address, user in rows:
            table.writerow([number, safe(address), user.username if user else ""])
    return len(rows), sum(user is not None for _, _, user in rows)


@dataclass
class People:
    """Finds the account behind `completed_by`; makes one if it may."""

    mapped: dict[str, User] = field(default_factory=dict)
    creates: bool = False
    # Label Studio's users by number: their e-mail address. An export may name them by number only.
    known: dict[int, str] = field(default_factory=dict)
    created: dict[str, None] = field(default_factory=dict)  # in order
    _found: dict[tuple[str, ...], User | str] = field(default_factory=dict)

    def find(self, given: Any) -> User | str:
        """The account, or why there is none."""
        keys = self._keys(given)
        if not keys:
            return "It does not say whose it is."
        if keys not in self._found:
            self._found[keys] = self._look_up(keys)
        return self._found[keys]

    def forget(self) -> None:
        """After a roll-back: accounts found or made may be gone."""
        self._found.clear()

    def _keys(self, given: Any) -> tuple[str, ...]:
        """All names this person goes by there, the most telling first."""
        # Not the user name there: anybody may call themselves what somebody is called here.
        names: Iterable[Any] = [given.get("email"), given.get("id")] if isinstance(given, dict) else [given]
        texts = []
        for name in names:
            if isinstance(name, int) and not isinstance(name, bool) and 0 < name <= MAX_ID:
                texts += [self.known.get(name, ""), str(name)]
            elif isinstance(name, str) and len(name) <= 254 and name.isprintable():
                texts.append(name)
        return tuple(dict.fromkeys(text.strip().lower() for text in texts if text.strip()))

    def _look_up(self, keys: tuple[str, ...]) -> User | str:
        user = next((self.mapped[key] for key in keys if key in self.mapped), None) or _account(keys)
        if user is None and self.creates:
            user = self._create(keys)
        if user is None:
            return f"Nobody here is {keys[0]}."
        if not may(user, "label"):
            return f"{user.username} ({keys[0]}) may not label here."
        return user

    def _create(self, keys: tuple[str, ...]) -> User | None:
        name = keys[0] if not keys[0].isdigit() else f"label-studio-{keys[0]}"
        name = _NOT_IN_NAMES.sub("-", name.removesuffix(NO_ADDRESS))[:150]
        if User.objects.filter(username__iexact=name).exists():
            return None
        email = "" if keys[0].endswith(NO_ADDRESS) or not _is_address(keys[0]) else keys[0]
        user = User(username=name, email=email, role="annotator")
        user.set_unusable_password()
        user.save()
        self.created[name] = None
        return user


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def _account(keys: tuple[str, ...]) -> User | None:
    """By e-mail address; not where two accounts have it. Our own exports name people without one by their user name."""
    for key in keys:
        if "@" not in key:
            continue
        named = (
            {"username__iexact": key.removesuffix(NO_ADDRESS)} if key.endswith(NO_ADDRESS) else {"email__iexact": key}
        )
        users = list(User.objects.filter(**named)[:2])
        if len(users) == 1:
            return users[0]
    return None
