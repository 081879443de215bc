"""A project of ours as Label Studio writes it: the label config, and tasks with their answers as JSON."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.sax.saxutils import escape, quoteattr

from django.conf import settings
from django.db.models import Prefetch
from django.urls import reverse

from adproof.labels import RULES, TITLES, Label
from annotation.models import Annotation, Project, Task
from generation.blobs import blobs

# In meta or data of a task: the key of its candidate, the same in every installation; or the SHA-256 of its picture.
CANDIDATE_KEY, SHA256_KEY = "adproof_candidate", "sha256"
CONTROL, PICTURE = "label", "picture"
NO_ADDRESS = "@adproof.invalid"  # stands for the e-mail address of people who gave none
_CHUNK = 500

PictureAddress = Callable[[str], str]


def label_config(project: Project) -> str:
    """Product and candidate side by side, the prompt if the project shows it, five labels on the keys 1 to 5."""
    choices = "\n".join(
        f"    <Choice value={quoteattr(TITLES[label])} hotkey={quoteattr(str(label + 1))} hint={quoteattr(RULES[label])}/>"
        for label in Label
    )
    prompt = '  <Text name="prompt" value="$prompt"/>\n' if project.shows_prompt else ""
    return f"""<View>
  <Header value="$title"/>
  <View style="display: flex; gap: 1rem">
    <View style="flex: 1"><Header value="The product" size="5"/><Image name="product" value="$product"/></View>
    <View style="flex: 1"><Header value="To judge" size="5"/><Image name="{PICTURE}" value="$picture"/></View>
  </View>
{prompt}  <Choices name="{CONTROL}" toName="{PICTURE}" choice="single" required="true">
{choices}
  </Choices>
</View>"""


def by_address(base: str) -> PictureAddress:
    """Pictures stay here; whoever labels must be able to open them (and be logged in, see `embedded`)."""
    return lambda sha256: base.rstrip("/") + reverse("picture", args=[sha256])


def embedded(sha256: str) -> str:
    """The picture itself, as a data URI: it needs no log-in, and nothing is fetched from here."""
    data = blobs().get(sha256)
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg" if data.startswith(b"\xff\xd8\xff") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def instructions(project: Project) -> str:
    """The labels' rules and the project's own guidelines, as the HTML that Label Studio shows before labelling."""
    rules = "".join(f"<li><b>{escape(TITLES[label])}</b>: {escape(RULES[label])}</li>" for label in Label)
    text = (part.strip() for part in project.guidelines.split("\n\n"))
    return f"<ol>{rules}</ol>" + "".join(f"<p>{escape(part)}</p>" for part in text if part)


def task_data(task: Task, project: Project, address: PictureAddress) -> dict[str, Any]:
    candidate = task.candidate
    data = {
        "title": candidate.product.title,
        "product": address(candidate.product.image_sha256),
        "picture": address(candidate.image_sha256),
    }
    if project.shows_prompt:
        data["prompt"] = candidate.prompt_text
    return {"data": data, "meta": {CANDIDATE_KEY: candidate.key}}


def exported(project: Project, address: PictureAddress) -> Iterator[dict[str, Any]]:
    """Every task of the project with the answers that count, as Label Studio's own JSON export has them."""
    answers = Annotation.objects.standing().select_related("annotator").order_by("created_at", "id")
    tasks = project.tasks.select_related("candidate__product").prefetch_related(
        Prefetch("annotations", queryset=answers, to_attr="counted")
    )
    for task in tasks.order_by("id").iterator(chunk_size=_CHUNK):
        answers = [_annotation(answer) for answer in task.counted]
        yield {"id": task.pk, **task_data(task, project, address), "annotations": answers}


def _annotation(answer: Annotation) -> dict[str, Any]:
    person = answer.annotator
    return {
        "id": number_of(answer.pk),
        "unique_id": str(answer.pk),
        # Label Studio keeps addresses in small letters and knows no others.
        "completed_by": {"id": person.pk, "email": person.email.lower() or person.username + NO_ADDRESS},
        "lead_time": answer.seconds,
        "created_at": answer.created_at.isoformat(),
        "was_cancelled": False,
        "result": [result_of(answer.label)],
    }


def number_of(pk: UUID) -> int:
    """Label Studio's ids are numbers. An answer imported there keeps this one as its import_id, and no other sign."""
    return pk.int >> 65


def result_of(label: int) -> dict[str, Any]:
    return {
        "from_name": CONTROL,
        "to_name": PICTURE,
        "type": "choices",
        "value": {"choices": [TITLES[Label(label)]]},
    }


def write_json(project: Project, path: Path, address: PictureAddress) -> tuple[int, int]:
    """Tasks and answers written; the file is complete or not there."""
    tasks = answers = 0
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            for piece, row in json_pieces(project, address):
                file.write(piece)
                tasks, answers = tasks + bool(row), answers + (len(row["annotations"]) if row else 0)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return tasks, answers


def json_pieces(project: Project, address: PictureAddress) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The text of the JSON list piece by piece, each with the row it holds: memory holds one."""
    separator = "[\n"
    for row in exported(project, address):
        yield separator + json.dumps(row, ensure_ascii=False), row
        separator = ",\n"
    yield "\n]\n" if separator == ",\n" else "[]\n", None


def default_address() -> str:
    host = next((host for host in settings.ALLOWED_HOSTS if host not in {"*", "testserver"}), "localhost")
    return f"http://{host.lstrip('.')}:8000"
