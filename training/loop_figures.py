"""The figures, tables and pictures of the loop's report, all read from what the loop stored."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from adproof.labels import LABELS, TITLES
from adproof.perception.pictures import open_picture
from annotation.models import Annotation, AnnotatorQuality
from datasets_app.actions import compare
from datasets_app.models import DatasetVersion
from generation.blobs import blobs
from generation.models import Candidate, Generator
from rfnet_service.actions import promoted
from rfnet_service.models import Checkpoint, Verdict
from training.models import Round

if TYPE_CHECKING:
    from training.loop import Loop


def sum_up(loop: Loop, tuned: Generator) -> None:
    report = loop.report
    before, after = availability(loop, loop.base), availability(loop, tuned)
    checkpoint = promoted()
    assert checkpoint is not None
    test = checkpoint.metrics.get("test") or {}
    version = DatasetVersion.objects.order_by("-number").first()
    assert version is not None
    report.tables["availability"] = [{"generator": "base", **before}, {"generator": "tuned (RFFT)", **after}]
    report.tables["diversity"] = [
        {"generator": name, **diversity(loop, one)} for name, one in (("base", loop.base), ("tuned (RFFT)", tuned))
    ]
    report.tables["rounds"] = [_round(one) for one in Round.objects.order_by("number")]
    report.tables["versions"] = [_version(one) for one in DatasetVersion.objects.order_by("number")]
    report.tables["rfnet"] = [_checkpoint(one) for one in Checkpoint.objects.order_by("pk")]
    report.tables["annotators"] = [
        {
            "annotator": str(one.annotator),
            "annotations": one.annotation_count,
            "accuracy (Dawid-Skene)": round(one.accuracy, 3),
        }
        for one in AnnotatorQuality.objects.select_related("annotator").order_by("annotator")
    ]
    report.figures |= {
        "availability_before": before["people"],
        "availability_after": after["people"],
        "availability_before_judge": before["judge"],
        "availability_after_judge": after["judge"],
        "availability_before_rfnet": before["RFNet"],
        "availability_after_rfnet": after["RFNet"],
        "labels_spent": Annotation.objects.standing().filter(task__project=loop.project).count(),
        "labels_to_compare": Annotation.objects.standing().exclude(task__project=loop.project).count(),
        "rfnet_f1": test.get("f1"),
        "rfnet_ap": test.get("average_precision"),
        "rfnet_test_samples": test.get("n"),
        "rfnet_promoted": checkpoint.name,
        "dataset_rows": version.row_count,
        "candidates": Candidate.objects.count(),
        "minutes": round((time.time() - report.started) / 60, 2),
        "seed": report.seed,
    }
    report.pictures = pictures(loop, tuned)


def availability(loop: Loop, generator: Generator) -> dict[str, Any]:
    """Share of available among the compared images: by the simulated people, by the independent judge, by RFNet."""
    candidates = loop._compared(generator)
    ids = [candidate.pk for candidate in candidates]
    blind = Annotation.objects.standing().filter(task__project__name="Before and after", candidate__in=ids)
    votes: dict[int, Counter[int]] = {}
    for candidate, label in blind.values_list("candidate_id", "label"):
        votes.setdefault(candidate, Counter())[label] += 1
    majority = [counts.most_common(1)[0][0] for counts in votes.values()]
    judged = judge_probs(candidates)
    verdicts = np.array(
        list(Verdict.objects.filter(checkpoint=promoted(), candidate__in=ids).values_list("probs", flat=True))
    )
    n = len(candidates)
    people = float(np.mean([label == 0 for label in majority])) if majority else None
    return {
        "images": n,
        "people": _round3(people),
        "standard error": _round3((people * (1 - people) / n) ** 0.5 if people is not None and n else None),
        "judge": _round3((judged.argmax(1) == 0).mean()),
        "judge, mean p": _round3(judged[:, 0].mean()),
        "RFNet": _round3((verdicts.argmax(1) == 0).mean()) if len(verdicts) else None,
        "RFNet, mean p": _round3(verdicts[:, 0].mean()) if len(verdicts) else None,
        **{TITLES[label]: majority.count(label) for label in range(len(LABELS))},
    }


def judge_probs(candidates: list[Candidate]) -> np.ndarray:
    """(N, 5) float32: the independent judge's probabilities on stored candidates."""
    from annotation.simulated import Shown, judged_truth

    truth = judged_truth()
    rows = [
        truth(
            Shown(
                open_picture(blobs().get(one.product.image_sha256)),
                open_picture(blobs().get(one.image_sha256))[..., :3],
                one.image_scale,
                one.product.caption,
            )
        )
        for one in candidates
    ]
    return np.array(rows).reshape(-1, len(LABELS))


