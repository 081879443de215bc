"""What an annotator waits for in the browser, beside the limits and Label Studio's measured figures.

The production web server on an embedded PostgreSQL, real pictures of 512 px, a headless Chromium, and between them a
proxy that makes every request 300 ms late. A key counts from the time stamp that the browser gave it to the end of the
frame in which the next picture was drawn: the desk marks the drawing ("painted"), and a task queued in that frame's
requestAnimationFrame runs right after it is painted. The browser's own Event Timing (in steps of 8 ms, from 16 ms up)
is printed as a second opinion.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import _delay, _scenes
from bench._platform import platform
from bench.desk import server

LIMITS = {"key_p50_ms": 16, "key_p95_ms": 50, "usable_ms": 1000, "script_kb": 60}
# Label Studio 1.23 in the same browser, no delay added: from the key to the next picture, and its scripts.
LABEL_STUDIO = {"key_p50_ms": 539, "script_kb": 6100}
STATIC = Path(__file__).resolve().parent.parent / "annotation" / "static" / "annotation" / "desk"

_WATCH = """() => {
    const keys = (window.keyTimes = []);
    const slow = (window.slowKeys = []);
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (entry.name === "keydown") slow.push(entry.duration);
    }).observe({ type: "event", durationThreshold: 16 });
    const { port1, port2 } = new MessageChannel();
    port1.start();
    addEventListener("keydown", ({ timeStamp }) => {
        const look = () => {
            const [mark] = performance.getEntriesByName("painted");
            if (!mark || mark.startTime < timeStamp) return requestAnimationFrame(look);
            const drawn = mark.startTime - timeStamp;
            port1.addEventListener("message", () => keys.push([performance.now() - timeStamp, drawn]), { once: true });
            port2.postMessage(0);
        };
        requestAnimationFrame(look);
    }, true);
}"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench desk_browser", description=__doc__)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--delay", type=float, default=0.3, help="seconds by which every request is late")
    parser.add_argument("--pause", type=float, default=0.4, help="seconds between two keys")
    parser.add_argument("--cold", type=int, default=5, help="times that the page is opened with nothing cached")
    parser.add_argument("--runs", type=int, default=1, help="times that all is measured")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder, platform(Path(folder)):
        results = _bench(args)
    for result in results:
        _table(result)
        print(json.dumps(result))


def _bench(args: argparse.Namespace) -> list[dict[str, Any]]:
    # Playwright runs a loop in this thread, and Django would refuse the ORM.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    from django.core.management import call_command

    call_command("collectstatic", verbosity=0, interactive=False)
    project = _fill((args.keys + 20) * args.runs + 100)
    with server() as (url, _), _browser() as chromium:
        port = urlsplit(url).port or 80
        with _delay.far_away(port, args.delay) as late, _delay.far_away(port, 0) as near:
            return [_measure(chromium, project, late, near, args) for _ in range(args.runs)]


