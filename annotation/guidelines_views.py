"""The guidelines, as everybody reads them, and the editor with its versions."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.roles import requires
from adproof.labels import TITLES
from annotation import guidelines as actions
from annotation.guidelines import Outdated
from annotation.guidelines_forms import GuidelinesForm, initial
from annotation.models import Guidelines, Project
from annotation.usual_examples import EXAMPLES_PER_LABEL, agreed_on
from annotation.views import chosen_project, labels_with_examples
from generation.models import Candidate

VERSIONS_A_PAGE = 20


@requires("label")
@require_safe
def guidelines(request: HttpRequest) -> HttpResponse:
    project = chosen_project(request)
    version = actions.in_force(project) if project else None
    own = actions.examples_of(version) if version else {}
    labels = labels_with_examples()
    for label in labels:
        label["examples"] = [_url(row.image_sha256) for row in own.get(label["number"], [])] or _usual(label["number"])
    return render(request, "annotation/guidelines.html", {"project": project, "version": version, "labels": labels})


def _usual(label: int) -> list[str]:
    """Real candidates on which three people or more agree; few pictures would teach chance, so all or none."""
    found = agreed_on(label)
    if len(found) == EXAMPLES_PER_LABEL:
        return [_url(sha256) for sha256 in found]
    return [static(f"annotation/examples/{label}-{number}.webp") for number in range(1, EXAMPLES_PER_LABEL + 1)]


def _url(sha256: str) -> str:
    return reverse("thumbnail", args=[384, sha256])


# --- the editor


@requires("manage_tasks")
@require_http_methods(["GET", "HEAD", "POST"])
def guidelines_edit(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    if request.method != "POST":
        form = GuidelinesForm(initial=initial(actions.in_force(project), _added(request)))
        return _editor(request, project, form)
    form = GuidelinesForm(request.POST)
    if not form.is_valid():
        return _editor(request, project, form, status=422)
    if "preview" in request.POST:
        return _editor(request, project, form, preview=True)
    said = form.cleaned_data
    try:
        saved = actions.save(project, said["text"], form.examples(), request.user, based_on=said["based_on"])
    except Outdated as outdated:
        # What was written stays in the form; saving it again means: instead of theirs.
        again = GuidelinesForm({**request.POST.dict(), "based_on": outdated.newest.version})
        again.is_valid()
        return _editor(request, project, again, outdated=outdated, status=409)
    if saved.version == said["based_on"]:
        messages.info(request, "Nothing is different: no new version.")
    else:
        messages.success(request, f"Version {saved.version} is in force: the desk shows it from now on.")
    return redirect("guidelines_edit", pk)


def _added(request: HttpRequest) -> tuple[int, int] | None:
    """?label=2&example=40: the label browser's way to choose a picture."""
    label, example = request.GET.get("label", ""), request.GET.get("example", "")
    if label not in {str(int(number)) for number in TITLES} or not (example.isascii() and example.isdigit()):
        return None
    return (int(label), int(example)) if len(example) < 19 else None


def _editor(
    request: HttpRequest,
    project: Project,
    form: GuidelinesForm,
    *,
    status: int = 200,
    preview: bool = False,
    outdated: Outdated | None = None,
) -> HttpResponse:
    rows = Guidelines.objects.filter(project=project).select_related("author").order_by("-version")
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 10:
        rows = rows.filter(version__lt=int(before))
    versions = list(rows[: VERSIONS_A_PAGE + 1])
    text = form["text"].value() or ""
    context: dict[str, Any] = {
        "project": project,
        "form": form,
        "labels": _label_fields(form),
        "versions": versions[:VERSIONS_A_PAGE],
        "older": versions[VERSIONS_A_PAGE - 1].version if len(versions) > VERSIONS_A_PAGE else None,
        "preview": text if preview else None,
        "outdated": outdated,
        "changes": list(actions.difference(outdated.newest.text, text.replace("\r\n", "\n"))) if outdated else [],
        "examples": _examples_changed(outdated.newest.examples, _as_stored(form)) if outdated else [],
        "is_unsaved": preview or outdated is not None or _added(request) is not None,
    }
    return render(request, "annotation/guidelines_edit.html", context, status=status)


