"""Guidelines as HTML: paragraphs, "# headings", "- lists", **bold**. Everything else is text, HTML too."""

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
_BOLD = re.compile(r"\*\*(\S(?:[^*]*\S)?)\*\*")


@register.filter
def as_guidelines(text: str) -> SafeString:
    blocks: list[tuple[str, list[str]]] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        kind, words = _read(line.strip())
        if not kind:
            blocks.append(("", []))
        elif blocks and blocks[-1][0] == kind != "h3":
            blocks[-1][1].append(words)
        else:
            blocks.append((kind, [words]))
    return mark_safe("\n".join(_write(kind, lines) for kind, lines in blocks if kind))  # noqa: S308 - escaped below


def _read(line: str) -> tuple[str, str]:
    if not line:
        return "", ""
    if heading := re.fullmatch(r"#{1,4} +(.+)", line):
        return "h3", heading[1]
    if item := re.fullmatch(r"[-*] +(.+)", line):
        return "ul", item[1]
    return "p", line


def _write(kind: str, lines: list[str]) -> str:
    said = [_BOLD.sub(r"<strong>\1</strong>", escape(line)) for line in lines]
    if kind == "ul":
        return f"<ul>{''.join(f'<li>{line}</li>' for line in said)}</ul>"
    return f"<{kind}>{'<br>'.join(said)}</{kind}>"
