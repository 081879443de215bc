"""How long the gallery's pages take for every filter, every pair of filters and many triples, at 1,000 and 1,000,000 candidates.

Each size has an embedded PostgreSQL of its own in a temporary folder (rows, no pictures) and a process of its own. A page is
loaded as a data manager in that process: what the web server does, without the network. After the first page of each filter
its next one and the way back are loaded as well. The figure of a filter is the median of its loads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench._platform import platform

SIZES = (1_000, 1_000_000)
PARTS = 1000
TRIPLES = 150
DONE = 0.97
_CARD = re.compile(r'data-candidate="(\d+)"')


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench gallery", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--loads", type=int, default=3)
    parser.add_argument("--filters", type=int, help="so many of them, drawn at random; default: all")
    parser.add_argument("--keep", type=Path, help="a folder: its rows are used again if it has some, and left there")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(_one(args.one, args.folder, args)))
        return
    results = {}
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as temporary:
        for size in args.rows:
            folder = (args.keep.resolve() if args.keep else Path(temporary)) / str(size)
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "bench", "gallery", "--one", str(size), "--folder", str(folder)]
            chosen = ["--filters", str(args.filters)] if args.filters else []
            out = subprocess.run([*command, "--loads", str(args.loads), *chosen], stdout=subprocess.PIPE, text=True, check=True)
            results[size] = json.loads(out.stdout.strip().splitlines()[-1])
    _tell(results)


def _tell(results: dict[int, dict[str, Any]]) -> None:
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    print(f"{'candidates':>12}{'filters':>9}{'p50 ms':>9}{'p95 ms':>9}{'worst ms':>10}{'looked on':>11}  the slowest filter")
    for size, row in results.items():
        print(
            f"{size:>12,}{row['filters']:>9}{row['p50_ms']:>9}{row['p95_ms']:>9}{row['worst_ms']:>10}{row['looked_on']:>11}"
            f"  {row['worst']}"
        )
    ratio = round(results[max(results)]["p95_ms"] / results[min(results)]["p95_ms"], 2)
    by_size = {f"p95_ms_{size}": row["p95_ms"] for size, row in results.items()}
    print(json.dumps({"sizes": list(results), "p95_ratio": ratio, **by_size}))


def _one(size: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    with platform(folder, "ERROR"):
        made = _rows(size, folder)
        return _measure(made, args)


def _rows(size: int, folder: Path) -> dict[str, Any]:
    from django.core.management import call_command

    from bench._rows import settle

    kept = folder / "gallery.json"
    call_command("collectstatic", interactive=False, verbosity=0)
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    started = time.monotonic()
    made = _fill(size)
    settle()
    print(f"{size:,} candidates made in {time.monotonic() - started:.0f} s", file=sys.stderr)
    kept.write_text(json.dumps(made))
    return made


def _fill(size: int) -> dict[str, Any]:
    from annotation.models import Consensus
    from bench import _catalogue_rows as rows
    from runs.models import Run

    made = rows._people()
    run = Run.objects.create(kind="generate", title="Draw them", state="succeeded")
    parts = Run.objects.bulk_create(Run(kind="generate_part", title="part", parent=run, state="succeeded") for _ in range(PARTS))
    made |= rows._candidates(
        size, made, attempt="1 + (n %% 5 = 0)::int + (n %% 25 = 0)::int", abandoned_at_step="CASE WHEN n %% 200 = 7 THEN 8 END",
        # The run made the middle fifth of them.
        run_id=f"CASE WHEN n BETWEEN {size * 2 // 5} AND {size * 3 // 5} THEN {parts[0].pk} + n %% {PARTS} END",
    )  # fmt: skip
    first = Consensus.objects.create(
        candidate_id=made["first_candidate"], label=0, posterior=[0.9, 0.025, 0.025, 0.025, 0.025],
        method="dawid-skene", annotation_count=3, agreement=1.0, is_complete=True, activelab_score=0.9,
    )  # fmt: skip
    rows.copies(
        first, "generation_candidate c WHERE c.id > first.candidate_id AND c.id < first.candidate_id + %(done)s",
        {
            "candidate_id": "c.id", "label": rows._LABEL.format("c.id"),
            "agreement": "(array[1.0, 1.0, 1.0, 0.6666667, 0.6666667, 0.3333333])[1 + abs(hashint8(c.id)) %% 6]",
            "is_complete": "c.id %% 40 <> 0",
        },
        done=int(size * DONE),
    )  # fmt: skip
    made |= rows._verdicts(size, made)
    return {**{name: value for name, value in made.items() if name != "crowd"}, "run": run.pk}


def _filters(made: dict[str, Any]) -> list[dict[str, str]]:
    from generation.models import Candidate

    middle = Candidate.objects.get(pk=made["candidate"]).created_at.date()
    words: dict[str, list[Any]] = {
        "label": [0, 4], "verdict": [1, "none"],
        "state": ["unlabelled", "labelled", "disagreed", "agreed", "contradicted", "unperceived"],
        "generator": [made["generator"]], "prompt": [made["prompt"]], "category": ["category 3"], "source": ["source 1"],
        "q": ["lamp 77", "linen"], "product": [made["product"]], "attempt": ["1", "again", "3"], "abandoned": ["yes", "no"],
        "run": [made["run"]], "drawn_from": [middle], "drawn_to": [middle],
    }  # fmt: skip
    single = [(name, str(value)) for name, values in words.items() for value in values]
    pairs = [pair for pair in itertools.combinations(single, 2) if pair[0][0] != pair[1][0]]
    triples = [triple for triple in itertools.combinations(single, 3) if len({name for name, _ in triple}) == 3]
    chosen = random.Random(1).sample(triples, TRIPLES)
    return [{}, *(dict([one]) for one in single), *map(dict, pairs), *map(dict, chosen)]


def _measure(made: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.get(username="manager"))
    client.get("/candidates/")
    found = []
    filters = _filters(made)
    for query in random.Random(2).sample(filters, args.filters) if args.filters else filters:
        ms, looked_on = _load(client, query, args.loads)
        found.append((float(np.median(ms)), query, looked_on))
    found.sort(key=lambda row: row[0], reverse=True)
    medians = [row[0] for row in found]
    for value, query, looked_on in found[:12]:
        print(f"{value:>8.1f} ms  {query}{'  (looked on)' if looked_on else ''}", file=sys.stderr)
    return {
        "filters": len(found), "p50_ms": round(float(np.percentile(medians, 50)), 1),
        "p95_ms": round(float(np.percentile(medians, 95)), 1), "worst_ms": round(medians[0], 1),
        "worst": "&".join(f"{name}={value}" for name, value in found[0][1].items()),
        "looked_on": sum(row[2] for row in found),
    }  # fmt: skip


def _load(client: Any, query: dict[str, str], loads: int) -> tuple[list[float], bool]:
    ms: list[float] = []
    looked_on = False
    for _ in range(loads):
        address: dict[str, Any] = dict(query)
        for way in ("first", "older", "newer"):
            started = time.perf_counter()
            response = client.get("/candidates/", address)
            ms.append(1000 * (time.perf_counter() - started))
            assert response.status_code == 200
            html = response.content.decode()
            looked_on |= "Looking on" in html
            ids = _CARD.findall(html)
            if not ids:
                break
            address = {**query, "before": ids[-1]} if way == "first" else {**query, "after": ids[0]}
    return ms, looked_on
