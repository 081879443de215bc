"""How many images are drawn at once: as many as the free memory holds, fewer after an out-of-memory."""

from __future__ import annotations

from pathlib import Path

import torch

# The share of the free memory that a batch may take; the rest is for what is not foreseen.
SHARE = 0.8
_CPU_WORDS = ("can't allocate memory", "not enough memory", "out of memory")


def free_bytes(device: torch.device) -> int | None:
    """Free memory of the device; None if it can't be told."""
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        # What torch holds and does not use is free for us, too.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return _least(_machine_free(), _group_free())


def _least(*values: int | None) -> int | None:
    known = [value for value in values if value is not None]
    return min(known) if known else None


def _machine_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _group_free(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the container's own limit leaves (cgroup v2)."""
    try:
        most, used = (folder / "memory.max").read_text(), (folder / "memory.current").read_text()
        cached = sum(
            int(line.split()[1])
            for line in (folder / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
    except OSError:
        return None
    return None if most.strip() == "max" else int(most) - int(used) + cached


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _CPU_WORDS)


def bytes_per_image(canvas: int, vae_channels: int, itemsize: int, *, sliced: bool) -> int:
    """A rough figure of what one more image in the batch takes at the widest place.

    That is the decoder's last block, at full size: about four maps of twice its narrowest width. Decoded one at a time,
    it is the U-Net with guidance: about a quarter of that.
    """
    decoding = 4 * 2 * vae_channels * canvas * canvas * itemsize
    return decoding // 4 if sliced else decoding


class BatchSize:
    """How many images at once: asked before every batch, told of every out-of-memory."""

    def __init__(self, most: int, per_image: int) -> None:
        self.most = most
        self.per_image = per_image

    def now(self, device: torch.device) -> int:
        free = free_bytes(device)
        if free is None:
            return self.most
        return max(1, min(self.most, int(SHARE * free) // self.per_image))

    def halve(self, batch: int) -> int:
        """After an out-of-memory with `batch` images: half of them from now on."""
        self.most = max(1, min(self.most, batch // 2))
        return self.most
