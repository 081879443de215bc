"""What every endpoint of the API may answer besides what it is there for; said once, for all of them."""

from typing import Any

_SENTENCE = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
_REFUSALS = {
    "400": (
        "Not understood: `detail`, or a message for each field that is wrong.",
        {"type": "object", "additionalProperties": {}, "minProperties": 1},
    ),
    "401": ("No token, no session, or one that is not valid any more.", _SENTENCE),
    "403": ("Your role may not do this, or it is not yours; `detail` says which.", _SENTENCE),
    "503": (
        "The database is away for a moment: send it again, with the same ids, after `Retry-After` seconds.",
        _SENTENCE,
    ),
}


def say_how_it_refuses(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    for path, methods in result["paths"].items():
        for method, operation in methods.items():
            for status, (description, schema) in _REFUSALS.items():
                if status == "400" and method == "get":
                    continue
                operation["responses"].setdefault(
                    status, {"description": description, "content": {"application/json": {"schema": schema}}}
                )
            if "{" in path or "lease" in path:
                operation["responses"].setdefault(
                    "404",
                    {"description": "There is no such thing.", "content": {"application/json": {"schema": _SENTENCE}}},
                )
    return result
