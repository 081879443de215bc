"""The figures of the home page. What grows with the platform is kept in the database (runs.counted); all of it for a moment
in this process, for many people poll them."""

from dataclasses import dataclass, field
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q

from adproof.labels import Label
from annotation.models import Annotation, Consensus, Task
from datasets_app.models import DatasetVersion
from generation.models import Candidate, Generator, Product, Prompt
from rfnet_service.models import Checkpoint, Verdict
from runs.counted import counted
from runs.models import Run
from training.models import Round

CACHE_KEY = "home-numbers"
AGE_S = 3


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
    found: Numbers | None = cache.get(CACHE_KEY)
    if found is None:
        found = count()
        cache.set(CACHE_KEY, found, AGE_S)
    return found


def score(checkpoint: Checkpoint | None) -> float | None:
    """The figure by which checkpoints are compared: average precision of "available" on the samples it never saw."""
    for split in ("test", "validation"):
        figures: dict[str, Any] = (checkpoint.metrics if checkpoint else {}).get(split) or {}
        if figures.get("average_precision") is not None:
            return float(figures["average_precision"])
    return None


def count() -> Numbers:
    promoted = Checkpoint.objects.filter(is_promoted=True).first()
    newest = list(Candidate.objects.order_by("-pk").values_list("image_sha256", "depth_sha256", "saliency_sha256")[:4])
    first_seen = [row for row in newest if row[1] and row[2]][:2]
    generators = list(Generator.objects.order_by("pk"))
    kept = counts()
    unperceived, judged = kept["unperceived"], kept["judged"] if promoted else 0
    return Numbers(
        products=kept["products"],
        unsuitable=kept["unsuitable"],
        prompts=Prompt.objects.filter(is_active=True).count(),
        product_pictures=[
            # Of one that nothing is cut out of yet, the picture as it came.
            product.original_sha256 if product.is_uncut else product.image_sha256
            for product in Product.objects.order_by("-pk")[:4]
        ],
        candidates=kept["candidates"],
        drawn_twice=kept["drawn_twice"],
        candidate_pictures=[row[0] for row in newest],
        unperceived=unperceived,
        perceived_pictures=[sha for row in first_seen for sha in row[1:]],
        open_tasks=kept["open_tasks"],
        annotations=kept["annotations"],
        annotators=kept["annotators"],
        consensuses=kept["consensuses"],
        disagreed=kept["disagreed"],
        versions=DatasetVersion.objects.count(),
        newest_version=DatasetVersion.objects.defer("manifest").order_by("-pk").first(),
        in_no_version=kept["in_no_version"],
        unwritten_version=DatasetVersion.objects.filter(state="frozen").order_by("-pk").first(),
        untrained_version=DatasetVersion.objects.filter(state="written", checkpoints=None, trainings=None)
        .defer("manifest")
        .order_by("-pk")
        .first(),
        checkpoints=Checkpoint.objects.count(),
        promoted=promoted,
        better_checkpoint=_better_than(promoted),
        judged=judged,
        unjudged=max(0, kept["candidates"] - unperceived - judged) if promoted else 0,
        unseen_by_people=kept["unseen_by_people"],
        newest_round=Round.objects.order_by("-number").first(),
        generators=len(generators),
        tuned=sum(generator.parent_id is not None for generator in generators),
        generator_in_use=next((generator for generator in generators if generator.is_in_use), None),
        availability=_availability(generators, kept["by_generator"]),
        label_counts=kept["by_label"],
        busy=_busy(),
    )


@counted("home")
def counts() -> dict[str, Any]:
    """All that grows with the platform."""
    promoted = Checkpoint.objects.filter(is_promoted=True).first()
    judged = Verdict.objects.filter(checkpoint=promoted)
    # Grouped by hash: counting distinct people would sort every answer there is.
    people = Annotation.objects.standing().values_list("annotator").annotate(n=Count("pk")).order_by()
    by_person = [n for _, n in people]
    return {
        **Product.objects.aggregate(products=Count("pk"), unsuitable=Count("pk", filter=Q(unsuitable=True))),
        "candidates": Candidate.objects.count(),
        "unperceived": Candidate.objects.filter(depth_sha256="").count(),
        "drawn_twice": Candidate.objects.filter(attempt__gt=1).count(),
        "open_tasks": Task.objects.open().filter(project__is_paused=False).count(),
        "annotations": sum(by_person),
        "annotators": len(by_person),
        **Consensus.objects.filter(is_complete=True).aggregate(
            consensuses=Count("pk"), disagreed=Count("pk", filter=Q(agreement__lt=0.75))
        ),
        "in_no_version": Consensus.objects.filter(
            is_complete=True, candidate__product__unsuitable=False, candidate__version_rows=None
        ).count(),
        "judged": judged.count() if promoted else 0,
        "unseen_by_people": judged.filter(candidate__tasks=None).count() if promoted else 0,
        **_settled(),
    }


def _settled() -> dict[str, Any]:
    """Settled candidates of suitable products: of each label, and of each generator (all, available)."""
    rows = Consensus.objects.filter(is_complete=True, candidate__product__unsuitable=False)
    by_label, by_generator = [0] * len(Label), dict[int, list[int]]()
    for generator, label, n in rows.values_list("candidate__generator", "label").annotate(n=Count("pk")).order_by():
        by_label[label] += n
        row = by_generator.setdefault(generator, [0, 0])
        row[0] += n
        row[1] += n * (label == Label.AVAILABLE)
    return {"by_label": by_label, "by_generator": [[generator, *row] for generator, row in by_generator.items()]}


def _better_than(promoted: Checkpoint | None) -> Checkpoint | None:
    """The newest checkpoint that scores higher than the one in use; any, while none is in use."""
    least = score(promoted)
    for checkpoint in Checkpoint.objects.filter(is_promoted=False).order_by("-pk")[:20]:
        reached = score(checkpoint)
        if promoted is None or (reached is not None and least is not None and reached > least):
            return checkpoint
    return None


def _availability(generators: list[Generator], counts: list[list[int]]) -> list[Availability]:
    of = {pk: (labelled, available) for pk, labelled, available in counts}
    return [
        Availability(generator.name, generator.is_in_use, *of[generator.pk])
        for generator in generators
        if generator.pk in of
    ]


def _busy() -> dict[str, tuple[int, float]]:
    busy: dict[str, tuple[int, float]] = {}
    for run in Run.objects.top_level().unfinished().order_by("pk").only("kind", "state", "done", "total"):
        busy[run.kind] = (busy.get(run.kind, (0, 0.0))[0] + 1, run.share_done)
    return busy
