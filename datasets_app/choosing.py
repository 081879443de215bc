"""Which labelled candidates a version is made of: its query, checked, as a selection, and counted before anybody freezes.

{"category": ["lamps", "chairs"], "min_agreement": 0.8, "labelled_from": "2026-01-01",
 "label_filter": {"state": "reviewed"}, "label_filter_name": "Reviewed"}   all conditions must hold; a list is "one of".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from adproof.labels import LABELS
from adproof.shards.splits import split_of
from annotation.label_browser import read as read_label_filter
from annotation.label_filter import BadFilter
from annotation.models import Annotation, Consensus, SavedFilter
from config.numbers import MAX_ID
from datasets_app.models import SPLITS, ProductSplit
from datasets_app.product_splits import shares_of
from runs.counted import within

EXAMPLES = 12
PREVIEW_S = 2.0  # longer, and one candidate in SAMPLED is counted instead
SAMPLED = 64
MOST_NEW_PRODUCTS = 20_000  # whose split the preview works out; of more it says what the shares say


class CannotFreeze(ValueError):
    """The message says what to change."""


# --- the query


def _whole(least: int, most: int) -> Callable[[Any], Any]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most:,}")
        return value

    return check


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return value


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value or len(value) > 200:
        raise ValueError("a text of at most 200 letters")
    return value


def _day(value: Any) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError) as error:
        raise ValueError("a date such as 2026-01-31") from error


def _one_or_more(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if not isinstance(value, list):
            return check(value)
        if not 1 <= len(value) <= 500:
            raise ValueError("one, or a list of 1 to 500")
        return [check(one) for one in value]

    return checked


def _label_filter(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError('the words of the label browser\'s filter, such as {"state": "reviewed"}')
    words = {str(name): str(word) for name, word in value.items() if name != "order"}
    try:
        form = read_label_filter(words)
    except BadFilter as error:
        raise ValueError(f"a filter of the label browser that holds: {error}") from error
    unknown = set(words) - set(form.fields)
    if unknown:
        raise ValueError(f"a filter of the label browser; it has no {', '.join(sorted(unknown))}")
    return form.query


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "source": _one_or_more(_text),
    "category": _one_or_more(_text),
    "generator": _one_or_more(_whole(1, MAX_ID)),
    "prompt": _one_or_more(_whole(1, MAX_ID)),
    "label": _one_or_more(_whole(0, len(LABELS) - 1)),
    "min_annotations": _whole(0, 1000),
    "min_agreement": _share,
    "min_confidence": _share,
    "created_from": _day,
    "created_to": _day,
    "labelled_from": _day,
    "labelled_to": _day,
    "reviewed_only": _yes,
    "complete_only": _yes,
    "label_filter": _label_filter,
    "label_filter_name": _text,
}
# What a freeze may be asked for; anything else is refused, so that a misspelt filter never freezes everything.
QUERY_KEYS = set(_CHECKS)


def check_query(query: dict[str, Any]) -> dict[str, Any]:
    """The query without its empty conditions; raises CannotFreeze."""
    unknown = set(query) - QUERY_KEYS
    if unknown:
        raise CannotFreeze(f"Unknown filter {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(QUERY_KEYS))}.")
    checked = {}
    for name, value in query.items():
        if value in (None, "", [], {}):
            continue
        try:
            checked[name] = _CHECKS[name](value)
        except ValueError as error:
            raise CannotFreeze(f"{name} must be {error}, not {str(value)[:60]!r}.") from error
    for first, last in (("created_from", "created_to"), ("labelled_from", "labelled_to")):
        if first in checked and last in checked and checked[first] > checked[last]:
            raise CannotFreeze(f"{first} lies after {last}: exchange them.")
    return checked


def from_saved(pk: int, user: Any) -> dict[str, Any]:
    """The part of a query that means this saved filter of the label browser, if it is this person's or shared."""
    saved = SavedFilter.objects.filter(Q(owner=user) | Q(is_shared=True), pk=pk).first()
    if saved is None:
        raise CannotFreeze(f"There is no saved filter {pk} of yours, or shared with you.")
    return saved_as_query(saved)


def saved_as_query(saved: SavedFilter) -> dict[str, Any]:
    """Its words, so that the query means the same whatever becomes of the filter; raises CannotFreeze."""
    return check_query({"label_filter": saved.query, "label_filter_name": saved.name})


# --- the selection


def selected(query: dict[str, Any]) -> QuerySet[Consensus]:
    """The labelled candidates that this filter chooses. Flagged products and candidates without depth or saliency never are."""
    drawn = {"candidate__product__unsuitable": False, "candidate__abandoned_at_step": None}
    rows = Consensus.objects.filter(**drawn).exclude(candidate__depth_sha256="")
    if query.get("complete_only", True):
        rows = rows.filter(is_complete=True)
    for condition in _conditions(query):
        rows = rows.filter(condition)
    return rows


