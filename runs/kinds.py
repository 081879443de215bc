"""The kinds of run. Each app registers its own in its tasks.py; a handler runs in a worker's child process.

    @kind("perceive", title="Depth and saliency")
    def perceive(ctx: RunContext) -> dict: ...

A handler may die at any line and is started again: it must skip what is already there, and write under
`ctx.writing()`, which fails when somebody else has taken the run over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runs.context import RunContext

Handler = Callable[["RunContext"], "dict[str, Any] | None"]
# The results of a run's parts -> its own result.
Gather = Callable[[list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    name: str
    title: str
    handler: Handler | None  # None: works in parts only
    queue: str = "heavy"
    max_attempts: int = 3
    gather: Gather | None = None
    # Name of the address (of the run's id) of what its page shows besides, loaded by the page and while it works.
    panel: str = ""
    # Upkeep that the platform starts by itself, often and for seconds: what went well is left out of the list of runs.
    is_upkeep: bool = False
    # What its page calls what was asked for, by the param's name; "": it is left out. The others are called by their names.
    words: Mapping[str, str] = field(default_factory=dict)


_KINDS: dict[str, Kind] = {}
# How the titles of those kinds end whose runs are parts of another's.
PART_OF = "(part)"


def kind(
    name: str,
    title: str,
    *,
    queue: str = "heavy",
    max_attempts: int = 3,
    panel: str = "",
    is_upkeep: bool = False,
    words: Mapping[str, str] | None = None,
) -> Callable[[Handler], Handler]:
    """Queue "heavy" is for work that loads models; "light" for the rest."""

    def register(handler: Handler) -> Handler:
        _KINDS[name] = Kind(
            name, title, handler, queue, max_attempts, panel=panel, is_upkeep=is_upkeep, words=words or {}
        )
        return handler

    return register


def kind_in_parts(
    name: str, title: str, *, gather: Gather | None = None, panel: str = "", words: Mapping[str, str] | None = None
) -> None:
    _KINDS[name] = Kind(name, title, None, gather=gather, panel=panel, words=words or {})


def kind_of(name: str) -> Kind:
    if name not in _KINDS:
        raise KeyError(f"no kind of run {name!r}; known: {', '.join(sorted(_KINDS))}")
    return _KINDS[name]


def panel_of(name: str) -> str:
    """Also of a kind that is not known any more."""
    return _KINDS[name].panel if name in _KINDS else ""


def words_of(name: str) -> Mapping[str, str]:
    return _KINDS[name].words if name in _KINDS else {}


def title_of(name: str) -> str:
    return _KINDS[name].title if name in _KINDS else name


def upkeep() -> list[str]:
    return [known.name for known in _KINDS.values() if known.is_upkeep]


def titles() -> list[tuple[str, str]]:
    """(name, title) for filters of runs that stand alone: each title once, in their alphabet's order."""
    known = {each.title: each.name for each in _KINDS.values() if not each.title.endswith(PART_OF)}
    return sorted(((name, title) for title, name in known.items()), key=lambda choice: choice[1].lower())


def alike(name: str) -> list[str]:
    """The kinds that people know under this one's title, as one piece of work and in parts."""
    return [each.name for each in _KINDS.values() if each.title == title_of(name)] or [name]
