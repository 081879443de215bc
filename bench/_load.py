"""Annotators for load tests: one thread, plain sockets, so that the load costs little beside what is measured.

Each has a connection and a token of their own, takes ten tasks, sends their answers one by one, and takes the next ten:
what the desk page does. (annotation.simulated is the client for people who look at pictures.)
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

BATCH = 10
PATIENCE_S = 60


@dataclass
class Figures:
    saved: int = 0
    surplus: int = 0
    refused: int = 0
    lease_s: list[float] = field(default_factory=list)
    submit_s: list[float] = field(default_factory=list)
    seconds: float = 0.0


class LoadError(Exception):
    """The server gave something else than an answer."""


@dataclass
class _Annotator:
    number: int
    token: str
    project: int
    address: tuple[str, int]
    figures: Figures
    socket: Any = None
    tasks: list[int] = field(default_factory=list)
    sent: bytes = b""
    sent_at: float = 0.0
    got: bytearray = field(default_factory=bytearray)
    is_leasing: bool = False

    def connect(self) -> None:
        self.socket = socket.create_connection(self.address, PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def next_call(self) -> None:
        self.is_leasing = not self.tasks
        if self.is_leasing:
            self._send("lease", {"project": self.project, "count": BATCH})
        else:
            task = self.tasks.pop(0)
            label, seconds = random.randrange(5), round(random.uniform(1, 8), 2)
            self._send(
                "annotations",
                {"annotations": [{"id": str(uuid.uuid4()), "task": task, "label": label, "seconds": seconds}]},
            )

    def _send(self, verb: str, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        head = (
            f"POST /api/v1/desk/{verb} HTTP/1.1\r\nHost: {self.address[0]}\r\nAuthorization: Token {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        self.sent, self.sent_at = head.encode() + data, time.perf_counter()
        self.got.clear()
        self.socket.sendall(self.sent)

    def read(self) -> bool:
        """Take what has come; True when the answer is whole (and counted)."""
        data = self.socket.recv(65536)
        if not data:
            raise LoadError(f"the server closed the connection of annotator {self.number}")
        self.got += data
        end = self.got.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self.got[:end].lower()
        place = head.find(b"content-length:")
        if place < 0 or not head.startswith(b"http/1.1 200"):
            raise LoadError(bytes(self.got[:500]).decode(errors="replace"))
        length = int(head[place + 15 :].split(b"\r\n", 1)[0])
        if len(self.got) < end + 4 + length:
            return False
        self._count(json.loads(self.got[end + 4 :]), time.perf_counter() - self.sent_at)
        return True

    def _count(self, answer: dict[str, Any], took: float) -> None:
        if self.is_leasing:
            self.figures.lease_s.append(took)
            self.tasks = [row["task"] for row in answer["tasks"]]
            return
        self.figures.submit_s.append(took)
        status = answer["results"][0]["status"]
        name = status if status in ("saved", "surplus") else "refused"
        setattr(self.figures, name, getattr(self.figures, name) + 1)


def load(base_url: str, tokens: list[str], project: int, seconds: float) -> Figures:
    """All of them at once for so many seconds (or until the queue is empty); every answer sent is waited for."""
    parts, figures = urlsplit(base_url), Figures()
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    selector, started = selectors.DefaultSelector(), time.perf_counter()
    for number, token in enumerate(tokens):
        annotator = _Annotator(number, token, project, address, figures)
        annotator.connect()
        selector.register(annotator.socket, selectors.EVENT_READ, annotator)
        annotator.next_call()
    until = started + seconds
    while selector.get_map():
        ready = selector.select(PATIENCE_S)
        if not ready:
            raise LoadError(f"no answer within {PATIENCE_S} s")
        for key, _ in ready:
            annotator = key.data
            if not annotator.read():
                continue
            is_empty = annotator.is_leasing and not annotator.tasks
            if is_empty or time.perf_counter() > until:
                selector.unregister(annotator.socket)
                annotator.socket.close()
            else:
                annotator.next_call()
    figures.seconds = time.perf_counter() - started
    return figures
