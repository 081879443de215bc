"""Pages for reviewers: the disputed candidates, one of them, and all that was ever decided."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from accounts.roles import requires
from adproof.labels import LABELS, RULES, TITLES, Label
from annotation import review, review_queue
from annotation.models import Annotation, AnnotatorQuality, Consensus, Decision
from annotation.tables import as_csv
from generation.models import Candidate

A_PAGE = 24
DECISIONS_A_PAGE = 50
ROWS_OF_CSV = 50_000


def label_choices() -> list[dict[str, Any]]:
    return [
        {"number": int(label), "key": str(label + 1), "title": TITLES[label], "rule": RULES[label]} for label in Label
    ]


def settings_of(request: HttpRequest, made_in: str) -> dict[str, Any]:
    return {
        "user": request.user.pk,
        "api": reverse("review-decisions").removesuffix("decisions"),
        "madeIn": made_in,
        "labels": [TITLES[label] for label in Label],
    }


def _query(request: HttpRequest, **more: str) -> str:
    """The filters of this request as they go on to the next page."""
    query = request.GET.copy()
    query.pop("after", None)
    query.pop("before", None)
    query.update(more)
    return f"?{query.urlencode()}" if query else ""


@requires("review")
@require_safe
def disputed(request: HttpRequest) -> HttpResponse:
    form = review_queue.QueueForm(request.GET)
    try:
        after = review_queue.read_key(request.GET.get("after", ""))
    except ValueError:
        raise Http404("There is no such page.") from None
    rows = review_queue.ordered(review_queue.queue(request.user, review_queue.chosen(form)), after)
    found = review_queue.with_answers(rows.select_related("candidate__product")[: A_PAGE + 1])
    more = _query(request, after=review_queue.key_text(found[A_PAGE - 1])) if len(found) > A_PAGE else ""
    found = review_queue.with_looks(found[:A_PAGE], request.user)
    context = {
        "form": form, "rows": found, "more": more, "query": _query(request), "is_first": after is None,
        "start": next((row for row in found if not row.looker), None),
        "is_filtered": any(request.GET.get(name) for name in form.fields),
    }  # fmt: skip
    return render(request, "annotation/review.html", context)


@requires("review")
@require_safe
@ensure_csrf_cookie
def one(request: HttpRequest, candidate: int) -> HttpResponse:
    seen_at = timezone.now()  # before anything is read: whatever comes later is news
    row = get_object_or_404(Candidate.objects.select_related("product", "prompt", "generator"), pk=candidate)
    consensus = Consensus.objects.filter(candidate=row).first()
    own = review.is_own_work(request.user, row.pk)
    other = None if own or consensus is None else review_queue.look(request.user, row.pk)
    answers = _answers(row)
    projects = {answer.task.project_id: answer.task.project for answer in answers}.values()
    decisions = _decisions(row)
    verdict = row.verdicts.filter(checkpoint__is_promoted=True).select_related("checkpoint").first()
    context = {
        "candidate": row, "consensus": consensus, "answers": answers, "own": own, "next_url": _following(request, row, consensus),
        "consensus_bars": _bars(consensus.posterior) if consensus else [],
        "verdict": verdict, "verdict_bars": _bars(verdict.probs) if verdict else [],
        "decisions": decisions, "queue_url": reverse("review") + _query(request),
        "labels": _labels_with(answers), "settings": settings_of(request, "review"), "other": other,
        "seen_at": seen_at.isoformat(), "assists": any(project.assists for project in projects),
        "markers": [answer for answer in answers if answer.marker],
        "is_decided": consensus is not None and consensus.method == "review",
        "projects": projects, "version": f"{len(answers)} {sum(row.stands for row in answers)} {len(decisions)}",
    }  # fmt: skip
    return render(request, "annotation/review_candidate.html", context)


def _following(request: HttpRequest, candidate: Candidate, consensus: Consensus | None) -> str:
    """The address of the next one, past those that other reviewers look at; empty after the last one."""
    form = review_queue.QueueForm(request.GET)
    rows = review_queue.free(review_queue.queue(request.user, review_queue.chosen(form)), request.user)
    rows = rows.exclude(candidate=candidate)
    row = review_queue.ordered(rows, review_queue.key_of(consensus) if consensus else None).first()
    return reverse("review-candidate", args=[row.candidate_id]) + _query(request) if row else ""


def _bars(posterior: list[float]) -> list[dict[str, Any]]:
    return [{"label": int(label), "title": title, "p": posterior[label]} for label, title in TITLES.items()]


def _answers(candidate: Candidate) -> list[Annotation]:
    """Everyone's, those that stand first; each with what is known of its annotator and what they marked."""
    rows = list(
        Annotation.objects.filter(candidate=candidate)
        .exclude(state=Annotation.State.UNDONE)
        .select_related("annotator", "task__project")
        .order_by("created_at")
    )
    quality = {
        row.annotator_id: row for row in AnnotatorQuality.objects.filter(annotator__in=[r.annotator_id for r in rows])
    }
    for number, row in enumerate(sorted(rows, key=lambda row: row.state != Annotation.State.STANDING), 1):
        row.number = number
        row.quality = quality.get(row.annotator_id)
        row.stands = row.state == Annotation.State.STANDING
        row.secondary = [TITLES[Label(label)] for label in row.details.get("secondary", ()) if label in set(Label)]
        marker = row.details.get("marker")
        verdict = row.shown.get("verdict")
        row.saw = TITLES[Label(verdict["label"])] if verdict else ""
        row.marker = {"x": 100 * marker[0], "y": 100 * marker[1]} if marker else None
    return sorted(rows, key=lambda row: row.number)