def _conditions(query: dict[str, Any]) -> list[Q]:
    found = []
    for key, column in {
        "generator": "candidate__generator_id", "prompt": "candidate__prompt_id", "label": "label",
        "category": "candidate__product__category", "source": "candidate__product__source",
    }.items():  # fmt: skip
        if key in query:
            value = query[key]
            found.append(Q(**{f"{column}__in": value}) if isinstance(value, list) else Q(**{column: value}))
    for key, column in {"min_annotations": "annotation_count__gte", "min_agreement": "agreement__gte"}.items():
        if query.get(key):
            found.append(Q(**{column: query[key]}))
    if query.get("reviewed_only"):
        found.append(Q(method="review"))
    if query.get("min_confidence"):
        sure = (Q(label=label, **{f"posterior__{label}__gte": query["min_confidence"]}) for label in range(len(LABELS)))
        found.append(Q(*sure, _connector=Q.OR))
    created = _days(query, "created", "candidate__created_at")
    if created:
        found.append(Q(**created))
    answered = _days(query, "labelled", "created_at")
    if answered:
        # One answer that stands was given in this time.
        found.append(Q(candidate__in=Annotation.objects.standing().filter(**answered).values("candidate")))
    if "label_filter" in query:
        found.append(Q(candidate__in=_narrowed(query["label_filter"])))
    return found


def _narrowed(words: dict[str, str]) -> Any:
    try:
        return read_label_filter(words).narrow().values("pk")
    except BadFilter as error:
        raise CannotFreeze(f"The label browser's filter does not hold any more: {error}") from error


def _days(query: dict[str, Any], name: str, column: str) -> dict[str, datetime]:
    found = {}
    if f"{name}_from" in query:
        found[f"{column}__gte"] = _midnight(query[f"{name}_from"])
    if f"{name}_to" in query:
        found[f"{column}__lt"] = _midnight(query[f"{name}_to"], 1)
    return found


def _midnight(day: str, later: int = 0) -> datetime:
    whole = date.fromisoformat(day) + timedelta(days=later)
    return timezone.make_aware(datetime(whole.year, whole.month, whole.day))


# --- the preview


def preview(query: dict[str, Any], name: str = "") -> dict[str, Any]:
    """What the filter would freeze just now, as the next version of `name`:

    {"rows": n, "labels": {name: n}, "sources": {name: n}, "splits": {"train": n, ...}, "products": n, "is_exact": True,
     "examples": [Consensus, ...12]}
    Over many rows it counts one candidate in 64 and multiplies (is_exact False). Splits of products that have none yet are
    worked out one by one, before near-duplicates join; of very many by the dataset's shares.
    """
    rows = selected(check_query(query))
    counted = within(PREVIEW_S, lambda: _counted(rows, name))
    is_exact = counted is not None
    if counted is None:
        thin = rows.annotate(part=F("candidate_id") % SAMPLED).filter(part=0)
        counted = within(2 * PREVIEW_S, lambda: _counted(thin, name))
        if counted is None:
            raise CannotFreeze("This filter takes too long to be counted: narrow it, or freeze without a look before.")
        counted = _times(counted, SAMPLED)
    few = rows.select_related("candidate__product").order_by("-pk")[:EXAMPLES]
    examples = within(PREVIEW_S, lambda: list(few)) or []
    return counted | {"is_exact": is_exact, "examples": examples}


def _counted(rows: QuerySet[Consensus], name: str) -> dict[str, Any]:
    labels = dict.fromkeys(LABELS, 0)
    sources: dict[str, int] = {}
    by_both = rows.values_list("label", "candidate__product__source").annotate(n=Count("pk")).order_by()
    for label, source, n in by_both:
        labels[LABELS[label]] += n
        sources[source] = sources.get(source, 0) + n
    splits, products = _splits(rows, name)
    return {
        "rows": sum(labels.values()),
        "labels": labels,
        "sources": dict(sorted(sources.items(), key=lambda item: -item[1])),
        "splits": splits,
        "products": products,
    }


def _splits(rows: QuerySet[Consensus], name: str) -> tuple[dict[str, int], int]:
    by_product = rows.values("candidate__product_id", "candidate__product__sku").annotate(n=Count("pk")).order_by()
    sql, values = by_product.query.sql_with_params()
    found: dict[str, float] = dict.fromkeys(SPLITS, 0)
    products, shares = 0, shares_of(name)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN s.split IS NULL THEN q.sku END, s.split, sum(q.n), count(*)"
            f" FROM ({sql}) q (product_id, sku, n)"
            f" LEFT JOIN {ProductSplit._meta.db_table} s ON s.product_id = q.product_id AND s.name = %s GROUP BY 1, 2",
            [*values, name],
        )
        for number, (sku, split, n, of) in enumerate(cursor):
            products += of
            if split is None and number < MOST_NEW_PRODUCTS:
                split = split_of(sku, name, shares)
            if split is not None:
                found[split] += int(n)
            else:
                for one, share in zip(SPLITS, shares, strict=True):
                    found[one] += int(n) * share
    return {split: round(n) for split, n in found.items()}, products


def _times(counted: dict[str, Any], factor: int) -> dict[str, Any]:
    return {
        # The products of a sample are not so many times more: it is said as they were found.
        name: value if name == "products" else value * factor if isinstance(value, int)
        else {key: n * factor for key, n in value.items()}
        for name, value in counted.items()
    }  # fmt: skip
