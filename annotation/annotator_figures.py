"""What the last fit and the answers since say of each annotator; reasons to look at somebody's work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from accounts.models import User
from adproof.labels import N_LABELS, TITLES
from annotation.figures import Facts, this_hour

# Reasons to look: fewer judged answers than this say nothing yet.
ENOUGH, ENOUGH_GOLD = 30, 10
LOW_GOLD = 0.7
FAR_BELOW = 0.2  # the crowd's median

SORTS = {
    "name": "Annotator", "answers": "Answers", "today": "Today", "median_seconds": "Pace", "gold_share": "Gold",
    "agreement": "Agrees", "accuracy": "Accuracy", "kappa": "Kappa",
}  # fmt: skip
USUAL = "-answers"


@dataclass(frozen=True)
class Person:
    user: User
    answers: int
    today: int
    median_seconds: float | None = None
    gold: int = 0
    gold_right: int = 0
    judged: int = 0  # answers on candidates that others answered too, or whose label is known
    agreeing: int = 0
    accuracy: float | None = None
    kappa: float | None = None
    kappa_pairs: int = 0
    odd: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.user.username)

    @property
    def gold_share(self) -> float | None:
        return self.gold_right / self.gold if self.gold else None

    @property
    def agreement(self) -> float | None:
        return self.agreeing / self.judged if self.judged else None


def people(now: Facts) -> list[Person]:
    """Everybody whose answers stand, the busiest first."""
    news = _News.of(now)
    users = User.objects.in_bulk({*map(int, now.people), *news.all})
    return sorted((_person(now, user, news) for user in users.values()), key=lambda row: (-row.answers, row.name))


def person(now: Facts, user: User) -> Person:
    return _person(now, user, _News.of(now))


@dataclass(frozen=True)
class _News:
    """Answers since the fit, by annotator."""

    all: Counter[int]
    today: Counter[int]
    day: int  # today, in days since 1970

    @classmethod
    def of(cls, now: Facts) -> _News:
        found = cls(Counter(), Counter(), this_hour() // 24)
        for news in now.news:
            found.all[news.annotator] += news.count
            found.today[news.annotator] += news.count * (news.hour // 24 == found.day)
        return found


def _person(now: Facts, user: User, news: _News) -> Person:
    row = now.people.get(str(user.pk))
    if row is None:
        return Person(user, answers=news.all[user.pk], today=news.today[user.pk])
    today = row.get("days", {}).get(str(news.day), 0) + news.today[user.pk]
    cells = row.get("confusion") or [[0] * N_LABELS] * N_LABELS
    return Person(
        user, row["answers"] + news.all[user.pk], today,
        median_seconds=row["median_seconds"], gold=row["gold"], gold_right=row["gold_right"],
        judged=sum(map(sum, cells)), agreeing=sum(cells[label][label] for label in range(N_LABELS)),
        accuracy=row.get("accuracy"), kappa=row.get("kappa"), kappa_pairs=row.get("kappa_pairs", 0),
        odd=tuple(row["odd"]), reasons=tuple(_reasons(now, row, cells)),
    )  # fmt: skip


def _reasons(now: Facts, row: dict[str, Any], cells: list[list[int]]) -> list[str]:
    """Sentences. Reasons to look at somebody's work, no proof of anything."""
    said = []
    if "fast" in row["odd"]:
        said.append(f"Very fast: {row['median_seconds']:.1f} s a picture, the crowd {now.result['median_seconds']:.1f} s.")
    if "monotonous" in row["odd"]:
        said.append(f"{row['longest_run']} times “{TITLES[row['run_label']]}” in a row.")
    if "regular" in row["odd"]:
        said.append("The time between answers hardly varies: people work less evenly.")
    if row["gold"] >= ENOUGH_GOLD and row["gold_right"] < LOW_GOLD * row["gold"]:
        said.append(f"Gold: {row['gold_right']} of {row['gold']} right.")
    judged, usual = sum(map(sum, cells)), _usual_agreement(now)
    if judged >= ENOUGH and usual is not None:
        own = sum(cells[label][label] for label in range(N_LABELS)) / judged
        if own < usual - FAR_BELOW:
            said.append(f"Agrees with the consensus on {own:.0%}; half of all annotators on {usual:.0%} or more.")
    return said


def _usual_agreement(now: Facts) -> float | None:
    """The median of everybody with enough answers to tell; kept with the facts, as each row asks for it."""
    if "usual_agreement" not in now.kept:
        shares = []
        for row in now.people.values():
            cells = row.get("confusion") or []
            judged = sum(map(sum, cells))
            if judged >= ENOUGH:
                shares.append(sum(cells[label][label] for label in range(N_LABELS)) / judged)
        shares.sort()
        now.kept["usual_agreement"] = shares[len(shares) // 2] if shares else None
    found: float | None = now.kept["usual_agreement"]
    return found


def suspects(now: Facts) -> list[Person]:
    """Those with most reasons first."""
    found = [row for row in people(now) if row.reasons]
    return sorted(found, key=lambda row: -len(row.reasons))


def ordered(rows: list[Person], sort: str) -> list[Person]:
    """sort: a name in SORTS, "-" before it for falling; what is not known comes last either way."""
    name = sort.removeprefix("-")
    if name not in SORTS:
        return rows
    if name == "name":
        return sorted(rows, key=lambda row: row.name.lower(), reverse=sort.startswith("-"))
    known = [row for row in rows if getattr(row, name) is not None]
    known.sort(key=lambda row: getattr(row, name), reverse=sort.startswith("-"))
    return known + [row for row in rows if getattr(row, name) is None]


def table(now: Facts) -> tuple[list[str], list[list[Any]]]:
    head = [
        "annotator", "answers", "today", "median_seconds", "gold", "gold_right", "judged", "agreement_with_consensus",
        "accuracy", "median_kappa", "kappa_pairs", "odd", "simulated",
    ]  # fmt: skip
    return head, [
        [
            row.name, row.answers, row.today, row.median_seconds, row.gold, row.gold_right, row.judged, row.agreement,
            row.accuracy, row.kappa, row.kappa_pairs, " ".join(row.odd), int(row.user.is_simulated),
        ]
        for row in people(now)
    ]  # fmt: skip