def diversity(loop: Loop, generator: Generator) -> dict[str, Any]:
    """How different the pictures are: mean distance of colour thumbnails (8x8 RGB, 0..1). Falls when tuning collapses."""
    thumbnails = []
    for candidate in loop._compared(generator):
        image = open_picture(blobs().get(candidate.image_sha256))[..., :3].astype(np.float32) / 255
        side = image.shape[0] // 8
        thumbnails.append(image[: side * 8, : side * 8].reshape(8, side, 8, side, 3).mean((1, 3)).ravel())
    flat = np.array(thumbnails)
    if len(flat) < 2:
        return {"thumbnail distance": None}
    distances = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(2))
    return {"thumbnail distance": _round3(distances[np.triu_indices(len(flat), 1)].mean())}


def _round(one: Round) -> dict[str, Any]:
    before, after = one.summary.get("before") or {}, one.summary.get("after") or {}
    return {
        "round": one.number, "strategy": one.strategy, "picked": one.picked_count, **one.summary.get("picked", {}),
        "F1 before": _round3(before.get("f1")), "F1 after": _round3(after.get("f1")),
        "AP before": _round3(before.get("average_precision")), "AP after": _round3(after.get("average_precision")),
    }  # fmt: skip


def _version(one: DatasetVersion) -> dict[str, Any]:
    row = {"version": str(one), "rows": one.row_count, "MB": round(one.size_bytes / 1e6, 1), "digest": one.digest[:12]}
    row |= {name: sum(split.get(name, 0) for split in one.counts.values()) for name in LABELS}
    if one.parent:
        row |= compare(one.parent, one)
    return row


def _checkpoint(one: Checkpoint) -> dict[str, Any]:
    test = one.metrics.get("test") or {}
    names = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "average_precision": "AP",
        "ece": "ECE",
        "n": "test samples",
    }
    return {
        "checkpoint": one.name,
        **{title: _round3(test.get(key)) for key, title in names.items()},
        "in use": one.is_promoted,
    }


def pictures(loop: Loop, tuned: Generator, most: int = 8) -> list[dict[str, Any]]:
    """The same product, prompt and seed, before and after, with what people said."""
    after = {(one.product_id, one.prompt_id, one.seed): one for one in loop._compared(tuned)}
    said = {}
    for candidate, label in (
        Annotation.objects.standing()
        .filter(task__project__name="Before and after")
        .values_list("candidate_id", "label")
    ):
        said.setdefault(candidate, []).append(TITLES[label])
    rows = []
    for one in loop._compared(loop.base):
        other = after.get((one.product_id, one.prompt_id, one.seed))
        if other is not None and len(rows) < most:
            rows.append(
                {
                    "title": one.product.title, "prompt": one.prompt_text, "before": one.image_sha256, "after": other.image_sha256,
                    "said before": sorted(said.get(one.pk, [])), "said after": sorted(said.get(other.pk, [])),
                }
            )  # fmt: skip
    return rows


def _round3(value: Any) -> Any:
    return round(float(value), 3) if isinstance(value, (float, np.floating)) else value
