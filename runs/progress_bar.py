"""How far a long command is: one line that grows on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from typing import Any

WIDTH = 30
LOG_EVERY_S = 5.0


class ProgressBar:
    """tell() as often as you like; end() before anything else is written."""

    def __init__(self, out: Any, unit: str = "samples") -> None:
        self._out, self._unit = out, unit
        self._is_terminal = bool(getattr(out, "isatty", lambda: False)())
        self._started, self._told_at = time.monotonic(), 0.0
        self._said, self._is_open, self._before = "", False, None

    def tell(self, stage: str, done: int, total: int) -> None:
        if self._before is None:
            self._before = done
        line = self._line(stage, done, total)
        now = time.monotonic()
        if line == self._said:
            return
        if self._is_terminal:
            self._out.write(f"\r\x1b[2K{line}", ending="")
            self._out.flush()
            self._is_open = True
        elif stage not in self._said or done >= total or now - self._told_at >= LOG_EVERY_S:
            self._out.write(line)
            self._told_at = now
        self._said = line

    def _line(self, stage: str, done: int, total: int) -> str:
        if not total:
            return f"  {stage}"
        share = min(1.0, done / total)
        seconds = time.monotonic() - self._started
        rate = (done - (self._before or 0)) / seconds if seconds > 0.5 else 0
        speed = f", {rate:,.0f} a second" if rate >= 1 else ""
        left = f", {(total - done) / rate:,.0f} s left" if rate >= 1 and done < total else ""
        bar = "#" * round(share * WIDTH)
        return f"  [{bar:.<{WIDTH}}] {share:4.0%} {stage}: {done:,} of {total:,} {self._unit}{speed}{left}"

    def end(self) -> None:
        if self._is_open:
            self._out.write("")
        self._is_open = False