def _fill(n: int) -> int:
    from annotation.actions import Pick, add_tasks
    from annotation.models import Project

    project = Project.objects.create(name="bench", overlap=1)
    add_tasks(project, [Pick(pk) for pk in _scenes.candidates(n)])
    return project.pk


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def _measure(chromium: Any, project: int, late: int, near: int, args: argparse.Namespace) -> dict[str, Any]:
    scripts: dict[str, bytes] = {}
    near_ms = [_open(chromium, project, near) for _ in range(args.cold)]
    late_ms = [_open(chromium, project, late) for _ in range(args.cold)]
    context = _context(chromium, late)
    page = context.new_page()
    page.on("response", lambda response: _collect(response, scripts))
    page.goto(f"http://127.0.0.1:{late}/desk/?project={project}")
    page.wait_for_selector(".has-task")
    page.wait_for_load_state("networkidle")
    page.evaluate(_WATCH)
    for number in range(args.keys):
        page.keyboard.press("12345"[number % 5])
        # A picture that is not there yet is waited for, and counts with all of its wait.
        page.wait_for_function("n => window.keyTimes.length > n", arg=number)
        page.wait_for_timeout(1000 * args.pause)
    page.wait_for_selector('[data-part=saving][data-state="saved"]', timeout=60_000)
    pairs, slow = page.evaluate("[window.keyTimes, window.slowKeys]")
    times, drawn = [painted for painted, _ in pairs], [drawn for _, drawn in pairs]
    saved = int(page.inner_text("[data-part=saving]").split()[0])
    context.close()
    if len(times) != args.keys or saved != args.keys:
        raise SystemExit(f"{args.keys} keys, but {len(times)} pictures were painted and {saved} answers saved")
    scripts.setdefault("own_keys.js", (STATIC / "own_keys.js").read_bytes())  # fetched when its dialog is opened
    return {
        "key_p50_ms": round(statistics.median(times), 1), "key_p95_ms": round(_at(times, 0.95), 1),
        "key_max_ms": round(max(times), 1), "drawn_p50_ms": round(statistics.median(drawn), 1),
        "drawn_p95_ms": round(_at(drawn, 0.95), 1), "keys": args.keys, "delay_ms": round(1000 * args.delay),
        "event_timing_16_ms_or_more": len(slow), "event_timing_max_ms": max(slow, default=0),
        "usable_ms": round(statistics.median(near_ms)), "usable_delayed_ms": round(statistics.median(late_ms)),
        "script_kb": round(sum(len(gzip.compress(body)) for body in scripts.values()) / 1000, 1),
        "scripts": len(scripts), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def _context(chromium: Any, port: int) -> Any:
    """A browser with nothing in its cache, and a new annotator logged in."""
    from django.test import Client

    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_user(f"person-{User.objects.count()}", role="annotator"))
    # Waiting for a key's time evaluates text, which the pages' policy forbids.
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
    session = client.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": session, "url": f"http://127.0.0.1:{port}"}])
    context.set_default_timeout(60_000)
    return context


def _open(chromium: Any, project: int, port: int) -> float:
    """Milliseconds from the start of the navigation until the first picture is drawn."""
    context = _context(chromium, port)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/desk/?project={project}")
    page.wait_for_selector(".has-task")
    drawn = page.evaluate("performance.getEntriesByName('painted')[0].startTime")
    page.goto("about:blank")  # gives the tasks back
    context.close()
    return drawn


def _collect(response: Any, scripts: dict[str, bytes]) -> None:
    if response.request.resource_type == "script" and response.ok:
        scripts[urlsplit(response.url).path.rpartition("/")[2]] = response.body()


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _table(result: dict[str, Any]) -> None:
    rows = [
        ("", "Adproof", "limit", "Label Studio *"),
        (f"key to next picture, median of {result['keys']}, ms", result["key_p50_ms"], LIMITS["key_p50_ms"], 539),
        ("key to next picture, p95, ms", result["key_p95_ms"], LIMITS["key_p95_ms"], "?"),
        ("key to next picture drawn, median, ms", result["drawn_p50_ms"], "-", "?"),
        ("page usable, nothing cached, ms", result["usable_ms"], LIMITS["usable_ms"], "?"),
        (f"the same, every request {result['delay_ms']} ms late", result["usable_delayed_ms"], "-", "?"),
        ("scripts, compressed, KB", result["script_kb"], LIMITS["script_kb"], LABEL_STUDIO["script_kb"]),
        ("keys of 16 ms or more by Event Timing", result["event_timing_16_ms_or_more"], "-", "?"),
        ("load of the machine", result["load"], "-", "?"),
    ]
    for name, ours, limit, theirs in rows:
        print(f"{name:<46}{ours!s:>10}{limit!s:>8}{theirs!s:>16}")
    print("* 1.23, measured before in the same browser with no delay added; not in this run.")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
