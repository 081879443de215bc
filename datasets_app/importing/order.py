"""What somebody asked to be imported: the parameters of the run, checked."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from adproof.imports.fetch import Rules, check_address
from adproof.imports.labels import parse_map
from adproof.imports.problems import BadImport
from datasets_app.importing.sources import check_name
from runs.actions import start_run
from runs.models import Run

KIND = "import"  # of the run

# kind, in words, what it wants
KINDS: dict[str, tuple[str, str]] = {
    "products": (
        "Products",
        "A folder or archive of product pictures, or a table (CSV, TSV, JSONL, Parquet) with sku, title and image beside them.",
    ),
    "candidates": (
        "Generated pictures with labels",
        "A table (CSV, TSV, JSONL, Parquet) with image, product and label; or with sample_id and label, for what is here.",
    ),
    "folders": (
        "Image folders (Hugging Face)",
        "A folder or archive whose folders are named as labels, or with metadata.csv, .jsonl or .parquet in it.",
    ),
    "rf1m": ("RF1M as published", "A folder with its archives and label.txt."),
    "version": ("A dataset version of ours", "The folder of an export (NAME/vN), with its manifest.json."),
}


@dataclass(frozen=True)
class Order:
    """kind: one of KINDS. path: on the server; "" if it comes from `url`. source: the name that what is imported is known
    by. labels: what raw values mean ("0=available, ..."). cuts_out: products without transparency by U2-Net.
    """

    kind: str
    path: str = ""
    url: str = ""
    source: str = "import"
    category: str = ""
    labels: str = ""
    cuts_out: bool = True
    dry_run: bool = True
    is_upload: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def title(self) -> str:
        what = KINDS[self.kind][0].lower() if self.kind != "rf1m" else "RF1M"
        name = Path(self.path).name if self.path else Path(urlsplit(self.url).path).name
        return f"{'Look at' if self.dry_run else 'Import'} {what}: {name}"[:200]


def check(order: Order, *, anywhere: bool = False) -> Order:
    """The order with its path in full. Raises BadImport with what to change.

    anywhere: paths outside of the import folder too: for whoever is at the shell of the server.
    """
    if order.kind not in KINDS:
        raise BadImport(f"{order.kind[:40]!r} is no kind of import; there are {', '.join(KINDS)}.")
    source = check_name(order.source or "import")
    parse_map(order.labels)
    if bool(order.path) == bool(order.url):
        raise BadImport("Name one thing to import: a file, a folder on the server, or an address.")
    if order.url:
        if order.kind in ("rf1m", "version"):
            raise BadImport("This kind is a folder: copy it to the server's import folder, and name it there.")
        check_address(order.url, rules())
        path = ""
    else:
        path = str(Path(order.path).resolve() if anywhere or order.is_upload else inside(order.path))
        if not Path(path).exists():
            raise BadImport(f"There is no {order.path} on the server.")
    return Order(**{**asdict(order), "source": source, "path": path})


def inside(path: str) -> Path:
    """A path below the import folder, links followed. Raises BadImport: it leads elsewhere, or there is no such folder."""
    root = Path(settings.IMPORT_DIR)
    try:
        place = (root / path).resolve()
        found = place.is_relative_to(root.resolve()) and place.exists()
    except (OSError, ValueError):
        found = False
    if not found:
        raise BadImport(
            f"There is no {path[:120]!r} in the server's import folder: copy it into {root}, and name it relative to that."
        )
    return place


def rules() -> Rules:
    return Rules(
        hosts=settings.IMPORT_HOSTS, private_hosts=settings.IMPORT_PRIVATE_HOSTS,
        max_bytes=settings.IMPORT_URL_MB * 10**6, seconds=settings.IMPORT_URL_SECONDS,
    )  # fmt: skip


def start(order: Order, *, user: Any = None, anywhere: bool = False) -> Run:
    """The run of this order; the unfinished one if it was asked for already. Raises BadImport."""
    order = check(order, anywhere=anywhere)
    values = order.as_json()
    key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
    return start_run(KIND, {"order": values}, title=order.title, user=user, key=f"import/{key}")


def start_looked_at(run: Run, *, user: Any = None) -> Run:
    """What a dry run has shown, now in earnest. Raises BadImport: it is none, or not finished."""
    order = Order(**run.params["order"])
    if run.kind != KIND or not order.dry_run or run.state != Run.State.SUCCEEDED:
        raise BadImport("Only a finished dry run can be followed by its import: start one first.")
    fetched = run.result.get("fetched", "")
    if fetched:
        order = replace(order, path=fetched, url="", is_upload=True)
    if not Path(order.path).exists():
        raise BadImport("Its file is no longer on the server: upload it again.")
    return start(replace(order, dry_run=False), user=user, anywhere=True)


def listing() -> list[str]:
    """What lies in the import folder, for the form: names, folders with a slash."""
    try:
        with os.scandir(settings.IMPORT_DIR) as entries:
            found = [
                entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries if entry.name[0] != "."
            ]
    except OSError:
        return []
    return sorted(found)[:200]