def _labels_with(answers: list[Annotation]) -> list[dict[str, Any]]:
    """The labels, each with who gave it: what people differ on, side by side."""
    rows = label_choices()
    for row in rows:
        row["who"] = [str(answer.annotator) for answer in answers if answer.stands and answer.label == row["number"]]
    return rows


def _decisions(candidate: Candidate) -> list[Decision]:
    rows = list(Decision.objects.filter(candidate=candidate).select_related("reviewer").order_by("-created_at", "-id"))
    return [_told(row) for row in rows]


def _told(row: Decision) -> Decision:
    """With what it was made on, in words."""
    names = {answer["annotator"]: answer["name"] for answer in row.before.get("answers", ())}
    before = row.before.get("consensus")
    row.before_label = before["label"] if before else None
    row.before_title = TITLES[Label(before["label"])] if before else ""
    row.sent_to = ", ".join(names.get(pk, "?") for pk in row.before.get("sent_to", ()))
    row.said = "; ".join(f"{answer['name']}: {LABELS[answer['label']]}" for answer in row.before.get("answers", ()))
    return row


def _history(request: HttpRequest) -> tuple[review_queue.HistoryForm, Any]:
    form = review_queue.HistoryForm(request.GET)
    try:
        return form, review_queue.history(review_queue.chosen(form), request.GET.get("before", ""))
    except ValueError:
        raise Http404("There is no such page.") from None


@requires("review")
@require_safe
def history(request: HttpRequest) -> HttpResponse:
    form, rows = _history(request)
    found = [_told(row) for row in rows[: DECISIONS_A_PAGE + 1]]
    more = ""
    if len(found) > DECISIONS_A_PAGE:
        last = found[DECISIONS_A_PAGE - 1]
        more = _query(request, before=f"{last.created_at.isoformat()}~{last.pk}")
    context = {
        "form": form, "rows": found[:DECISIONS_A_PAGE], "more": more, "query": _query(request),
        "is_first": not request.GET.get("before"),
    }  # fmt: skip
    return render(request, "annotation/review_history.html", context)


@requires("review")
@require_safe
def history_table(request: HttpRequest) -> HttpResponse:
    _, rows = _history(request)
    head = [
        "decision", "when_utc", "reviewer", "candidate", "action", "label", "comment", "made_in", "consensus_before",
        "method_before", "who_said_what", "sent_to",
    ]  # fmt: skip
    table = (
        [
            str(row.pk), row.created_at.isoformat(), row.reviewer.username, row.candidate_id, row.action,
            "" if row.label is None else LABELS[row.label], row.comment, row.made_in,
            "" if row.before_label is None else LABELS[row.before_label],
            (row.before.get("consensus") or {}).get("method", ""), row.said, row.sent_to,
        ]
        for row in map(_told, rows[:ROWS_OF_CSV])
    )  # fmt: skip
    return as_csv("adproof-decisions", head, table)
