"""The figures of the home page. A few queries for everybody, kept for a moment: many people poll them."""

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q

from adproof.labels import Label
from annotation.models import Annotation, Consensus, Task
from config.counted import counted
from datasets_app.models import DatasetVersion
from generation.models import Candidate, Generator, Product, Prompt
from rfnet_service.models import Checkpoint, Verdict
from runs.models import Run
from training.models import Round

CACHE_KEY = "home-numbers"
LEAST_AGE_S = 3


@dataclass(frozen=True)
class Availability:
    """How many of a generator's labelled candidates people call available."""

    generator: str
    is_in_use: bool
    labelled: int
    available: int

    @property
    def share(self) -> float:
        return self.available / self.labelled if self.labelled else 0.0


@dataclass(frozen=True)
class Numbers:
    products: int
    unsuitable: int
    prompts: int
    product_pictures: list[str]
    candidates: int
    drawn_twice: int
    candidate_pictures: list[str]
    unperceived: int
    perceived_pictures: list[str]
    open_tasks: int
    annotations: int
    annotators: int
    consensuses: int
    disagreed: int
    versions: int
    newest_version: DatasetVersion | None
    in_no_version: int
    unwritten_version: DatasetVersion | None
    untrained_version: DatasetVersion | None
    checkpoints: int
    promoted: Checkpoint | None
    better_checkpoint: Checkpoint | None
    judged: int
    unjudged: int
    unseen_by_people: int
    newest_round: Round | None
    generators: int
    tuned: int
    generator_in_use: Generator | None
    availability: list[Availability]
    # Settled candidates per label, in the labels' order.
    label_counts: list[int]
    # kind of run -> (unfinished ones, share done of the newest)
    busy: dict[str, tuple[int, float]] = field(default_factory=dict)


def numbers() -> Numbers:
    return counted(CACHE_KEY, count, LEAST_AGE_S)


def score(checkpoint: Checkpoint | None) -> float | None:
    """The figure by which checkpoints are compared: average precision of "available" on the samples it never saw."""
    for split in ("test", "validation"):
        figures: dict[str, Any] = (checkpoint.metrics if checkpoint else {}).get(split) or {}
        if figures.get("average_precision") is not None:
            return float(figures["average_precision"])
    return None


def count() -> Numbers:
    promoted = Checkpoint.objects.filter(is_promoted=True).first()
    candidates = Candidate.objects.count()
    unperceived = Candidate.objects.filter(depth_sha256="").count()
    judged = Verdict.objects.filter(checkpoint=promoted).count() if promoted else 0
    newest = list(Candidate.objects.order_by("-pk").values_list("image_sha256", "depth_sha256", "saliency_sha256")[:4])
    first_seen = [row for row in newest if row[1] and row[2]][:2]
    products = Product.objects.aggregate(all=Count("pk"), unsuitable=Count("pk", filter=Q(unsuitable=True)))
    agreed = Consensus.objects.filter(is_complete=True).aggregate(
        all=Count("pk"), disagreed=Count("pk", filter=Q(agreement__lt=0.75))
    )
    labelled = Annotation.objects.standing().aggregate(all=Count("pk"), people=Count("annotator", distinct=True))
    generators = list(Generator.objects.order_by("pk"))
    return Numbers(
        products=products["all"],
        unsuitable=products["unsuitable"],
        prompts=Prompt.objects.filter(is_active=True).count(),
        product_pictures=list(Product.objects.order_by("-pk").values_list("image_sha256", flat=True)[:4]),
        candidates=candidates,
        drawn_twice=Candidate.objects.filter(attempt__gt=1).count(),
        candidate_pictures=[row[0] for row in newest],
        unperceived=unperceived,
        perceived_pictures=[sha for row in first_seen for sha in row[1:]],
        open_tasks=Task.objects.open().filter(project__is_paused=False).count(),
        annotations=labelled["all"],
        annotators=labelled["people"],
        consensuses=agreed["all"],
        disagreed=agreed["disagreed"],
        versions=DatasetVersion.objects.count(),
        newest_version=DatasetVersion.objects.order_by("-pk").first(),
        in_no_version=Consensus.objects.filter(
            is_complete=True, candidate__product__unsuitable=False, candidate__version_rows=None
        ).count(),
        unwritten_version=DatasetVersion.objects.filter(state="frozen").order_by("-pk").first(),
        untrained_version=DatasetVersion.objects.filter(state="written", checkpoints=None, trainings=None)
        .order_by("-pk")
        .first(),
        checkpoints=Checkpoint.objects.count(),
        promoted=promoted,
        better_checkpoint=_better_than(promoted),
        judged=judged,
        unjudged=max(0, candidates - unperceived - judged) if promoted else 0,
        unseen_by_people=Verdict.objects.filter(checkpoint=promoted, candidate__tasks=None).count() if promoted else 0,
        newest_round=Round.objects.order_by("-number").first(),
        generators=len(generators),
        tuned=sum(generator.parent_id is not None for generator in generators),
        generator_in_use=next((generator for generator in generators if generator.is_in_use), None),
        availability=_availability(generators),
        label_counts=_label_counts(),
        busy=_busy(),
    )


def _better_than(promoted: Checkpoint | None) -> Checkpoint | None:
    """The newest checkpoint that scores higher than the one in use; any, while none is in use."""
    least = score(promoted)
    for checkpoint in Checkpoint.objects.filter(is_promoted=False).order_by("-pk")[:20]:
        reached = score(checkpoint)
        if promoted is None or (reached is not None and least is not None and reached > least):
            return checkpoint
    return None


def _availability(generators: list[Generator]) -> list[Availability]:
    rows = Consensus.objects.filter(is_complete=True, candidate__product__unsuitable=False).values(
        "candidate__generator"
    )
    rows = rows.annotate(labelled=Count("pk"), available=Count("pk", filter=Q(label=Label.AVAILABLE))).order_by()
    counts = {row["candidate__generator"]: (row["labelled"], row["available"]) for row in rows}
    return [
        Availability(generator.name, generator.is_in_use, *counts[generator.pk])
        for generator in generators
        if generator.pk in counts
    ]


def _label_counts() -> list[int]:
    rows = Consensus.objects.filter(is_complete=True, candidate__product__unsuitable=False)
    counts = dict(rows.values_list("label").annotate(Count("pk")).order_by())
    return [counts.get(int(label), 0) for label in Label]


def _busy() -> dict[str, tuple[int, float]]:
    busy: dict[str, tuple[int, float]] = {}
    for run in Run.objects.top_level().unfinished().order_by("pk").only("kind", "state", "done", "total"):
        busy[run.kind] = (busy.get(run.kind, (0, 0.0))[0] + 1, run.share_done)
    return busy
