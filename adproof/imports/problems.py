"""What can be wrong with an import: all of it, or one file or row of it."""

from __future__ import annotations

from dataclasses import dataclass


class BadImport(ValueError):
    """The whole import can't be read; the message says what to do."""


@dataclass(frozen=True)
class LeftOut:
    """One file or row that is not taken. reason: a few words, the same for all of its sort; text: a sentence."""

    where: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"
