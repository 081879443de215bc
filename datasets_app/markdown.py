"""The few forms of Markdown that a dataset card has, as HTML. Raw HTML stays text, and links go to http(s) only.

Headings, paragraphs, lists, tables, fenced code; `code`, **bold**, [text](address). Nothing else is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

MOST_CHARS = 400_000
_INLINE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*|\[([^\]\n]+)\]\((https?://[^\s()<>\"']+)\)")
_HEADING = re.compile(r"(#{1,6}) +(.*)")
_ITEM = re.compile(r"[-*] +(.*)")
_NUMBER = re.compile(r"[0-9][0-9.,]*( %)?")
_CELL = re.compile(r"(?<!\\)\|")


def front_matter(text: str) -> tuple[str, str]:
    """(the YAML between the first two lines of ---, the rest)."""
    if text.startswith("---\n"):
        head, mark, rest = text[4:].partition("\n---\n")
        if mark:
            return head, rest
    return "", text


def html(text: str, top: int = 2) -> SafeString:
    """`top`: the level of the first heading on this page."""
    parts = list(_blocks(text[:MOST_CHARS].replace("\r\n", "\n").split("\n"), top))
    return mark_safe("\n".join(parts))  # noqa: S308 - every part below is escaped


def _inline(text: str) -> str:
    made, at = [], 0
    for match in _INLINE.finditer(text):
        made.append(escape(text[at : match.start()]))
        code, bold, words, address = match.groups()
        if code:
            made.append(format_html("<code>{}</code>", code))
        elif bold:
            made.append(format_html("<strong>{}</strong>", bold))
        else:
            made.append(format_html('<a href="{}" rel="noopener nofollow">{}</a>', address, words))
        at = match.end()
    return "".join([*made, escape(text[at:])])


def _blocks(lines: list[str], top: int) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line, start = lines[at], at
        if line.startswith("```"):
            at = next((n for n in range(at + 1, len(lines)) if lines[n].startswith("```")), len(lines))
            yield format_html('<pre class="code" tabindex="0">{}</pre>', "\n".join(lines[start + 1 : at]))
            at += 1
        elif heading := _HEADING.fullmatch(line):
            level = min(6, len(heading[1]) + top - 1)
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
            at += 1
        elif line.startswith("|"):
            at = _end(lines, at, lambda one: one.startswith("|"))
            yield _table(lines[start:at])
        elif _ITEM.match(line):
            at = _end(lines, at, lambda one: _ITEM.match(one) is not None)
            yield "<ul>" + "".join(f"<li>{_inline(one[2:].strip())}</li>" for one in lines[start:at]) + "</ul>"
        elif not line.strip():
            at += 1
        else:
            at = _end(lines, at, lambda one: bool(one.strip()) and not one.startswith(("|", "#", "```", "- ", "* ")))
            yield f"<p>{_inline(' '.join(lines[start : max(at, start + 1)]))}</p>"
            at = max(at, start + 1)


def _end(lines: list[str], at: int, goes_on) -> int:  # type: ignore[no-untyped-def]
    while at < len(lines) and goes_on(lines[at]):
        at += 1
    return at


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip())[1:-1]]


def _table(lines: list[str]) -> str:
    rows = [_cells(line) for line in lines]
    has_head = len(rows) > 1 and all(cell and set(cell) <= set("-: ") for cell in rows[1])
    body_rows = rows[2:] if has_head else rows
    # Numbers stand below each other.
    right = [
        ' class="right"' if any(column) and all(not cell or _NUMBER.fullmatch(cell) for cell in column) else ""
        for column in zip_longest(*body_rows, fillvalue="")
    ]
    heads = zip_longest(rows[0], right[: len(rows[0])], fillvalue="")
    head = "".join(f'<th scope="col"{side}>{_inline(cell)}</th>' for cell, side in heads) if has_head else ""
    body = "".join(
        "<tr>" + "".join(f"<td{side}>{_inline(cell)}</td>" for cell, side in zip(row, right, strict=False)) + "</tr>"
        for row in body_rows
    )
    return (
        '<div class="table-box" tabindex="0" role="region" aria-label="Table"><table class="table">'
        + (f"<thead><tr>{head}</tr></thead>" if head else "")
        + f"<tbody>{body}</tbody></table></div>"
    )
