"""Prompts and what belongs to them: saved with what they said before, copied with a suffix, lists that they draw from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from adproof import wording
from adproof.labels import Label
from generation.models import MAX_PROMPT_CHARS, CategoryDefaults, Product, Prompt, PromptText, VariableList
from generation.scenes import Words

WORDS = ("text", "negative_text", "image_scale")
MAX_VALUES = 500
NAME_IS_TAKEN = "There is a prompt of this name already: choose another."
LIST_NAME_IS_TAKEN = "There is a list of this name already: choose another."
LIST_IS_GONE = "Somebody has deleted this list meanwhile. What you wrote is still here: save once more to make it anew."
PROMPT_IS_GONE = (
    "Somebody has deleted this prompt meanwhile. What you wrote is still here: save once more to make it anew."
)
PREVIEWS = 3


class CannotSave(ValueError):
    """Not possible as asked; the sentence says what to do. field: of the form, where it belongs to one."""

    def __init__(self, sentence: str, field: str | None = "name") -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True)
class Suffix:
    """What a prompt may ask for besides, against one kind of defect."""

    key: str
    title: str
    against: Label
    text: str = ""
    negative: str = ""


# PromptEng, the paper's rival without training: prompts that ask for support, scale and contrast.
SUFFIXES = [
    Suffix("support", "Ask for support", Label.SPACE_MISMATCH, "standing firmly on the surface, with a soft contact shadow"),
    Suffix("scale", "Ask for true scale", Label.SIZE_MISMATCH, "in true proportion to everything around it"),
    Suffix("contrast", "Ask for contrast", Label.INDISTINCTIVENESS, "on a plain, uncluttered background of a contrasting colour"),
    Suffix("shape", "Forbid added parts", Label.SHAPE_HALLUCINATION, negative="extra base, stand, pedestal, legs, handle"),
]  # fmt: skip


def all_lists() -> dict[str, list[str]]:
    return dict(VariableList.objects.order_by("name").values_list("name", "values"))


def save_prompt(prompt: Prompt, before: Prompt | None, user: Any) -> None:
    """Save; what candidates were drawn with stays readable. Call it in a transaction with the row of `before` locked.

    Raises CannotSave: somebody has given its name to another, or deleted or renamed a list that it draws from, in the same
    moment.
    """
    _hold_lists(prompt)
    if before is not None and any(getattr(before, name) != getattr(prompt, name) for name in WORDS):
        prompt.words_changed_at = timezone.now()
        if before.candidates.exists():
            PromptText.objects.create(
                prompt=prompt, changed_by=user, **{name: getattr(before, name) for name in WORDS}
            )  # fmt: skip
    try:
        with transaction.atomic():
            prompt.save()
    except IntegrityError as error:
        raise CannotSave(NAME_IS_TAKEN) from error


def _hold_lists(prompt: Prompt) -> None:
    """The lists that it draws from stay as they are called until it is saved: whoever deletes or renames one then sees it."""
    named = {"text": _named_in(prompt.text), "negative_text": _named_in(prompt.negative_text)}
    wanted = named["text"] | named["negative_text"]
    rows = VariableList.objects.select_for_update(no_key=True).filter(name__in=wanted).order_by("pk")
    there = set(rows.values_list("name", flat=True)) if wanted else set()
    for field, names in named.items():
        if gone := sorted(names - there):
            raise CannotSave(f"Somebody has deleted or renamed the list {{{gone[0]}}} meanwhile: use another.", field)


def _named_in(text: str) -> set[str]:
    try:
        return set(wording.variables(text)) - set(wording.RESERVED)
    except wording.WordingError:
        return set()  # the form has said so


def save_list(row: VariableList) -> None:
    """Raises CannotSave: somebody has given its name to another, deleted it, or begun to draw from it, in the same moment."""
    if row.pk:
        with transaction.atomic():
            before = VariableList.objects.select_for_update(no_key=True).filter(pk=row.pk).first()
            if before is None:
                raise CannotSave(LIST_IS_GONE, None)
            check_rename(before, row.name)
            _save_list(row)
    else:
        _save_list(row)


def _save_list(row: VariableList) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise CannotSave(LIST_NAME_IS_TAKEN) from error


def copy_prompt(prompt: Prompt, suffix: Suffix | None) -> Prompt:
    """A prompt like this one, with a suffix. Raises CannotSave when its text would be too long."""
    text, negative = prompt.text, prompt.negative_text
    if suffix is not None:
        text = ", ".join(part for part in (text.rstrip(" .,"), suffix.text) if part)
        negative = ", ".join(part for part in (negative.rstrip(" .,"), suffix.negative) if part)
    if max(len(text), len(negative)) > MAX_PROMPT_CHARS:
        raise CannotSave(f"With that suffix the text has more than {MAX_PROMPT_CHARS:,} characters: shorten it first.")
    with transaction.atomic():
        return Prompt.objects.create(
            name=_free_name(f"{prompt.name[:90]}, {suffix.key if suffix else 'copy'}"), text=text, negative_text=negative,
            image_scale=prompt.image_scale, categories=prompt.categories, follows_category=prompt.follows_category,
            tags=prompt.tags, notes=prompt.notes, copied_from=prompt,
        )  # fmt: skip


def _free_name(wanted: str) -> str:
    taken = set(Prompt.objects.filter(name__startswith=wanted).values_list("name", flat=True))
    return next(name for name in (wanted, *(f"{wanted} {n}" for n in range(2, len(taken) + 3))) if name not in taken)


def users_of(name: str) -> list[Prompt]:
    """The prompts that draw from this list."""
    found = Prompt.objects.filter(text__contains="{").only("name", "text", "negative_text")
    found |= Prompt.objects.filter(negative_text__contains="{").only("name", "text", "negative_text")
    return [prompt for prompt in found.order_by("name") if name in _variables(prompt)]


def uses() -> dict[str, int]:
    """By list: how many prompts draw from it."""
    counts: dict[str, int] = {}
    for prompt in Prompt.objects.filter(text__contains="{") | Prompt.objects.filter(negative_text__contains="{"):
        for name in _variables(prompt):
            counts[name] = counts.get(name, 0) + 1
    return counts


def _variables(prompt: Prompt) -> set[str]:
    try:
        return {*wording.variables(prompt.text), *wording.variables(prompt.negative_text)}
    except wording.WordingError:
        return set()


def delete_list(pk: int) -> str:
    """Returns its name. Raises CannotSave while prompts draw from it."""
    with transaction.atomic():
        row = VariableList.objects.select_for_update().filter(pk=pk).first()
        if row is None:
            raise CannotSave("Somebody has deleted this list already.")
        if problem := why_list_stays(row):
            raise CannotSave(problem)
        row.delete()
    return row.name


def why_list_stays(row: VariableList) -> str:
    """Why it can't be deleted, as a sentence; empty: it can."""
    used = users_of(row.name)
    return f"{{{row.name}}} is used by {_some(used)}: change those first." if used else ""


