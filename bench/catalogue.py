"""How long every page takes on a platform with 1,058,230 pictures, their answers, verdicts and two dataset versions.

Makes the rows (not the pictures) in an embedded PostgreSQL in a temporary folder, has the runs done whose results pages
show (timed), and what the workers' clock counts. Then it walks the URLconf and loads every page, and every part that a
page asks for by itself, as the first role that may see it, in this process: what the web server does, without the
network. Each several times; the figure is the 95th percentile over all these loads. The first load is told apart, too: as
in a web process that has just started, nothing is in its memory. Files (CSV, pictures) are timed to their first byte.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench._platform import platform

RF1M = 1_058_230
LEAST_ROWS = 3_000  # pairs, decisions and rounds are made of the first 2,000
LIMIT_MS = 300
# What stands in an address, by what is before it.
PLACES = {
    "login/demo/": "=nobody", "projects/<int:pk>/gold/": "gold", "labels/snapshots/<int:pk>/": "=priority",
    "pictures/": "sha256", "thumbnails/": "=96", "thumbnails/<int:px>/": "sha256", "products/": "product",
    "prompts/": "prompt",
    "prompts/variables/": "variable", "api/v1/products/": "product", "generators/": "generator",
    "candidates/": "candidate", "projects/": "project",
    "projects/<int:pk>/guidelines/": "=1", "projects/<int:pk>/queue/": "=order", "teams/": "team",
    "projects/<int:pk>/pairs/": "=strengths", "labels/filters/": "filter", "labels/snapshots/": "snapshot",
    "quality/": "=annotators", "quality/annotators/": "first_person", "quality/annotators/<int:pk>/": "=pace",
    "review/": "disputed", "grid/": "snapshot", "datasets/": "version", "checkpoints/": "checkpoint",
    "training/": "training", "rounds/": "round", "runs/": "run", "api/v1/desk/pictures/": "sha256",
    "datasets/<int:pk>/compare/": "older", "datasets/<int:pk>/inspect/": "=labels",
    "datasets/import/": "import", "api/v1/datasets/import/": "import", "datasets/signed/": "=none",
    "generate/": "drawing", "api/v1/generation/runs/": "drawing", "candidates/remade/": "remade",
    "api/v1/datasets/": "version", "api/v1/datasets/<int:version>/compare/": "older",
}  # fmt: skip
# Addresses that are no pages here, and why.
LEFT_OUT = {
    "login": "whoever is logged in is sent on", "login_demo": "only in a demo", "dataset_signed": "needs a link made a moment ago",
    "dataset_link": "makes a link to files, and there are none", "datasets-download": "the version's files are not there",
    "dataset_compare_choose": "sends on to the comparison", "picture": "no pictures are made", "thumbnail": "no pictures are made",
    "cut_out_original": "no pictures are made",
    "desk-picture": "no pictures are made", "run_log": "an answer for polling, without a log", "run_state": "an answer for polling",
}  # fmt: skip
PARTS = re.compile(r'hx-get="([^"]+)"')
ROLES = ("annotator", "reviewer", "manager", "ml", "operator")


@dataclass
class Timed:
    name: str
    address: str
    role: str
    part: bool = False
    kind: str = ""
    status: int = 0
    ms: list[float] = field(default_factory=list)

    @property
    def is_page(self) -> bool:
        return self.kind in ("text/html", "application/json") and self.status == 200


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench catalogue", description=__doc__)
    parser.add_argument("--rows", type=int, default=RF1M)
    parser.add_argument("--loads", type=int, default=5, help="of each page")
    parser.add_argument("--only", default="", help="pages whose name has this word")
    parser.add_argument("--no-fit", action="store_true", help="leave the fit of the consensus out (minutes with a million)")
    parser.add_argument("--keep", type=Path, help="a folder: its rows are used again if it has some, and left there")
    args = parser.parse_args(argv)
    if args.rows < LEAST_ROWS:
        parser.error(f"--rows: at least {LEAST_ROWS:,}, for some of its pages show as many")
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        result = _bench(args.keep.resolve(), args)
    else:
        with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder:
            result = _bench(Path(folder), args)
    print(json.dumps(result))


def _bench(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    with platform(folder, "ERROR"):
        made = _rows(folder, args)
        figures_s = _clock()
        timed = list(_walk(made, args))
    return {**_told(timed, args), "figures_s": figures_s, "runs_s": made["runs_s"]}


def _rows(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    from django.core.management import call_command

    from bench._catalogue_rows import a_drawing, an_import, fill
    from bench._rows import settle

    kept = folder / f"catalogue-{args.rows}.json"
    call_command("collectstatic", interactive=False, verbosity=0)
    made = dict(json.loads(kept.read_text())) if kept.exists() else {}
    started = time.monotonic()
    if not made:
        made = fill(args.rows)
        settle()
        print(f"{args.rows:,} candidates and all that belongs to them: {time.monotonic() - started:.0f} s", file=sys.stderr)
        kept.write_text(json.dumps(made))
    if "runs_s" not in made:
        made |= an_import() | a_drawing(made) | {"runs_s": _runs(made)}
    if "fit" not in made["runs_s"] and not args.no_fit:
        made["runs_s"]["fit"] = _fit()
    kept.write_text(json.dumps(made))
    return made


def _fit() -> float:
    """Workers do it once so many answers have come: without one the quality pages would read the newest 100,000 of them."""
    from annotation.quality import start_fit

    seconds = _done(start_fit(None))
    print(f"fit: {seconds} s", file=sys.stderr)
    return seconds


def _runs(made: dict[str, Any]) -> dict[str, float]:
    """What a large version's pages show is the result of a run: seconds of each."""
    from datasets_app import kept
    from datasets_app.models import DatasetVersion
    from rfnet_service import label_errors

    new, old = (DatasetVersion.objects.get(pk=made[name]) for name in ("version", "older"))
    runs = {
        "inspect": kept.start_description(new), "compare": kept.start_comparison(old, new),
        "label errors": label_errors.start(new),
    }  # fmt: skip
    seconds = {name: _done(run) for name, run in runs.items()}
    print(", ".join(f"{name}: {value} s" for name, value in seconds.items()), file=sys.stderr)
    return seconds


