"""The API's documentation as a page of ours: no script, nothing from elsewhere, the same look as the other pages."""

import json
from collections import defaultdict
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

JSON = "application/json"


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    return render(request, "api_docs.html", {"groups": _groups()})


@cache
def _groups() -> dict[str, list[dict[str, Any]]]:
    """By tag; it changes with the code only."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append(_told(schema, path, method, operation))
    return dict(groups)


def _with_code(text: str) -> SafeString:
    """`words` like these, as they stand in descriptions."""
    parts = enumerate(text.split("`"))
    return format_html_join("", "{}", ((format_html("<code>{}</code>", part) if n % 2 else part,) for n, part in parts))


def _told(schema: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    asked = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    given = operation["responses"]["200"].get("content", {}).get(JSON, {})
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": _with_code(operation.get("description", "")),
        "takes": _fields(schema, asked.get("schema", {})),
        "gives": _fields(schema, given.get("schema", {})),
        "examples": [
            {"name": example.get("summary", name), "text": json.dumps(example["value"], indent=2)}
            for name, example in {**asked.get("examples", {}), **given.get("examples", {})}.items()
        ],
        "refusals": {
            status: _with_code(row["description"]) for status, row in operation["responses"].items() if status != "200"
        },
    }


def _fields(schema: dict[str, Any], node: dict[str, Any], prefix: str = "") -> list[dict[str, Any]]:
    """One line for each field, those within others as `annotations[].label`."""
    node = _resolved(schema, node)
    if node.get("type") == "array":
        return _fields(schema, node["items"], f"{prefix}[].")
    lines = []
    for name, inner in node.get("properties", {}).items():
        found, where = _resolved(schema, inner), f"{prefix}{name}"
        lines.append(
            {
                "name": where,
                "kind": _kind(schema, inner),
                "is_required": name in node.get("required", ()) and "default" not in found,
                "text": _with_code(inner.get("description", "")),
            }
        )
        if found.get("type") == "array":
            lines += _fields(schema, found["items"], f"{where}[].")
        elif "properties" in found:
            lines += _fields(schema, found, f"{where}.")
    return lines


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What stands behind a reference, alone or wrapped for a description or `nullable`."""
    if len(node.get("allOf", ())) == 1:
        return {**_resolved(schema, node["allOf"][0]), **{name: node[name] for name in node if name != "allOf"}}
    if "$ref" in node:
        return _resolved(schema, schema["components"]["schemas"][node["$ref"].rpartition("/")[2]])
    return node


def _kind(schema: dict[str, Any], node: dict[str, Any]) -> str:
    node = _resolved(schema, node)
    if "oneOf" in node:
        said = " or ".join(dict.fromkeys(_kind(schema, one) for one in node["oneOf"]))
    elif "enum" in node:
        said = " | ".join(str(value) for value in node["enum"] if value is not None)
    elif node.get("type") == "array":
        said = f"list of {_kind(schema, node['items'])}"
    else:
        said = node.get("format") or node.get("type") or "any"
        said = {"int64": "integer", "double": "number"}.get(said, said)
    return f"{said} or null" if node.get("nullable") else said
