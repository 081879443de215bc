"""The keys of the desk: the usual ones, and those that a person has chosen instead."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import Any

from adproof.labels import TITLES, Label
from annotation.models import DeskSettings

ACTIONS = {
    **{f"label-{label.value}": TITLES[label] for label in Label},
    "skip": "Skip",
    "undo": "Undo",
    "flag": "Flag product",
    "product": "Original",
    "depth": "Depth",
    "saliency": "Saliency",
    "before": "Before (held)",
    "compare": "Compare",
    "zoomIn": "Zoom in",
    "zoomOut": "Zoom out",
    "zoomReset": "Whole picture",
    "help": "Keys",
}
USUAL = {
    **{f"label-{label.value}": str(label.value + 1) for label in Label},
    "skip": "s",
    "undo": "u",
    "flag": "f",
    "product": "o",
    "depth": "d",
    "saliency": "a",
    "before": "b",
    "compare": "c",
    "zoomIn": "+",
    "zoomOut": "-",
    "zoomReset": "0",
    "help": "?",
}
# A second key, for as long as its action has its usual key and nothing else has taken it.
ALSO = {"Space": "skip", "z": "undo", "=": "zoomIn", "_": "zoomOut"}
NAMED = (
    "Space", "Enter", "Backspace", "Delete", "Insert", "Home", "End", "PageUp", "PageDown", "ArrowUp", "ArrowDown",
    "ArrowLeft", "ArrowRight", "F2", "F4", "F8", "F9",
)  # fmt: skip
# The browser, the system or a screen reader wants these.
RESERVED = (
    "Tab", "Escape", "Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "NumLock", "ScrollLock", "ContextMenu",
    "PrintScreen", "Pause", "F1", "F3", "F5", "F6", "F7", "F10", "F11", "F12",
)  # fmt: skip
SIGNS = {"ArrowUp": "↑", "ArrowDown": "↓", "ArrowLeft": "←", "ArrowRight": "→", "-": "−"}


class BadKeys(ValueError):
    def __init__(self, by_action: dict[str, list[str]]) -> None:
        super().__init__("; ".join(message for messages in by_action.values() for message in messages))
        self.by_action = by_action


def sign(key: str) -> str:
    """As it is written on the page."""
    return SIGNS.get(key, key.upper() if len(key) == 1 else key)


def of(user: Any) -> dict[str, str]:
    """The key of each action for this person."""
    own = DeskSettings.objects.filter(user=user).values_list("keys", flat=True).first()
    return {**USUAL, **{action: key for action, key in (own or {}).items() if action in USUAL}}


def check(chosen: dict[str, str]) -> dict[str, str]:
    """Those that differ from the usual keys, as they are stored. Raises BadKeys, with sentences by action."""
    wrong: dict[str, list[str]] = defaultdict(list)
    keys = dict(USUAL)
    for action, key in chosen.items():
        if action not in ACTIONS:
            wrong[action[:60]].append(f"There is no such action. Known: {', '.join(ACTIONS)}.")
            continue
        key = "Space" if key == " " else key.lower() if len(key) == 1 and len(key.lower()) == 1 else key
        if complaint := _complaint(key):
            wrong[action].append(complaint)
        keys[action] = key
    by_key: dict[str, list[str]] = defaultdict(list)
    for action, key in keys.items():
        by_key[key].append(action)
    for key, actions in by_key.items():
        for action in actions if len(actions) > 1 else ():
            others = " and ".join(ACTIONS[other] for other in actions if other != action)
            wrong[action].append(f"{sign(key)} is the key of {others} as well: choose another.")
    if wrong:
        raise BadKeys(dict(wrong))
    return {action: key for action, key in keys.items() if key != USUAL[action]}


def _complaint(key: str) -> str:
    if key in NAMED:
        return ""
    if key in RESERVED:
        return f"{key} belongs to the browser or the system: choose another."
    if len(key) != 1:
        return f"Give one key without Ctrl, Alt or Cmd: a character, or one of {', '.join(NAMED)}."
    # Letters, numbers, punctuation and signs: what one key can type and a page can show.
    if unicodedata.category(key)[0] not in "LNPS":
        return "This key types nothing that can be seen: choose another."
    return ""
