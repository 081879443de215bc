"""One training of a small net on one CPU thread: so many minutes of CPU time, over as many parts as it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

COOLDOWN = 0.3  # last share of the training time, over which the learning rate falls to zero
SAVE_EVERY_S, LOG_EVERY_S = 120.0, 30.0


class Clock:
    """CPU time spent over all resumed parts of a stage, and the learning-rate factor that follows from it."""

    def __init__(self, minutes: float, spent_s: float = 0.0) -> None:
        self.total_s, self.before_s, self.start = minutes * 60, spent_s, time.process_time()

    @property
    def spent_s(self) -> float:
        return self.before_s + time.process_time() - self.start

    @property
    def left(self) -> float:
        return max(0.0, 1 - self.spent_s / self.total_s)

    def factor(self, step: int, warmup: int = 100) -> float:
        return min(1.0, (step + 1) / warmup, self.left / COOLDOWN)


class Average:
    """Exponential moving average of a module's parameters; the decay warms up with the number of updates."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.shadow = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, p in module.named_parameters():
            self.shadow[name].lerp_(p, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates, self.shadow = state["updates"], state["shadow"]


@dataclass
class Stage:
    """One training: a module, its optimiser and average, and where they are kept between parts."""

    name: str
    out: Path
    module: nn.Module
    rate: float
    decay: float
    clock: Clock
    seed: int
    step: int = 0
    optimiser: torch.optim.Optimizer = field(init=False)
    average: Average = field(init=False)

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=self.rate, betas=(0.9, 0.99), weight_decay=1e-3)
        self.average = Average(self.module, self.decay)

    @property
    def path(self) -> Path:
        return self.out / f"{self.name}.pt"

    def resume(self, minutes: float) -> None:
        state = torch.load(self.path, weights_only=True)
        self.module.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])
        self.step, self.clock = state["step"], Clock(minutes, state["spent_s"])

    def save(self) -> None:
        state = {
            "model": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
            "step": self.step,
            "spent_s": self.clock.spent_s,
        }
        temporary = self.path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.path)

    def run(self, loss_of: Callable[[float], tuple[Tensor, float]]) -> None:
        """Update until the time is spent. loss_of(share of time left) -> (loss, a figure to log beside it)."""
        saved = logged = time.monotonic()
        figures: list[tuple[float, float]] = []
        while self.clock.left > 0:
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * self.clock.factor(self.step)
            loss, figure = loss_of(self.clock.left)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimiser.step()
            self.average.update(self.module)
            self.step += 1
            figures.append((loss.item(), figure))
            if time.monotonic() - logged > LOG_EVERY_S:
                self._log(figures)
                logged, figures = time.monotonic(), []
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        self.save()

    def _log(self, figures: list[tuple[float, float]]) -> None:
        loss, figure = np.mean(figures, axis=0)
        line = {
            "stage": self.name,
            "step": self.step,
            "cpu_s": round(self.clock.spent_s),
            "loss": round(float(loss), 5),
            "figure": round(float(figure), 5),
        }
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)  # noqa: T201
