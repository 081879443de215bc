"""What became of dataset versions: which grew from which, who learnt from them, whom those judged, what they picked."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from datasets_app.models import DatasetVersion
from rfnet_service.models import Checkpoint, Verdict
from training.models import Round, Training

MOST_VERSIONS = 12
MOST_CHAINS = 6  # trainings of a version
MOST_ROUNDS = 6  # of a checkpoint
COUNT_AT_MOST = 10_000


@dataclass
class Chain:
    """A training (none: somebody brought the weights), the checkpoint that it made, and what that did."""

    training: Training | None
    checkpoint: Checkpoint | None
    judged: int = 0  # COUNT_AT_MOST + 1: more than COUNT_AT_MOST
    rounds: list[Round] = field(default_factory=list)
    more_rounds: bool = False


@dataclass
class Step:
    version: DatasetVersion
    chains: list[Chain]
    more_chains: bool
    # The round that froze it, if a round did.
    frozen_by: Round | None


def versions_around(version: DatasetVersion) -> list[DatasetVersion]:
    """Newest first: MOST_VERSIONS of its name with this one among them, and its parent in any case."""
    rows = (
        DatasetVersion.objects.filter(name=version.name)
        .defer("manifest", "counts")
        .select_related("parent", "write_run")
    )
    newer = list(rows.filter(number__gt=version.number).order_by("number")[: MOST_VERSIONS // 2])[::-1]
    older = list(rows.filter(number__lte=version.number).order_by("-number")[: MOST_VERSIONS - len(newer)])
    found = [*newer, *older]
    parent = version.parent
    return found if parent is None or parent in found else [*found, parent]


def steps(version: DatasetVersion) -> list[Step]:
    versions = versions_around(version)
    trainings = _by_version(
        Training.objects.filter(dataset_version__in=versions).select_related("run", "checkpoint").order_by("-pk")
    )
    checkpoints = _by_version(Checkpoint.objects.filter(dataset_version__in=versions).defer("config").order_by("-pk"))
    frozen_by = {
        row.dataset_version_id: row for row in Round.objects.filter(dataset_version__in=versions).order_by("-pk")
    }
    return [
        Step(one, *_chains(trainings[one.pk], checkpoints[one.pk]), frozen_by.get(one.pk)) for one in versions
    ]  # fmt: skip


def _by_version(rows: Any) -> dict[int, list[Any]]:
    """Bounded: a version has few trainings, and more than a page of them is told, not drawn."""
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows[: MOST_VERSIONS * MOST_CHAINS * 4]:
        found[row.dataset_version_id].append(row)
    return found


def _chains(trainings: list[Training], checkpoints: list[Checkpoint]) -> tuple[list[Chain], bool]:
    made = {row.checkpoint_id for row in trainings}
    chains = [Chain(row, row.checkpoint) for row in trainings]
    chains += [Chain(None, row) for row in checkpoints if row.pk not in made]
    shown = chains[:MOST_CHAINS]
    for chain in shown:
        if chain.checkpoint is not None:
            chain.judged = Verdict.objects.filter(checkpoint=chain.checkpoint)[: COUNT_AT_MOST + 1].count()
            rounds = list(Round.objects.filter(picked_by=chain.checkpoint).order_by("-number")[: MOST_ROUNDS + 1])
            chain.rounds, chain.more_rounds = rounds[:MOST_ROUNDS], len(rounds) > MOST_ROUNDS
    return shown, len(chains) > MOST_CHAINS
