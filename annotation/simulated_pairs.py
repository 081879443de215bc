"""People made of numbers who choose between two pictures, through the public API with tokens of their own.

What they like comes from a callable; left to themselves they like colour.
"""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adproof.simulate import SimulatedAnnotator
from annotation.simulated import BATCH, DeskClient, DeskError, Work

# How much a picture is liked, from its address: log scale, as the strengths of Bradley and Terry.
Taste = Callable[["PairClient", str], float]
TIE = -0.7  # of two that are liked alike, one in five is "no difference"


class PairClient(DeskClient):
    api = "/api/v1/pairs/"


class Remembered:
    """A taste that looks at every picture once, however many people see it."""

    def __init__(self, taste: Taste) -> None:
        self._taste = taste
        self._known: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, client: PairClient, url: str) -> float:
        with self._lock:
            if url not in self._known:
                self._known[url] = self._taste(client, url)
            return self._known[url]


def likes_colour(client: PairClient, url: str) -> float:
    picture = np.asarray(Image.open(io.BytesIO(client.get(url))).convert("RGB"), dtype=np.float64)
    return colourfulness(picture) / 25


def colourfulness(picture: NDArray[np.float64]) -> float:
    """Hasler and Suesstrunk (2003) of an (H, W, 3) picture in 0..255: about 0 for grey, over 100 for garish."""
    red, green, blue = (picture[..., channel] for channel in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    mean = np.hypot(red_green.mean(), yellow_blue.mean())
    return float(spread + 0.3 * mean)


def choose(left: float, right: float, rng: np.random.Generator, left_bias: float = 0.0) -> str:
    """left, right or tie, as Davidson's model has it; left_bias is added to whatever stands left."""
    logits = np.array([left + left_bias, right, TIE + (left + right) / 2])
    shares = np.exp(logits - logits.max())
    return ("left", "right", "tie")[rng.choice(3, p=shares / shares.sum())]


def prefer_together(
    base_url: str,
    people: Sequence[tuple[str, SimulatedAnnotator]],
    project: int,
    taste: Taste = likes_colour,
    *,
    limit: int | None = None,
    left_bias: float = 0.0,
) -> list[Work]:
    """Let all of them choose at once, a thread each, until nothing is left for them, or each has given `limit`.

    people: (token, annotator). Raises DeskError when none of them could work.
    """
    remembered, works = Remembered(taste), [Work() for _ in people]

    def run(place: int) -> None:
        token, annotator = people[place]
        try:
            client = PairClient(base_url, token)
            _prefer(client, annotator, project, remembered, works[place], limit, left_bias)
            client.close()
        except DeskError as error:
            works[place].error = str(error)

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if works and all(work.error for work in works):
        raise DeskError(works[0].error)
    return works


def _prefer(
    client: PairClient, annotator: SimulatedAnnotator, project: int, taste: Taste, work: Work, limit: int | None,
    left_bias: float,
) -> None:  # fmt: skip
    while limit is None or work.saved < limit:
        count = BATCH if limit is None else min(BATCH, limit - work.saved)
        pairs = client.post("lease", {"project": project, "count": count})["pairs"]
        if not pairs:
            return
        given = [_answer(client, annotator, taste, pair, left_bias) for pair in pairs]
        for result in client.post("preferences", {"preferences": given})["results"]:
            if result["status"] == "saved":
                work.saved += 1
            elif result["status"] == "surplus":
                work.surplus += 1
            else:
                work.refused += 1


def _answer(
    client: PairClient, annotator: SimulatedAnnotator, taste: Taste, pair: dict[str, Any], left_bias: float
) -> dict[str, Any]:
    left, right = (taste(client, pair["pictures"][side]) for side in ("left", "right"))
    seconds = max(0.3, float(annotator.rng.lognormal(np.log(annotator.seconds_mean), 0.4)))
    said = choose(left, right, annotator.rng, left_bias)
    return {"id": str(uuid.uuid4()), "pair": pair["pair"], "choice": said, "seconds": round(seconds, 2)}
