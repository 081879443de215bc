"""Whom imported things belong to: one inactive account, one paused project, one prompt and one generator a source."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property

from accounts.models import User
from adproof.imports.problems import BadImport
from annotation.models import Project
from datasets_app.importing.labels import project_of
from generation.models import Generator, Prompt

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
UNKNOWN_TEXT = "(not given)"


class Belongings:
    """Made when first asked for, so that a dry run makes nothing."""

    def __init__(self, source: str) -> None:
        self.source = source

    @cached_property
    def account(self) -> User:
        return account(self.source)

    @cached_property
    def project(self) -> Project:
        return project_of(self.source)

    @cached_property
    def prompt(self) -> Prompt:
        values = {"text": UNKNOWN_TEXT, "is_active": False}
        return Prompt.objects.get_or_create(name=f"Imported: {self.source}"[:120], defaults=values)[0]

    @cached_property
    def _generators(self) -> dict[str, Generator]:
        return {}

    def generator(self, name: str) -> Generator:
        """The one of this name or key, if it is here; else one that stands for it and draws nothing."""
        if name not in self._generators:
            found = Generator.objects.filter(key=name).first() if name else None
            self._generators[name] = found or self._new_generator(name)
        return self._generators[name]

    def _new_generator(self, name: str) -> Generator:
        is_key = re.fullmatch(r"[0-9a-f]{64}", name) is not None
        key = name if is_key else hashlib.sha256(f"imported/{self.source}/{name}".encode()).hexdigest()
        shown = f"Imported: {self.source}" + (f", {name[:40]}" if name else "")
        if Generator.objects.filter(name=shown[:120]).exclude(key=key).exists():
            shown = f"{shown[:100]} {key[:8]}"
        values = {"name": shown[:120], "kind": Generator.IMPORTED, "note": "Made elsewhere; it can't draw here."}
        return Generator.objects.get_or_create(key=key, defaults=values)[0]


def account(name: str) -> User:
    """Whose annotations imported labels are. Nobody can log in as it."""
    username = f"imported-{name}"[:150]
    values = {"first_name": "Imported", "last_name": name[:150], "is_active": False}
    user, is_new = User.objects.get_or_create(username=username, defaults=values)
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def check_name(source: str) -> str:
    """A source's name in the form that is kept. Raises BadImport."""
    source = source.strip().lower()
    if not _NAME.fullmatch(source):
        raise BadImport(
            f"{source[:60]!r} can't be a source's name: use a-z, 0-9, dots and hyphens, at most 60 characters."
        )
    return source
