"""The production web server's command: what `manage.py up` starts, and what is measured."""

import sys

WORKERS, THREADS = 2, 8


def command(bind: str, port: int, *, workers: int = WORKERS, threads: int = THREADS) -> list[str]:
    """Keep-alive outlasts a look at a picture, so that the desk sends all its labels over one connection."""
    return [
        sys.executable, "-m", "gunicorn", "config.wsgi", "--worker-class", "gthread", "--workers", str(workers),
        "--threads", str(threads), "--bind", f"{bind}:{port}", "--keep-alive", "30", "--log-level", "warning",
        "--no-control-socket", "--graceful-timeout", "5",
    ]  # fmt: skip
