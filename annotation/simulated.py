"""Annotators made of numbers, working through the public API over HTTP with tokens of their own.

What they see as the truth comes from a callable: in demonstrations the independent judge looks at the pictures that
they download; in load tests nothing is downloaded at all.
"""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adproof.simulate import SimulatedAnnotator

API = "/api/v1/desk/"
BATCH = 10
EVEN = np.full(5, 0.2)


@dataclass(frozen=True)
class Shown:
    """What an annotator has before them: product (H, W, 4) uint8, image (H, W, 3) uint8, the product's text."""

    product: NDArray[np.uint8]
    image: NDArray[np.uint8]
    image_scale: float
    caption: str


# Probabilities (5,) of the true label of what is shown.
Truth = Callable[[Shown], NDArray[np.float64]]


@dataclass
class Work:
    """What one annotator did."""

    saved: int = 0
    surplus: int = 0
    refused: int = 0
    skipped: int = 0
    flagged: int = 0
    lease_s: list[float] = field(default_factory=list)
    submit_s: list[float] = field(default_factory=list)
    error: str = ""


class DeskError(Exception):
    """The server said no, or nothing."""


class DeskClient:
    """One connection, kept open. Not for use by several threads.

    patience_s: how long a request is sent again while the server is away or in trouble (5xx), as the desk page does.
    """

    api = API

    def __init__(self, base_url: str, token: str, timeout_s: float = 60, patience_s: float = 0) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DeskError(f"{base_url!r} is no address of a server: give one as http://127.0.0.1:8000")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        self._headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
        self._patience_s = patience_s
        self.trouble: Counter[int] = Counter()  # answers that were no answer, by status; 0: the connection broke

    def post(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        return json.loads(self._request("POST", self.api + verb, json.dumps(body).encode()))

    def get(self, path: str) -> bytes:
        return self._request("GET", path, None)

    def _request(self, method: str, path: str, body: bytes | None) -> bytes:
        until, tries = time.monotonic() + self._patience_s, 0
        while True:
            tries += 1
            try:
                self._connection.request(method, path, body, self._headers)
                response = self._connection.getresponse()
                data = response.read()
            except (http.client.HTTPException, OSError) as error:
                # The server closes idle connections; every call is safe to send again.
                self._connection.close()
                self.trouble[0] += 1
                if tries > 1 and time.monotonic() > until:
                    raise DeskError(f"no answer from the server: {error}") from error
            else:
                if response.status == 200:
                    return data
                self.trouble[response.status] += 1
                if response.status < 500 or time.monotonic() > until:
                    raise DeskError(
                        f"{method} {path}: HTTP {response.status} {data[:300].decode(errors='replace')}"
                    )
            if tries > 1:
                time.sleep(min(1.0, 0.1 * tries))

    def close(self) -> None:
        self._connection.close()


class Remembered:
    """A truth that looks at every picture once, however many annotators see it; downloads and looks under a lock."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._known: dict[str, NDArray[np.float64]] = {}
        self._lock = threading.Lock()

    def __call__(self, client: DeskClient, task: dict[str, Any]) -> NDArray[np.float64]:
        key = task["pictures"]["generated"]
        with self._lock:
            if key not in self._known:
                self._known[key] = self._truth(_download(client, task))
            return self._known[key]


def _download(client: DeskClient, task: dict[str, Any]) -> Shown:
    pictures, product = task["pictures"], task["product"]
    return Shown(
        product=np.asarray(Image.open(io.BytesIO(client.get(pictures["product"]))).convert("RGBA")),
        image=np.asarray(Image.open(io.BytesIO(client.get(pictures["generated"]))).convert("RGB")),
        image_scale=task["image_scale"],
        caption=f"{product['title']}. {product['description']}".strip(),
    )


def judged_truth() -> Truth:
    """The independent judge of the ad world: it shares no weights and no scenes with RFNet. Wants the ml extra."""
    from adproof.adworld.judge import Judge
    from adproof.diffusion.conditions import prepare

    judge = Judge()

    def truth(shown: Shown) -> NDArray[np.float64]:
        canvas = prepare(shown.product, shown.image_scale, shown.image.shape[0]).canvas_rgba
        return judge([canvas], [shown.image], [shown.caption])[0].astype(np.float64)

    return truth


class _Budget:
    """How many answers are still wanted, over all annotators."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def take(self, most: int) -> int:
        with self._lock:
            if self._left is None:
                return most
            taken = min(most, self._left)
            self._left -= taken
            return taken

    def give_back(self, n: int) -> None:
        with self._lock:
            if self._left is not None:
                self._left += n


def work_together(
    base_url: str,
    people: Sequence[tuple[str, SimulatedAnnotator]],
    project: int,
    truth: Truth | None,
    *,
    limit: int | None = None,
    seconds: float | None = None,
    one_by_one: bool = False,
    pace: float = 0.0,
    on_progress: Callable[[int], None] | None = None,
) -> list[Work]:
    """Let all of them label at once, a thread each, until nothing is left for them, `limit` answers or `seconds`.

    people: (token, annotator). truth: None = every label is as likely, and nothing is downloaded.
    one_by_one: each answer in a request of its own, as the desk page sends them; else ten at a time.
    pace: 0: nobody waits. 1: they take their time, as people do, answer one by one and renew what they hold; 0.1: ten
    times as fast.
    Raises DeskError when none of them could work.
    """
    budget, until = _Budget(limit), None if seconds is None else time.monotonic() + seconds
    remembered = None if truth is None else Remembered(truth)
    works = [Work() for _ in people]

    def run(place: int) -> None:
        token, annotator = people[place]
        try:
            client = DeskClient(base_url, token)
            desk = _Desk(client, annotator, remembered, works[place], until, pace)
            desk.work(project, budget, 1 if one_by_one or pace else BATCH)
            client.close()
        except DeskError as error:
            works[place].error = str(error)

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(people))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        threads[0].join(0.5) if threads[0].is_alive() else time.sleep(0.2)
        if on_progress:
            on_progress(sum(work.saved for work in works))
    if works and all(work.error for work in works):
        raise DeskError(works[0].error)
    return works


