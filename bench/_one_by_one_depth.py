"""Run by bench perception in a process of its own: transformers' depth-estimation pipeline, each picture on its own."""

import json
import os
import sys
import time
from pathlib import Path

from PIL import Image


def main() -> None:
    from transformers import DPTForDepthEstimation, DPTImageProcessor, pipeline

    folder, out, weights = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    model = DPTForDepthEstimation.from_pretrained(weights, local_files_only=True, use_safetensors=True)
    side = model.config.image_size
    processor = DPTImageProcessor(size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    estimate = pipeline("depth-estimation", model=model.float(), image_processor=processor, device="cpu")
    files = sorted(folder.glob("*.png"))
    estimate(Image.open(files[0]))
    print(json.dumps({"processor": type(processor).__name__}), flush=True)
    for _ in sys.stdin:
        before, started = os.times(), time.perf_counter()
        for number, path in enumerate(files):
            estimate(Image.open(path))["depth"].save(out / f"{number}-depth.png")
        after = os.times()
        cpu = after.user - before.user + after.system - before.system
        print(json.dumps({"seconds": time.perf_counter() - started, "cpu_s": cpu}), flush=True)


if __name__ == "__main__":
    main()
