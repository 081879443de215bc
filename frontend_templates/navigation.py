"""The sections of the platform: what the top bar and the tabs under it show, and to whom."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True)
class Place:
    title: str
    url_name: str
    ability: str = ""
    # Pages that belong here besides url_name itself.
    also: tuple[str, ...] = ()


SECTIONS: list[tuple[Place, list[Place]]] = [
    (Place("Home", "home"), []),
    (
        Place("Products", "products", "see_candidates"),
        [
            Place("Products", "products", "see_candidates", ("product", "product_import", "product_edit")),
            Place("Cut-outs", "cut_outs", "edit_products", ("cut_out",)),
            Place("Prompts", "prompts", "see_candidates", ("prompt", "prompt_create")),
            Place("Which prompts work", "prompt_results", "see_candidates", ("prompt_result",)),
            Place("Variables", "variables", "see_candidates", ("variable", "variable_create")),
            Place("Categories", "category_defaults", "generate"),
            Place("Generators", "generators", "see_candidates", ("generator",)),
        ],
    ),
    (Place("Candidates", "candidates", "see_candidates", ("candidate", "generate")), []),
    (Place("Label", "desk", "label"), []),
    (Place("Pairs", "pairs", "label"), []),
    (
        Place("Quality", "quality", "see_quality"),
        [
            Place("Quality", "quality", "see_quality"),
            Place("Annotators", "annotators", "see_quality", ("annotator",)),
            Place("Review", "review", "review", ("review-candidate",)),
            Place("Grid", "grid-new", "review", ("grid",)),
            Place("Decisions", "review-history", "review"),
            Place("Labels", "labels", "see_quality", ("snapshot", "snapshot_act")),
            Place(
                "Projects",
                "projects",
                "see_quality",
                (
                    "project",
                    "project_create",
                    "gold",
                    "queue",
                    "queue_change",
                    "guidelines_edit",
                    "guidelines_version",
                    "project_pairs",
                ),
            ),
            Place("Teams", "teams", "manage_tasks", ("team", "team_create")),
        ],
    ),
    (
        Place(
            "Datasets",
            "datasets",
            "freeze_datasets",
            ("dataset", "dataset_compare", "dataset_lineage", "dataset_inspect", "dataset_card", "label_errors"),
        ),
        [
            Place(
                "Versions",
                "datasets",
                "freeze_datasets",
                ("dataset", "dataset_compare", "dataset_lineage", "dataset_inspect", "dataset_card", "label_errors"),
            ),
            Place("Import", "imports", "import_data", ("import",)),
        ],
    ),
    (
        Place("Training", "trainings", "train"),
        [
            Place("Trainings", "trainings", "train", ("training", "training_start")),
            Place("Checkpoints", "checkpoints", "train", ("checkpoint",)),
            Place("Rounds", "rounds", "train", ("round",)),
        ],
    ),
    (Place("Runs", "runs", "see_runs", ("run", "generation-failed")), []),
]


def link(place: Place, request: HttpRequest, current: bool) -> dict[str, Any] | None:
    if place.ability and not request.user.may(place.ability):
        return None
    try:
        return {"title": place.title, "url": reverse(place.url_name), "current": current}
    except NoReverseMatch:  # this page is not there (yet)
        return None


def navigation(request: HttpRequest) -> dict[str, list[dict[str, Any]]]:
    """{"sections": links of the top bar, "tabs": links of the section we are in, if it has more than one}."""
    if not request.user.is_authenticated:
        return {"sections": [], "tabs": []}
    here = request.resolver_match.url_name if request.resolver_match else ""

    def is_here(place: Place) -> bool:
        return here == place.url_name or here in place.also

    sections, tabs = [], []
    for section, children in SECTIONS:
        current = is_here(section) or any(is_here(child) for child in children)
        sections.append(link(section, request, current))
        if current:
            tabs = [link(child, request, is_here(child)) for child in children]
    tabs = [tab for tab in tabs if tab]
    return {"sections": [item for item in sections if item], "tabs": tabs if len(tabs) > 1 else []}
