"""What reviewers look at: the most disputed first, never their own work."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.db import connection
from django.db.models import FloatField, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.models import User
from adproof.labels import TITLES
from annotation import review, statements
from annotation.models import Annotation, Consensus, Decision, Look, Project
from config.numbers import MAX_ID

# Stands in for the ActiveLab score of what no fit has seen: those come last among the equally disputed.
UNFITTED = 1e9
LOOK_LASTS = timedelta(minutes=3)  # an open page renews it
Key = tuple[float, float, int]


class QueueForm(forms.Form):
    project = forms.ModelChoiceField(Project.objects.order_by("name"), required=False, empty_label="All")
    label = forms.TypedChoiceField(
        label="Consensus", choices=[("", "Any label"), *((int(label), title) for label, title in TITLES.items())],
        coerce=int, empty_value=None, required=False,
    )  # fmt: skip
    annotator = forms.ModelChoiceField(User.objects.order_by("username"), required=False, empty_label="Anybody")
    show = forms.ChoiceField(label="People", choices=[("", "Differ"), ("all", "Differ or agree")], required=False)
    complete = forms.ChoiceField(
        label="Answers", choices=[("", "Any number"), ("1", "All that are wanted"), ("0", "More wanted")],
        required=False,
    )  # fmt: skip
    decided = forms.ChoiceField(
        label="Decisions", choices=[("", "Undecided"), ("1", "Decided"), ("any", "Both")], required=False
    )


def queue(reviewer: Any, filters: dict[str, Any]) -> QuerySet[Consensus]:
    """Undecided candidates on which people differ, unless the filters say otherwise."""
    rows = Consensus.objects.filter(candidate__product__unsuitable=False)
    rows = rows.exclude(candidate__in=review.own_work(reviewer))
    if filters.get("show") != "all":
        rows = rows.filter(annotation_count__gte=2, agreement__lt=1)
    if filters.get("decided") != "any":
        rows = rows.filter(method="review") if filters.get("decided") else rows.exclude(method="review")
    if filters.get("label") is not None:
        rows = rows.filter(label=filters["label"])
    if filters.get("complete"):
        rows = rows.filter(is_complete=filters["complete"] == "1")
    if filters.get("project"):
        rows = rows.filter(candidate__in=filters["project"].tasks.values("candidate"))
    if filters.get("annotator"):
        answers = Annotation.objects.standing().filter(annotator=filters["annotator"])
        rows = rows.filter(candidate__in=answers.values("candidate"))
    return rows.annotate(worth=Coalesce("activelab_score", Value(UNFITTED), output_field=FloatField()))


def ordered(rows: QuerySet[Consensus], after: Key | None = None) -> QuerySet[Consensus]:
    """Lowest agreement first, then what ActiveLab finds most worth a look."""
    if after:
        agreement, worth, candidate = after
        later = Q(worth__gt=worth) | Q(worth=worth, candidate__gt=candidate)
        rows = rows.filter(agreement__gte=agreement).filter(Q(agreement__gt=agreement) | later)
    return rows.order_by("agreement", "worth", "candidate")


def look(reviewer: Any, candidate: int, now: datetime | None = None) -> Look | None:
    """Note that they look at it, so that others are led past it. Returns whose look keeps it, if somebody else's does.

    It keeps nobody from deciding: whoever decides second is told that somebody did.
    """
    now = now or timezone.now()
    values = {"candidate": candidate, "reviewer": reviewer.pk, "now": now, "lapsed": now - LOOK_LASTS}
    with connection.cursor() as cursor:
        cursor.execute(statements.LOOK, values)
        if cursor.rowcount:
            return None
    return Look.objects.select_related("reviewer").filter(candidate=candidate).exclude(reviewer=reviewer).first()


def looked_at(reviewer: Any, now: datetime | None = None) -> QuerySet[Look]:
    """What others have on their screens now."""
    return Look.objects.filter(at__gte=(now or timezone.now()) - LOOK_LASTS).exclude(reviewer=reviewer)


def with_looks(rows: list[Consensus], reviewer: Any) -> list[Consensus]:
    """Each with `.looker`: the other reviewer who has it on the screen, or None."""
    looks = looked_at(reviewer).filter(candidate__in=[row.candidate_id for row in rows]).select_related("reviewer")
    lookers = {look.candidate_id: look.reviewer for look in looks}
    for row in rows:
        row.looker = lookers.get(row.candidate_id)
    return rows


def free(rows: QuerySet[Consensus], reviewer: Any) -> QuerySet[Consensus]:
    return rows.exclude(candidate__in=looked_at(reviewer).values("candidate"))


def key_of(row: Consensus) -> Key:
    return row.agreement, UNFITTED if row.activelab_score is None else row.activelab_score, row.candidate_id


def key_text(row: Consensus) -> str:
    return ":".join(repr(part) for part in key_of(row))


def read_key(text: str) -> Key | None:
    """What key_text wrote. Raises ValueError."""
    if not text:
        return None
    agreement, worth, candidate = text.split(":")
    key = float(agreement), float(worth), int(candidate)
    if not (math.isfinite(key[0]) and math.isfinite(key[1]) and 0 <= key[2] <= MAX_ID):
        raise ValueError("out of range")
    return key


def with_answers(rows: Iterable[Consensus]) -> list[Consensus]:
    """Each with `.votes`: who said what, in the order they said it."""
    found, votes = list(rows), defaultdict(list)
    answers = Annotation.objects.standing().filter(candidate__in=[row.candidate_id for row in found])
    for answer in answers.select_related("annotator").order_by("created_at"):
        votes[answer.candidate_id].append(answer)
    for row in found:
        row.votes = votes[row.candidate_id]
    return found


class HistoryForm(forms.Form):
    reviewer = forms.ModelChoiceField(User.objects.order_by("username"), required=False, empty_label="Anybody")
    candidate = forms.IntegerField(required=False, min_value=1, max_value=MAX_ID)
    action = forms.ChoiceField(choices=[("", "Any"), *Decision.Action.choices], required=False)


def history(filters: dict[str, Any], before: str = "") -> QuerySet[Decision]:
    """Decisions, newest first, after the one that `before` names ("time~id"). Raises ValueError."""
    rows = Decision.objects.select_related("reviewer", "candidate__product").order_by("-created_at", "-id")
    for name in ("reviewer", "candidate", "action"):
        if filters.get(name):
            rows = rows.filter(**{name: filters[name]})
    if before:
        moment, _, pk = before.partition("~")
        when = parse_datetime(moment)
        if when is None or when.tzinfo is None:
            raise ValueError("no time")
        rows = rows.filter(created_at__lte=when).exclude(created_at=when, id__gte=UUID(pk))
    return rows


def chosen(form: forms.Form) -> dict[str, Any]:
    """The valid filters of a form; the others are as if they were not given, and the form says what is wrong."""
    form.full_clean()
    return form.cleaned_data