def check_rename(row: VariableList, name: str) -> None:
    if row.name != name and (used := users_of(row.name)):
        raise CannotSave(f"{{{row.name}}} is used by {_some(used)}: keep its name, or change those first.")


def _some(prompts: list[Prompt]) -> str:
    named = ", ".join(f"“{prompt}”" for prompt in prompts[:3])
    return f"{named} and {len(prompts) - 3} more" if len(prompts) > 3 else named


def sample_product(categories: list[str], after: int = 0) -> Product | None:
    """A product to show a prompt with: of its categories, another one each time `after` moves on."""
    rows = Product.objects.drawable().order_by("pk")
    if categories:
        rows = rows.filter(category__in=categories)
    return rows.filter(pk__gt=after).first() or rows.first()


def previews(prompt: Prompt, product: Product, seed: int) -> list[Words]:
    """Some of what this prompt may become, each once. Raises WordingError."""
    drawn = dict.fromkeys(prompt.words(product, seed + number) for number in range(4 * PREVIEWS))
    return list(drawn)[:PREVIEWS]


def default_prompts(category: str) -> list[Prompt]:
    """What is usual for products of this category, where somebody has said so."""
    row = CategoryDefaults.objects.filter(category=category).first()
    return list(row.prompts.filter(is_active=True).order_by("name")) if row else []