def _as_stored(form: GuidelinesForm) -> dict[str, list[int]]:
    return {str(label): ids for label, ids in form.examples().items()}


def _label_fields(form: GuidelinesForm) -> list[dict[str, Any]]:
    """Each label with its field, and the pictures that the numbers in it mean."""
    names = {int(number): form[f"label_{int(number)}"] for number in TITLES}
    asked = {label: _ids(field.value() or "") for label, field in names.items()}
    rows = Candidate.objects.in_bulk({pk for ids in asked.values() for pk in ids})
    return [
        {"number": label, "field": field, "rows": [rows[pk] for pk in asked[label] if pk in rows]}
        for label, field in names.items()
    ]


def _ids(text: str) -> list[int]:
    words = text.replace(",", " ").replace(";", " ").split()
    return [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 19][:20]


@requires("manage_tasks")
@require_safe
def guidelines_version(request: HttpRequest, pk: int, version: int) -> HttpResponse:
    """One version, with what is different from the one before, or from ?against=."""
    project = get_object_or_404(Project, pk=pk)
    rows = Guidelines.objects.filter(project=project).select_related("author")
    row = get_object_or_404(rows, version=version)
    asked = request.GET.get("against", "")
    if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        raise Http404("There is no such version.")
    other = get_object_or_404(rows, version=int(asked)) if asked else rows.filter(version__lt=version).order_by("version").last()
    context = {
        "project": project,
        "row": row,
        "other": other,
        "changes": list(actions.difference(other.text, row.text)) if other else [],
        "examples": _examples_changed(other.examples, row.examples) if other else [],
        "shown": [{"title": TITLES[label], "number": label, "rows": found} for label, found in _shown(row)],
        "is_in_force": row.version == project.guidelines_version,
        "others": list(rows.exclude(pk=row.pk).order_by("-version").values_list("version", flat=True)[:50]),
    }
    return render(request, "annotation/guidelines_version.html", context)


def _shown(row: Guidelines) -> list[tuple[Any, list[Candidate]]]:
    found = actions.examples_of(row)
    return [(number, found[int(number)]) for number in TITLES if found.get(int(number))]


def _examples_changed(before: dict[str, list[int]], after: dict[str, list[int]]) -> list[str]:
    """ "Floating: 12 added, 40 removed", for each label with other examples."""
    said = []
    for number, title in TITLES.items():
        was, now = (set(examples.get(str(int(number)), [])) for examples in (before, after))
        words = [f"{pk} added" for pk in sorted(now - was)] + [f"{pk} removed" for pk in sorted(was - now)]
        if words:
            said.append(f"{title}: {', '.join(words)}")
    return said


@requires("manage_tasks")
@require_POST
def guidelines_restore(request: HttpRequest, pk: int, version: int) -> HttpResponse:
    """The newest version that was seen comes with the press: nobody's later work is undone unseen."""
    project = get_object_or_404(Project, pk=pk)
    get_object_or_404(Guidelines, project=project, version=version)
    based_on = request.POST.get("based_on", "")
    if not (based_on.isascii() and based_on.isdigit() and len(based_on) < 10):
        messages.error(request, "Say which version this was decided upon: use the page's button.")
        return redirect("guidelines_version", pk, version)
    try:
        made = actions.restore(project, version, request.user, based_on=int(based_on))
    except Outdated as outdated:
        messages.error(request, f"{outdated} Nothing was restored: look at that one first.")
        return redirect("guidelines_version", pk, outdated.newest.version)
    if made.version == int(based_on):
        messages.info(request, "It says what the version in force says: nothing was restored.")
    else:
        messages.success(request, f"Version {version} is in force again, as version {made.version}.")
    return redirect("guidelines_edit", pk)
