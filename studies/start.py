"""How well RFNet's start suits the mini generator's pictures: its own head, and what a few labels make of it.

    python -m studies.untuned data/train/untuned --count 800
    python -m studies.start data/train/untuned --starts adproof/models/mini/rfnet_init data/train/rf/init

The pictures of studies.untuned are split by product. On all of them each start's own head (which a training throws away) is
compared with the independent judge's likeliest label. Then the `mini` training, from each start and with each seed, learns
from 224 of them by the labels of six simulated people, two to a picture, made one by Dawid-Skene, as `make loop` does; and
is compared with the judge on the pictures of the other products. The judge's labels are not truth: it errs as well. No start
may have seen the pictures, nor the judge's answers. Packed pictures and finished trainings in --out are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adproof.adworld.catalogue import load_catalogue
from adproof.adworld.drawn import DrawnScenes
from adproof.adworld.learning import Scenes, logits_of
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.labels import N_LABELS
from adproof.perception.pictures import open_picture, png_to_depth, png_to_saliency
from adproof.rfnet.calibration import softmax
from adproof.rfnet.checkpoint import load_checkpoint
from adproof.rfnet.config import RFNetConfig, TrainConfig, mini_network, mini_training
from adproof.rfnet.data import Packed, RFNetData, caption_of
from adproof.rfnet.metrics import evaluate
from adproof.rfnet.preprocess import RFNetSample, pack, unpack
from adproof.rfnet.train import train
from adproof.shards.schema import SPLITS
from adproof.simulate import crowd

LEARNT, PEOPLE, OVERLAP, EPOCHS = 224, 6, 2, 10  # as the loop has them
SHARPNESS = 3.0  # people make up their mind, as in the loop


class Ready(RFNetData):
    """Pictures that were packed before."""

    def __init__(self, packed: Packed) -> None:
        super().__init__([], None)
        self.packed = packed

    @property
    def digest(self) -> str:
        return self.packed.digest

    def pack(self, config: RFNetConfig, cache: Path | None = None) -> Packed:
        return self.packed


def packed_pictures(folder: Path, rows: list[dict[str, Any]], cache: Path) -> tuple[np.ndarray, list[str]]:
    """((N, 9, S, S) uint8, captions) of what studies.untuned drew."""
    entries = {entry.sku: entry for entry in load_catalogue()}
    captions = [caption_of(entries[row["sku"]].title, entries[row["sku"]].description) for row in rows]
    if cache.is_file():
        return np.load(cache), captions
    planes = []
    for row, caption in zip(rows, captions, strict=True):
        name = f"{row['number']:04d}"
        sample = RFNetSample(
            product=entries[row["sku"]].image(),
            generated=open_picture((folder / f"{name}.png").read_bytes()),
            depth=png_to_depth((folder / f"{name}-depth.png").read_bytes()),
            saliency=png_to_saliency((folder / f"{name}-saliency.png").read_bytes()),
            caption=caption,
        )
        planes.append(pack(sample, mini_network()))
    np.save(cache, np.stack(planes))
    return np.stack(planes), captions


def own_head(start: Path, planes: np.ndarray, captions: list[str]) -> np.ndarray:
    """(N, 5) probabilities."""
    checkpoint = load_checkpoint(start)
    ids = torch.from_numpy(checkpoint.tokenizer(captions))
    with torch.no_grad():
        logits = [
            checkpoint.network(unpack(torch.from_numpy(planes[at : at + 64])), ids[at : at + 64]).numpy()
            for at in range(0, len(planes), 64)
        ]
    return softmax(np.concatenate(logits), checkpoint.temperature)


def on_scenes(start: Path, folder: Path) -> dict[str, Any]:
    """Figures of the own head on scenes whose labels are known."""
    checkpoint, scenes = load_checkpoint(start), DrawnScenes(folder)
    logits = logits_of(checkpoint.network, Scenes(scenes, checkpoint.tokenizer, lambda pictures, _: pictures))
    return evaluate(softmax(logits), scenes.labels).as_dict()


def by_product(rows: list[dict[str, Any]], seed: int) -> np.ndarray:
    """(N,) which of SPLITS: 224 to learn from, about 56 to calibrate on, the rest to measure on; a product is in one."""
    skus = sorted({row["sku"] for row in rows})
    split = {}
    learnt = calibrated = 0
    for sku in np.random.default_rng(seed).permutation(skus):
        count = sum(row["sku"] == sku for row in rows)
        if learnt < LEARNT:
            split[sku], learnt = "train", learnt + count
        elif calibrated < LEARNT // 4:
            split[sku], calibrated = "validation", calibrated + count
        else:
            split[sku] = "test"
    found = np.array([SPLITS.index(split[row["sku"]]) for row in rows])
    found[np.flatnonzero(found == SPLITS.index("train"))[LEARNT:]] = SPLITS.index("validation")
    return found


def peoples_labels(judge: np.ndarray, seed: int) -> np.ndarray:
    """(N,) what six people say who see the pictures through the judge."""
    rng = np.random.default_rng(seed)
    people = crowd(PEOPLE, rng)
    sharp = judge**SHARPNESS
    sharp /= sharp.sum(1, keepdims=True)
    who = np.stack([rng.permutation(PEOPLE)[:OVERLAP] for _ in judge])
    answers = [int(people[k].label(sharp[i])[0]) for i, pair in enumerate(who) for k in pair]
    fitted = DawidSkene().fit(np.repeat(np.arange(len(judge)), OVERLAP), who.ravel(), answers, N_LABELS)
    return fitted.label


def told(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    recalls = " ".join(" - " if r is None else f"{r:.2f}" for r in figures["recall_per_label"])
    short = {key: round(figures[key], 3) for key in ("accuracy", "precision", "recall", "f1", "average_precision")}
    print(f"{name:38} {figures['n']:4} " + " ".join(f"{value:6.3f}" for value in short.values()) + f"  {recalls}", flush=True)
    return {"name": name, "n": figures["n"], **short, "recall_per_label": figures["recall_per_label"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of studies.untuned")
    parser.add_argument("--starts", type=Path, nargs="+", required=True, help="checkpoint folders to compare")
    parser.add_argument("--scenes", type=Path, nargs="*", default=[], help="folders of adproof.adworld.drawn to measure on")
    parser.add_argument("--seeds", type=int, default=3, help="trainings from each start; 0: only the own heads")
    parser.add_argument("--out", type=Path, default=Path("data/studies/start"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = json.loads((args.pictures / "candidates.json").read_text())
    judge = np.array([row["independent judge"] for row in rows])
    planes, captions = packed_pictures(args.pictures, rows, args.out / "planes.npy")
    print(f"{'':38} {'n':>4}   acc.  prec. recall     F1     AP  recall of available/space/size/indistinct/hallucination")
    labels, result = judge.argmax(1), []
    everything = np.tile(np.eye(N_LABELS)[0], (len(labels), 1))
    result.append(told("all called available", evaluate(everything, labels).as_dict()))
    for start in args.starts:
        result.append(told(f"own head of {start.name}", evaluate(own_head(start, planes, captions), labels).as_dict()))
        result += [told(f"  on {folder.name}, truth known", on_scenes(start, folder)) for folder in args.scenes]
    for seed in range(args.seeds):
        splits, learnt = by_product(rows, seed), peoples_labels(judge, seed)
        # Measured by the judge, not by the people that it learns from.
        given = np.where(splits == SPLITS.index("test"), labels, learnt)
        for start in args.starts:
            config = {**mini_training().to_dict(), "init": str(start), "epochs": EPOCHS, "seed": seed, "threads": 1}
            packed = Packed(planes, captions, given, splits, f"{args.pictures.name}, seed {seed}")
            metrics = train(TrainConfig.from_dict(config), Ready(packed), args.out / f"{start.name}-{seed}")
            assert metrics.test is not None
            result.append(told(f"{LEARNT} labels from {start.name}, seed {seed}", metrics.test.as_dict()))
    print(json.dumps({"load": round(os.getloadavg()[0], 1), "cpu_s": round(time.process_time()), "rows": result}))


if __name__ == "__main__":
    main()
