"""What the demo starts with. Safe to run again: what is there is left alone."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.models import User
from annotation.models import Project
from generation import samples
from generation.models import Candidate, Generator, Product, Prompt
from generation.planning import start_generation
from runs.models import Run

PASSWORD = "adproof-demo"
PEOPLE = {
    "ann": ("Ann", "annotator"), "bo": ("Bo", "annotator"), "rita": ("Rita", "reviewer"), "max": ("Max", "manager"),
    "mia": ("Mia", "ml"), "olga": ("Olga", "operator"),
}  # fmt: skip
FIRST_CANDIDATES = 96
PROJECT = "Advertising images"


class Command(BaseCommand):
    help = "Demo people, sample products, prompts, the mini generator, a project, and the first candidates."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--no-candidates", action="store_true")

    def handle(self, *args: Any, no_candidates: bool, **options: Any) -> None:
        make_people()
        if not Product.objects.filter(source=samples.SAMPLE_SOURCE).exists():
            self.stdout.write(f"Sample catalogue: {samples.import_catalogue()} products")
        samples.make_prompts()
        samples.make_variables()
        generator = samples.mini_generator()
        project = make_project()
        if not no_candidates and not Candidate.objects.exists() and not Run.objects.filter(kind="generate").exists():
            first_candidates(generator, project)


def make_people() -> None:
    for name, (first, role) in PEOPLE.items():
        user, made = User.objects.get_or_create(
            username=name,
            defaults={
                "first_name": first,
                "role": role,
                "is_demo": True,
                "is_staff": role in {"ml", "operator"},
                "is_superuser": role == "operator",
            },
        )
        if made:
            user.set_password(PASSWORD)
            user.save(update_fields=["password"])


def make_project() -> Project:
    return Project.objects.get_or_create(name=PROJECT)[0]


def first_candidates(generator: Generator, project: Project) -> Run:
    """Drawn in small parts; each part's images go to the desk as soon as they are there."""
    return start_generation(
        products=list(Product.objects.filter(source=samples.SAMPLE_SOURCE).order_by("pk")),
        prompts=list(Prompt.objects.filter(is_active=True).order_by("pk")), generator=generator,
        limit=FIRST_CANDIDATES, part_size=8,
        then_each_part=[["first_tasks", {"project": project.pk}]],
    )  # fmt: skip
