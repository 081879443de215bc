"""Run by bench perception in rembg's own environment (`make rembg`): masks of a folder's pictures, each on its own.

Reads lines "session" (one session for all, as rembg's documentation has it for many pictures) or "call" (a new session for
each picture, as `rembg.remove(data)` alone makes it) and answers each with a line of JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

import rembg


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    files = [path.read_bytes() for path in sorted(folder.glob("*.png"))]
    shared = rembg.new_session("u2netp")
    rembg.remove(files[0], session=shared, only_mask=True)
    print(json.dumps({"rembg": rembg.__version__}), flush=True)
    for line in sys.stdin:
        before, started = os.times(), time.perf_counter()
        for number, data in enumerate(files):
            session = shared if line.strip() == "session" else rembg.new_session("u2netp")
            (out / f"{number}-rembg.png").write_bytes(rembg.remove(data, session=session, only_mask=True))
        after = os.times()
        cpu = after.user - before.user + after.system - before.system
        print(json.dumps({"seconds": time.perf_counter() - started, "cpu_s": cpu}), flush=True)


if __name__ == "__main__":
    main()