RENEW_S = 60  # an open page does so every minute


@dataclass
class _Desk:
    """One annotator at work."""

    client: DeskClient
    annotator: SimulatedAnnotator
    truth: Remembered | None
    did: Work
    until: float | None
    pace: float
    held: list[int] = field(default_factory=list)  # tasks
    renewed_at: float = 0.0

    def work(self, project: int, budget: _Budget, at_once: int) -> None:
        """Batch after batch; what is held when the time is over is given back."""
        while not self.is_over():
            wanted = budget.take(BATCH)
            if not wanted:
                return
            tasks = self.lease(project, wanted)
            budget.give_back(wanted - len(tasks))
            if not tasks:
                return
            answers = []
            for task in tasks:
                if self.is_over():
                    break
                answers += self.look_at(task, budget)
                if len(answers) >= at_once:
                    self.send(answers)
                    answers = []
            self.send(answers)
        if self.held:
            self.client.post("release", {"tasks": self.held})

    def is_over(self) -> bool:
        return self.until is not None and time.monotonic() > self.until

    def lease(self, project: int, wanted: int) -> list[dict[str, Any]]:
        started = time.perf_counter()
        tasks = self.client.post("lease", {"project": project, "count": wanted})["tasks"]
        self.did.lease_s.append(time.perf_counter() - started)
        self.held, self.renewed_at = [task["task"] for task in tasks], time.monotonic()
        return tasks

    def look_at(self, task: dict[str, Any], budget: _Budget) -> list[dict[str, Any]]:
        """The answer; none if it is skipped, or flagged: then its place in the budget is free again."""
        doing = self.annotator.does()
        label, seconds = self.annotator.label(EVEN if self.truth is None else self.truth(self.client, task))
        self.wait(seconds * self.pace)
        if doing == "label":
            return [{"id": str(uuid.uuid4()), "task": task["task"], "label": int(label), "seconds": round(seconds, 2)}]
        self.held = [held for held in self.held if held != task["task"]]
        budget.give_back(1)
        body = {"task": task["task"], **({"reason": "simulated"} if doing == "flag" else {})}
        try:
            self.client.post(doing, body)
        except DeskError:
            self.did.refused += 1  # flagged by somebody else meanwhile, say
            return []
        self.did.skipped += doing == "skip"
        self.did.flagged += doing == "flag"
        return []

    def wait(self, seconds: float) -> None:
        """In steps, so that what is held is renewed and the end is not overslept."""
        end = time.monotonic() + seconds
        while not self.is_over() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            if self.held and time.monotonic() - self.renewed_at > RENEW_S:
                self.held = self.client.post("renew", {"tasks": self.held})["held"]
                self.renewed_at = time.monotonic()

    def send(self, answers: list[dict[str, Any]]) -> None:
        if not answers:
            return
        started = time.perf_counter()
        results = self.client.post("annotations", {"annotations": answers})["results"]
        self.did.submit_s.append(time.perf_counter() - started)
        sent = {answer["task"] for answer in answers}
        self.held = [task for task in self.held if task not in sent]
        for result in results:
            name = result["status"] if result["status"] in ("saved", "surplus") else "refused"
            setattr(self.did, name, getattr(self.did, name) + 1)
