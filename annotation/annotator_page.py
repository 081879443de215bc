"""One annotator's work: plots of it, what they mix up, the gold they missed, where they differ from the others.

Read from the last fit, or from their newest answers: every query here has an end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from accounts.models import User
from adproof.labels import LABELS, N_LABELS, TITLES, Label
from annotation.figures import Facts
from annotation.models import Annotation, AnnotatorQuality, Consensus, Flag, Gold, SentBack, Skip
from annotation.plots import Column, Plot, Row, day_row, hour_row

MOST_ANSWERS = 20_000  # the newest, for the plots
MOST_COMPARED = 2_000  # the newest, with the consensus and with gold
MOST_SENT_BACK = 50
DAY, HOUR = 86_400, 3600
SHORT = 3 * DAY  # work of less than that is drawn by the hour
BUCKETS = {DAY: 60, HOUR: 72}


# --- plots


@dataclass(frozen=True)
class History:
    """Somebody's newest answers that stand, the oldest of them first, in buckets of an hour or a day (UTC)."""

    size: int
    # bucket -> seconds spent on each answer, in the order of the answers
    seconds: dict[int, list[float]]
    labels: list[int]

    @classmethod
    def of(cls, user: User) -> History:
        rows = list(
            Annotation.objects.standing()
            .filter(annotator=user)
            .order_by("-created_at")
            .values_list("created_at", "seconds", "label")[:MOST_ANSWERS]
        )
        rows.reverse()
        size = DAY if rows and (rows[-1][0] - rows[0][0]).total_seconds() > SHORT else HOUR
        seconds: dict[int, list[float]] = defaultdict(list)
        for at, spent, _ in rows:
            seconds[int(at.timestamp()) // size].append(spent)
        labels = [0] * N_LABELS
        for _, _, label in rows:
            labels[label] += 1
        return cls(size, dict(seconds), labels)

    @property
    def answers(self) -> int:
        return sum(self.labels)

    def buckets(self) -> list[int]:
        """The last ones up to their newest answer, those without any as well."""
        if not self.seconds:
            return []
        last = max(self.seconds)
        return list(range(max(min(self.seconds), last - BUCKETS[self.size] + 1), last + 1))

    def row(self, bucket: int, *values: float | int | None) -> Row:
        make = day_row if self.size == DAY else hour_row
        return make(datetime.fromtimestamp(bucket * self.size, UTC), *values)

    @property
    def first(self) -> tuple[str, str]:
        return ("Day (UTC)", "day_utc") if self.size == DAY else ("Hour (UTC)", "hour_utc")

    @property
    def word(self) -> str:
        return "day" if self.size == DAY else "hour"


def plots_of(now: Facts, user: User, history: History) -> list[Plot]:
    return [_answers(history), _pace(now, history), _mix(now, user, history)]


def _answers(history: History) -> Plot:
    rows = [history.row(bucket, len(history.seconds.get(bucket, ()))) for bucket in history.buckets()]
    worked = [row.values[0] for row in rows if row.values[0]]
    says = f"{sum(worked):,} in {len(worked)} {history.word}{'s' if len(worked) != 1 else ''} with answers."
    return Plot(
        "answers", f"Answers by {history.word}", says, "bar", history.first,
        [Column("Answers", "answers", "--accent")], rows, empty="No answers yet.",
    )  # fmt: skip


def _pace(now: Facts, history: History) -> Plot:
    crowd = now.result.get("median_seconds")
    rows = []
    for bucket in history.buckets():
        spent = history.seconds.get(bucket)
        low, middle, high = _quartiles(spent) if spent else (None, None, None)
        rows.append(history.row(bucket, middle, low, high, crowd))
    columns = [
        Column("Median", "median_seconds", "--accent", "s"),
        Column("Fastest quarter under", "quartile_1_seconds", "--label-1-fill", "s", dashed=True),
        Column("Slowest quarter over", "quartile_3_seconds", "--label-2-fill", "s", dashed=True),
        Column("Median of the crowd", "crowd_median_seconds", "--line-strong", "s", dashed=True),
    ]
    says = f"Seconds spent on a picture, by {history.word}. Half of the answers lie between the quarters."
    return Plot("pace", "Pace", says, "line", history.first, columns, rows, empty="No answers yet.")


def _quartiles(spent: list[float]) -> tuple[float, float, float]:
    if len(spent) == 1:
        return spent[0], spent[0], spent[0]
    low, _, high = quantiles(spent, n=4, method="inclusive")
    return low, median(spent), high


def _mix(now: Facts, user: User, history: History) -> Plot:
    own = now.people.get(str(user.pk), {}).get("labels") or history.labels
    crowd = now.result.get("answered") or [0] * N_LABELS
    n_own, n_crowd = sum(own), sum(crowd)
    rows = [
        Row(TITLES[label], LABELS[label],
            [own[label] / n_own if n_own else 0.0, crowd[label] / n_crowd if n_crowd else None, own[label]],
            label=int(label))
        for label in Label
    ]  # fmt: skip
    columns = [
        Column("Their answers", "share", "--accent", "%"),
        Column("Everybody's", "crowd_share", "--label-2-fill", "%"),
        Column("Answers", "answers"),
    ]
    furthest = max(rows, key=lambda row: abs((row.values[0] or 0) - (row.values[1] or 0)))
    says = ""
    if n_own and n_crowd:
        says = f"Furthest from the others: “{furthest.title}”, {furthest.values[0]:.0%} against {furthest.values[1]:.0%}."
    return Plot("labels", "Label mix", says, "across", ("Label", "label"), columns, rows)


# --- confusion


def confusion(now: Facts, user: User) -> list[dict[str, Any]]:
    """Rows of the consensus, columns of their answers: counts, shares of the row, and Dawid-Skene's estimate."""
    counts = now.people.get(str(user.pk), {}).get("confusion") or [[0] * N_LABELS for _ in range(N_LABELS)]
    found = AnnotatorQuality.objects.filter(annotator=user).values_list("confusion", flat=True).first()
    rows = []
    for label in Label:
        total = sum(counts[label])
        cells = [
            {
                "given": int(given),
                "title": TITLES[given],
                "n": counts[label][given],
                "share": counts[label][given] / total if total else 0.0,
                "estimate": found[label][given] if found else None,
                "is_right": given == label,
            }
            for given in Label
        ]
        rows.append({"label": int(label), "title": TITLES[label], "n": total, "cells": cells})
    return rows


def confusion_table(now: Facts, user: User) -> tuple[list[str], list[list[Any]]]:
    head = ["consensus", "given", "answers", "share_of_row", "dawid_skene_estimate"]
    return head, [
        [LABELS[row["label"]], LABELS[cell["given"]], cell["n"], cell["share"], cell["estimate"]]
        for row in confusion(now, user)
        for cell in row["cells"]
    ]  # fmt: skip


# --- answers


@dataclass(frozen=True)
class Compared:
    """One of their answers beside what is right (gold) or what people make of it together (consensus)."""

    answer: Annotation
    label: int

    @property
    def title(self) -> str:
        return TITLES[Label(self.label)]


# An answer's id, and the label that it should have had.
Unlike = tuple[UUID, int]


def latest(user: User, most: int) -> list[Annotation]:
    """Whatever became of them; each with its candidate's consensus, if there is one."""
    rows = Annotation.objects.filter(annotator=user).exclude(state=Annotation.State.UNDONE)
    return list(rows.select_related("candidate__product", "candidate__consensus").order_by("-created_at")[:most])


def differing(user: User) -> tuple[list[Unlike], int]:
    """Of their newest answers on candidates that others answered too: those unlike the consensus; of how many."""
    newest = _newest(Annotation.objects.filter(annotator=user))
    rows = Consensus.objects.filter(candidate__in=[row[1] for row in newest], annotation_count__gte=2)
    return _unlike(newest, dict(rows.values_list("candidate_id", "label")))


def gold_answers(user: User) -> tuple[list[Unlike], int]:
    """The gold they missed, newest first; of how many of their newest answers on gold."""
    known = Gold.objects.filter(task__is_gold=True)
    newest = _newest(Annotation.objects.filter(annotator=user, candidate__in=known.values("task__candidate_id")))
    rows = known.filter(task__candidate__in=[row[1] for row in newest]).order_by("id")
    return _unlike(newest, dict(rows.values_list("task__candidate_id", "label")))


def _newest(answers: Any) -> list[tuple[UUID, int, int]]:
    """(id, candidate, label) of those that stand."""
    rows = answers.filter(state=Annotation.State.STANDING).order_by("-created_at")
    return list(rows.values_list("pk", "candidate_id", "label")[:MOST_COMPARED])


def _unlike(newest: list[tuple[UUID, int, int]], labels: dict[int, int]) -> tuple[list[Unlike], int]:
    told = [(pk, label, labels[candidate]) for pk, candidate, label in newest if candidate in labels]
    return [(pk, right) for pk, given, right in told if given != right], len(told)


def with_pictures(rows: Iterable[Unlike]) -> list[Compared]:
    rows = list(rows)
    found = Annotation.objects.select_related("candidate__product").in_bulk([pk for pk, _ in rows])
    return [Compared(found[pk], label) for pk, label in rows if pk in found]


def compared_table(rows: Iterable[Unlike], second: str) -> tuple[list[str], list[list[Any]]]:
    head = ["candidate", "product", "given", second, "seconds", "when_utc"]
    return head, [
        [
            row.answer.candidate_id, row.answer.candidate.product.title, LABELS[row.answer.label], LABELS[row.label],
            row.answer.seconds, row.answer.created_at.isoformat(),
        ]
        for row in with_pictures(rows)
    ]  # fmt: skip


# --- what reviewers, and they themselves, did


def counts(user: User) -> dict[str, int]:
    return {
        "skips": Skip.objects.filter(annotator=user).count(),
        "flags": Flag.objects.filter(annotator=user).count(),
        "sent_back": SentBack.objects.filter(annotator=user).count(),
        "waiting": SentBack.objects.filter(annotator=user, answered_at=None).count(),
    }


def sent_back(user: User) -> list[SentBack]:
    """The newest, each with `.now`: what they answered when they looked again."""
    rows = list(
        SentBack.objects.filter(annotator=user)
        .select_related("annotation", "annotation__candidate__product", "decision__reviewer")
        .order_by("-decision__created_at")[:MOST_SENT_BACK]
    )
    again = Annotation.objects.standing().filter(annotator=user, task__in=[row.task_id for row in rows])
    standing = {answer.task_id: answer for answer in again}
    for row in rows:
        answer = standing.get(row.task_id)
        row.now = answer if answer is not None and answer.pk != row.annotation_id else None
    return rows


def sent_back_table(user: User) -> tuple[list[str], list[list[Any]]]:
    head = ["candidate", "product", "given", "reviewer", "comment", "sent_back_utc", "answered_utc", "given_then"]
    return head, [
        [
            row.annotation.candidate_id, row.annotation.candidate.product.title, LABELS[row.annotation.label],
            row.decision.reviewer.username, row.comment, row.decision.created_at.isoformat(),
            row.answered_at.isoformat() if row.answered_at else "", LABELS[row.now.label] if row.now else "",
        ]
        for row in sent_back(user)
    ]  # fmt: skip


def pairs(now: Facts, user: User) -> list[dict[str, Any]]:
    """With whom they share most candidates, and Cohen's kappa with each."""
    own = [row for row in now.result.get("pairs", []) if user.pk in (row["first"], row["second"])]
    users = User.objects.in_bulk([row["first"] if row["second"] == user.pk else row["second"] for row in own])
    found = []
    for row in own:
        other = users.get(row["first"] if row["second"] == user.pk else row["second"])
        if other is not None:
            found.append({**row, "other": other})
    return found


def pairs_table(now: Facts, user: User) -> tuple[list[str], list[list[Any]]]:
    head = ["with", "shared_candidates", "agreement", "cohen_kappa"]
    return head, [[row["other"].username, row["shared"], row["agreement"], row["kappa"]] for row in pairs(now, user)]
