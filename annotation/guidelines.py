"""Versions of a project's guidelines: an edit is a new version, and each annotation knows which one its annotator saw."""

from __future__ import annotations

from typing import Any

from annotation.models import Guidelines, Project


def record_guidelines(project: Project, author: Any, examples: dict[str, Any] | None = None) -> Guidelines:
    """Keep the text that the project has now under its version; examples are taken over from the version before."""
    if examples is None:
        before = Guidelines.objects.filter(project=project).order_by("-version").first()
        examples = before.examples if before else {}
    return Guidelines.objects.get_or_create(
        project=project,
        version=project.guidelines_version,
        defaults={"text": project.guidelines, "examples": examples, "author": author},
    )[0]
