"""Typed reading of environment variables: a bad value stops the start with a sentence, not later with a trace."""

import os
import shutil
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


class BadSetting(Exception):
    """An environment variable has a value that cannot be used."""


def text(name: str, default: str = "") -> str:
    """The variable, or the content of the file that NAME_FILE names (for secrets)."""
    from_file = os.environ.get(f"{name}_FILE")
    if from_file:
        try:
            return Path(from_file).read_text().strip()
        except OSError as error:
            raise BadSetting(f"{name}_FILE={from_file} can't be read: {error.strerror}") from error
    return os.environ.get(name, default)


def flag(name: str, default: bool) -> bool:
    value = text(name, "1" if default else "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise BadSetting(f"{name}={value!r} is neither yes nor no: write 1 or 0")


def number(name: str, default: int, least: int = 0) -> int:
    value = text(name, str(default))
    if not value.isdigit() or int(value) < least:
        raise BadSetting(f"{name}={value!r} is not a whole number of at least {least}")
    return int(value)


def amount(name: str, default: float) -> float:
    value = text(name, str(default))
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e9:
        raise BadSetting(f"{name}={value!r} is not a number of at least 0, like 1.25")
    return found


def words(name: str, default: str) -> list[str]:
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def data_dir() -> Path:
    """Where everything that lasts on this machine lies: database, pictures, dataset versions, checkpoints, logs."""
    return Path(text("ADPROOF_DATA", str(BASE_DIR / "data"))).expanduser().resolve()


def own_data_dir(name: str) -> None:
    """Use data/<name>, emptied, unless the environment names a data folder or a database itself."""
    if "ADPROOF_DATA" in os.environ or "DATABASE_URL" in os.environ:
        return
    folder = data_dir() / name
    running = folder / "running.pid"
    if running.is_file() and _is_alive(int(running.read_text() or 0)):
        raise SystemExit(f"adproof: {folder} is in use by process {running.read_text()}; end that one first")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    running.write_text(str(os.getpid()))
    os.environ["ADPROOF_DATA"] = str(folder)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return pid > 0
