"""In which numbers the nets compute: float32, or bfloat16 where the machine is made for it."""

from functools import cache
from pathlib import Path

PRECISIONS = ("fp32", "bf16")
_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux names them on x86 and ARM


def check_precision(precision: str) -> None:
    """Raises ValueError for what is neither "fp32" nor "bf16"."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {' or '.join(PRECISIONS)}, not {precision!r}")


def chosen_precision(precision: str, device: str) -> str:
    """"fp32" or "bf16"; "auto" chooses bf16 on a GPU, and on a processor that has instructions for it.

    Raises: ValueError: another word.
    """
    if precision != "auto":
        check_precision(precision)
        return precision
    return "bf16" if device != "cpu" or cpu_has_bf16() else "fp32"


@cache
def cpu_has_bf16() -> bool:
    """False where it cannot be seen: elsewhere than on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return bool(_FLAGS & set(features.split()))