def _done(run: Any) -> float:
    from runs.child import work_on

    started = time.monotonic()
    if run.claim("bench"):
        work_on(run.pk, run.fence)
    run.refresh_from_db()
    assert run.state == run.State.SUCCEEDED, run.error
    return round(time.monotonic() - started, 1)


def _clock() -> float:
    """Seconds of counting what the home page and its like show; a worker does it every few minutes, beside the pages."""
    from runs.counted import count_missing

    started = time.monotonic()
    count_missing()
    return round(time.monotonic() - started, 1)


def _endpoints() -> Iterator[tuple[str, str, Any]]:
    from django.urls import URLPattern, URLResolver, get_resolver

    def walk(patterns: Any, prefix: str) -> Iterator[tuple[str, str, Any]]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                yield route, pattern.name or route, pattern.callback
            elif isinstance(pattern, URLResolver) and pattern.namespace != "admin":
                yield from walk(pattern.url_patterns, route)

    yield from walk(get_resolver().url_patterns, "")


def _address(route: str, made: dict[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        place = PLACES.get(route[: match.start()])
        if place is None:
            print(f"bench/catalogue.py: add a line to PLACES for what is in {route}", file=sys.stderr)
            return "1"
        return place[1:] if place.startswith("=") else str(made[place])

    return "/" + re.sub(r"<(\w+:)?(\w+)>", value, route)


def _role(view: Any) -> str:
    from accounts.roles import ABILITIES

    ability = getattr(view, "ability", None)
    for permission in getattr(getattr(view, "cls", None), "permission_classes", ()):
        name = {"MayLabel": "label", "MayReview": "review"}.get(permission.__name__)
        ability = getattr(permission, "ability", name or ability)
    return next(role for role in ROLES if role in ABILITIES[ability]) if ability else "operator"


def _takes_get(view: Any) -> bool:
    """Views that only take POST say 405."""
    actions = getattr(view, "cls", None)
    return actions is None or hasattr(actions, "get")


def _walk(made: dict[str, Any], args: argparse.Namespace) -> Iterator[Timed]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    users = {user.username: user for user in get_user_model().objects.filter(username__in=ROLES)}
    clients = {}
    for role in ROLES:
        clients[role] = Client(raise_request_exception=False)
        clients[role].force_login(users[role])
    clients["annotator"].get("/api/docs/")  # templates, imports, connections
    for route, name, view in _endpoints():
        if not _takes_get(view) or args.only not in name:
            continue
        page = Timed(name, _address(route, made), _role(view))
        html = _load(clients[page.role], page, args.loads)
        if page.status == 405:
            continue
        yield page
        for address in sorted(set(PARTS.findall(html)))[:8]:
            address = address.replace("&amp;", "&")
            if address.startswith("/"):
                part = Timed(f"  {name}: part", address, page.role, part=True)
                _load(clients[page.role], part, args.loads)
                yield part


def _load(client: Any, page: Timed, loads: int) -> str:
    headers = {"HX-Request": "true"} if page.part else {}
    text = ""
    for _ in range(loads):
        started = time.perf_counter()
        response = client.get(page.address, headers=headers)
        if response.streaming:
            next(iter(response.streaming_content), b"")
        else:
            text = response.content.decode(errors="replace") if "html" in response.get("Content-Type", "") else ""
        page.ms.append(1000 * (time.perf_counter() - started))
        response.close()
        page.status, page.kind = response.status_code, response.get("Content-Type", "").split(";")[0]
        if page.status == 405:
            break
    return text


def _told(timed: list[Timed], args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    pages = [row for row in timed if row.is_page]
    print(f"{'page':<34}{'first ms':>10}{'median':>10}{'worst':>10}  {'status':<7}as")
    for row in sorted(timed, key=lambda row: (not row.is_page, -float(np.median(row.ms)))):
        about = "" if row.is_page else f"  ({row.kind or 'nothing'})"
        print(
            f"{row.name[:33]:<34}{row.ms[0]:>10.1f}{np.median(row.ms):>10.1f}{max(row.ms):>10.1f}  {row.status:<7}"
            f"{row.role} {row.address}{about}"
        )
    broken = [row.address for row in timed if row.status >= 500]
    loads = np.concatenate([row.ms for row in pages])
    p95 = round(float(np.percentile(loads, 95)), 1)
    worst = max(pages, key=lambda row: float(np.median(row.ms)))
    others = {row.name for row in timed if not row.is_page and row.kind in ("text/html", "application/json", "")}
    for name in sorted(others & set(LEFT_OUT)):
        print(f"left out: {name}: {LEFT_OUT[name]}")
    unexpected = sorted(others - set(LEFT_OUT))
    for title, key in (("median", lambda row: float(np.median(row.ms))), ("first load", lambda row: row.ms[0])):
        slowest = sorted(pages, key=key, reverse=True)[:5]
        print(f"slowest by {title}: " + ", ".join(f"{row.name.strip()} {key(row):.0f} ms" for row in slowest))
    print(f"p95 over {loads.size} loads of {len(pages)} pages and parts: {p95} ms (limit {LIMIT_MS})")
    return {
        "rows": args.rows, "pages": len(pages), "loads": int(loads.size), "page_p95_ms": p95,
        "page_p50_ms": round(float(np.percentile(loads, 50)), 1),
        "first_load_p95_ms": round(float(np.percentile([row.ms[0] for row in pages], 95)), 1),
        "worst_page": worst.address, "worst_page_ms": round(float(np.median(worst.ms)), 1), "broken": broken,
        "first_load_worst_ms": round(max(row.ms[0] for row in pages), 1), "neither_page_nor_left_out": unexpected,
    }  # fmt: skip
