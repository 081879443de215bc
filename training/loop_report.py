"""report.html and report.json of a loop: one file that opens anywhere, pictures and charts inside."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from PIL import Image

from generation.blobs import blobs
from training.loop import Report

CHART_JS = "vendor/chartjs/chart.umd.min.js"
# What a curve shows, by the name of the value.
CURVES = ("loss", "validation_f1", "validation_average_precision", "f_ac", "regulariser", "p_available")


def write_report(report: Report, folder: Path) -> Path:
    """Both files, written whole; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    data = asdict(report)
    _write(folder / "report.json", json.dumps(data, indent=1))
    page = render_to_string(
        "training/loop_report.html",
        {
            "report": report,
            "tables": [
                (name, list(_columns(rows)), [[row.get(column) for column in _columns(rows)] for row in rows])
                for name, rows in report.tables.items()
                if rows
            ],
            "pictures": [
                {
                    **row,
                    "before": _inline(row["before"]),
                    "after": _inline(row["after"]),
                    "said_before": row["said before"],
                    "said_after": row["said after"],
                }
                for row in report.pictures
            ],
            "charts": _charts(report),
            "chart_js": _chart_js(),
        },
    )
    _write(folder / "report.html", page)
    return folder / "report.html"


def _columns(rows: list[dict[str, Any]]) -> dict[str, None]:
    return dict.fromkeys(key for row in rows for key in row)


def _charts(report: Report) -> list[dict[str, Any]]:
    charts = []
    for title, points in report.curves.items():
        names = [name for name in CURVES if any(name in point for point in points)]
        charts.append(
            {
                "title": title,
                "series": [
                    {"name": name.replace("_", " "), "points": [[p["step"], p[name]] for p in points if name in p]}
                    for name in names
                ],
            }
        )
    recurrent = [(name, report.figures.get(f"recurrent_{name}")) for name in ("before", "after")]
    series = [
        {"name": f"{name} tuning", "points": [[k, share] for k, share in enumerate(found["available_at"], start=1)]}
        for name, found in recurrent
        if found
    ]
    if series:
        charts.append({"title": "Available within K attempts, by RFNet (Recurrent Generation)", "series": series})
    return charts


def _chart_js() -> str:
    path = finders.find(CHART_JS)
    return Path(path).read_text() if path else ""


def _inline(sha256: str, px: int = 256) -> str:
    image = Image.open(io.BytesIO(blobs().get(sha256))).convert("RGB")
    image.thumbnail((px, px))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
