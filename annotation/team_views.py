"""Teams: who is in them, what is reserved for them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from accounts.roles import requires
from annotation import queue_changes
from annotation import teams as actions
from annotation.models import Team
from annotation.queue_forms import PeopleField
from runs.models import Run


class TeamForm(forms.ModelForm):
    members = PeopleField(label="Members", help_text="Without any, nobody is handed the tasks reserved for it.")

    class Meta:
        model = Team
        fields = ["name"]
        help_texts = {"name": "A skill (“Reads Arabic”), or whoever they are (“Night shift”)."}
        error_messages = {
            "name": {
                "required": "Give the team a name.",
                "unique": "There is a team of this name already: choose another.",
            }
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        team = self.instance
        if team.pk is None:
            return
        if team.people_key is not None:
            del self.fields["members"]
            return
        # Who is in it stays in the list, even if they can't log in any more.
        known = User.objects.filter(Q(is_active=True) | Q(teams=team)).order_by("is_simulated", "username").distinct()
        self.fields["members"].queryset = known
        self.initial["members"] = list(team.members.values_list("pk", flat=True))


@requires("manage_tasks")
@require_safe
def teams(request: HttpRequest) -> HttpResponse:
    rows = list(Team.objects.prefetch_related("members").order_by("people_key", "name"))
    found = actions.reserved(rows)
    for team in rows:
        team.reserved = sum(row.count for row in found[team.pk])
        team.is_counted_up = any(row.count > actions.COUNT_AT_MOST for row in found[team.pk])
    rows.sort(key=lambda team: (team.people_key is not None, team.name.lower()))
    return render(request, "annotation/teams.html", {"teams": rows})


@requires("manage_tasks")
@require_http_methods(["GET", "HEAD", "POST"])
def team_create(request: HttpRequest) -> HttpResponse:
    return _form(request, Team())


@requires("manage_tasks")
@require_http_methods(["GET", "HEAD", "POST"])
def team(request: HttpRequest, pk: int) -> HttpResponse:
    return _form(request, get_object_or_404(Team, pk=pk))


def _form(request: HttpRequest, row: Team) -> HttpResponse:
    name, is_new = row.name, row.pk is None
    form = TeamForm(request.POST if request.method == "POST" else None, instance=row)
    if form.is_bound and form.is_valid():
        with transaction.atomic():
            saved = form.save()
            if "members" in form.cleaned_data:
                actions.set_members(saved, form.cleaned_data["members"])
        messages.success(request, f"The team “{saved.name}” is saved.")
        return redirect("team", saved.pk)
    context: dict[str, Any] = {"form": form, "team": None if is_new else row, "name": name}
    if not is_new:
        context["reserved"] = actions.reserved([row])[row.pk]
        context["most"] = actions.COUNT_AT_MOST
        context["change"] = Run.objects.unfinished().filter(key=queue_changes.key_of(queue_changes.Which(team=row.pk))).first()
    return render(request, "annotation/team.html", context, status=422 if form.is_bound else 200)


@requires("manage_tasks")
@require_POST
def team_set_free(request: HttpRequest, pk: int) -> HttpResponse:
    """A run: there may be a million of them. Pressed twice, one run."""
    row = get_object_or_404(Team, pk=pk)
    return redirect("run", queue_changes.set_free(row, request.user).pk)


@requires("manage_tasks")
@require_POST
def team_delete(request: HttpRequest, pk: int) -> HttpResponse:
    row = get_object_or_404(Team, pk=pk)
    try:
        actions.delete(row)
    except actions.TeamInUse as in_use:
        messages.error(request, str(in_use))
        return redirect("team", pk)
    messages.success(request, f"The team “{row.name}” is deleted.")
    return redirect("teams")
