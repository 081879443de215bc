"""The loop as stations: what is at each, and the next thing to do there."""

from dataclasses import dataclass, field
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from annotation.models import Slot, Task
from frontend_templates.numbers import Numbers, numbers, score

MANY_TASKS = 200
# A new version is proposed for so many new labelled candidates, or when there is nothing left to label.
WORTH_A_VERSION = 20

# Which station a run's kind is at work for.
STATION_OF_KIND = {
    "cut_out": "products",
    "generate": "candidates",
    "perceive": "perception",
    "freeze": "dataset",
    "train_rfnet": "rfnet",
    "score": "judge",
    "score_all": "judge",
    "open_round": "pick",
    "train_rfft": "tune",
}


@dataclass(frozen=True)
class Action:
    text: str
    url: str


@dataclass(frozen=True)
class Station:
    key: str
    title: str
    value: int
    unit: str
    detail: str
    # The page behind this station, if this user may see it.
    url: str = ""
    # What to do next here, in a sentence, and the button for it if this user may press it.
    next_step: str = ""
    action: Action | None = None
    # Something waits here; idle stations stay quiet.
    wants: bool = False
    pictures: list[str] = field(default_factory=list)
    on_checkerboard: bool = False
    busy_runs: int = 0
    busy_share: float = 0.0


def stations(user: Any) -> list[Station]:
    n = numbers()
    found = [
        _products(user, n), _candidates(user, n), _perception(user, n), _label(user, n), _consensus(user, n),
        _dataset(user, n), _rfnet(user, n), _judge(user, n), _pick(user, n), _tune(user, n),
    ]  # fmt: skip
    return [_with_busy(station, n.busy) for station in found]


def next_for(found: list[Station]) -> Station | None:
    """The one thing to do now: the furthest station along the loop that waits and that this user can serve."""
    waiting = [station for station in found if station.wants and station.action]
    return waiting[-1] if waiting else None


def _with_busy(station: Station, busy: dict[str, tuple[int, float]]) -> Station:
    mine = [state for kind, state in busy.items() if STATION_OF_KIND.get(kind) == station.key]
    if not mine:
        return station
    return Station(**{**station.__dict__, "busy_runs": sum(count for count, _ in mine), "busy_share": mine[-1][1]})


def _page(user: Any, ability: str, name: str, *args: Any, **query: Any) -> str:
    if not user.may(ability):
        return ""
    try:
        url = reverse(name, args=args)
    except NoReverseMatch:  # this page is not there (yet)
        return ""
    return f"{url}?{urlencode(query)}" if query else url


def _action(text: str, url: str) -> Action | None:
    return Action(text, url) if url else None


def some(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _products(user: Any, n: Numbers) -> Station:
    empty = not n.products
    detail = some(n.prompts, "prompt") + (f", {n.unsuitable:,} unsuitable" if n.unsuitable else "")
    if n.products and not n.prompts:
        step, action = (
            "No prompt yet: write one to draw with.",
            _action("Write a prompt", _page(user, "generate", "prompt_create")),
        )
    else:
        step = "Nothing to advertise yet: bring products in." if empty else "More products make the judge sturdier."
        action = _action("Add products", _page(user, "edit_products", "product_import"))
    return Station(
        "products",
        "Products & prompts",
        n.products,
        "product" if n.products == 1 else "products",
        detail,
        _page(user, "see_candidates", "products"),
        step,
        action,
        empty or not n.prompts,
        n.product_pictures,
        True,
    )


def _candidates(user: Any, n: Numbers) -> Station:
    ready = bool(n.products and n.prompts)
    empty = ready and not n.candidates
    step = (
        "Draw the first pictures of your products."
        if empty
        else "Draw more with the generator in use."
        if ready
        else ""
    )
    detail = f"by {n.generator_in_use}" if n.generator_in_use else "no generator is in use"
    if n.drawn_twice:
        detail += f", {n.drawn_twice:,} drawn again"
    return Station(
        "candidates",
        "Candidates",
        n.candidates,
        "candidate" if n.candidates == 1 else "candidates",
        detail,
        _page(user, "see_candidates", "candidates"),
        step,
        _action("Draw candidates", _page(user, "generate", "generate")) if ready else None,
        empty,
        n.candidate_pictures,
    )


def _perception(user: Any, n: Numbers) -> Station:
    step, action = "", None
    if n.unperceived:
        step = f"{some(n.unperceived, 'candidate')} lack depth or saliency."
        action = _action("See them", _page(user, "see_candidates", "candidates", state="unperceived"))
    return Station(
        "perception",
        "Depth & saliency",
        n.candidates - n.unperceived,
        "perceived",
        "what RFNet sees besides the picture",
        "",
        step or "Made with every candidate.",
        action,
        False,
        n.perceived_pictures,
    )


def _tasks_for(user: Any) -> int:
    """Open tasks this person has not had yet, counted up to MANY_TASKS."""
    if not user.may("label"):
        return 0
    mine = Slot.objects.filter(annotator=user).values("task")
    open_tasks = Task.objects.open().filter(project__is_paused=False).exclude(pk__in=mine)
    return open_tasks.exclude(skips__annotator=user).order_by()[:MANY_TASKS].count()


def _label(user: Any, n: Numbers) -> Station:
    mine = _tasks_for(user) if n.open_tasks else 0
    how_many = f"{mine}+" if mine >= MANY_TASKS else str(mine)
    if mine:
        step = f"{how_many} {'task waits' if mine == 1 else 'tasks wait'} for you."
    elif n.open_tasks:
        step = f"{some(n.open_tasks, 'open task')}, all for other people."
    else:
        step = "No task is open."
    people = f" by {some(n.annotators, 'person', 'people')}" if n.annotators else ""
    return Station(
        "label",
        "People label",
        n.open_tasks,
        "open task" if n.open_tasks == 1 else "open tasks",
        f"{some(n.annotations, 'annotation')}{people}",
        _page(user, "label", "desk"),
        step,
        _action("Label", _page(user, "label", "desk")) if mine else None,
        mine > 0,
    )


def _consensus(user: Any, n: Numbers) -> Station:
    page = _page(user, "see_quality", "quality")
    step = (
        f"People disagree on {n.disagreed:,}." if n.disagreed else "No disagreement to settle." if n.consensuses else ""
    )
    return Station(
        "consensus",
        "Consensus",
        n.consensuses,
        "settled",
        "majority, then Dawid-Skene",
        page,
        step,
        _action("Look at them", page) if n.disagreed else None,
        False,
    )


def _dataset(user: Any, n: Numbers) -> Station:
    page = _page(user, "freeze_datasets", "datasets")
    newest = n.newest_version
    detail = f"newest: {newest}, {some(newest.row_count, 'sample')}" if newest else "none frozen yet"
    step, action, wants = "Every labelled candidate is in a version." if n.consensuses else "", None, False
    if n.unwritten_version:
        step = f"{n.unwritten_version} is frozen and not written yet."
        action, wants = _action("Write it", _page(user, "freeze_datasets", "dataset", n.unwritten_version.pk)), True
    elif n.in_no_version:
        step = f"{some(n.in_no_version, 'labelled candidate is', 'labelled candidates are')} in no version."
        action = _action("Freeze", page)
        wants = not n.open_tasks or n.in_no_version >= WORTH_A_VERSION
    return Station(
        "dataset",
        "Dataset version",
        n.versions,
        "version" if n.versions == 1 else "versions",
        detail,
        page,
        step,
        action,
        wants,
    )


def _rfnet(user: Any, n: Numbers) -> Station:
    reached = score(n.promoted)
    detail = "none in use yet"
    if n.promoted:
        detail = f"{n.promoted} in use" + (f", AP {reached:.2f}" if reached is not None else "")
    step, action, wants = "", None, False
    if n.better_checkpoint:
        better = score(n.better_checkpoint)
        figure = f" (AP {better:.2f})" if better is not None else ""
        beats = f"beats the one in use{figure}." if n.promoted else f"is trained{figure}; none is in use."
        step = f"{n.better_checkpoint} {beats}"
        action, wants = _action("Promote", _page(user, "promote", "trainings")), True
    elif n.untrained_version:
        step = f"{n.untrained_version} is written and not trained on."
        action = _action(
            "Train RFNet", _page(user, "train", "training_start", kind="rfnet", version=n.untrained_version.pk)
        )
        wants = True
    elif n.promoted:
        step = "Trained on the newest version."
    return Station(
        "rfnet",
        "RFNet",
        n.checkpoints,
        "checkpoint" if n.checkpoints == 1 else "checkpoints",
        detail,
        _page(user, "train", "trainings"),
        step,
        action,
        wants,
    )


def _judge(user: Any, n: Numbers) -> Station:
    page = _page(user, "train", "rounds")
    if not n.promoted:
        return Station(
            "judge",
            "RFNet judges",
            0,
            "verdicts",
            "five probabilities for each candidate",
            page,
            "Needs a checkpoint in use.",
        )
    wants = n.unjudged > 0
    step = f"{some(n.unjudged, 'candidate')} without a verdict." if wants else "Every candidate is judged."
    return Station(
        "judge",
        "RFNet judges",
        n.judged,
        "verdict" if n.judged == 1 else "verdicts",
        f"by {n.promoted}",
        page,
        step,
        _action("Judge them", page) if wants else None,
        wants,
    )


def _pick(user: Any, n: Numbers) -> Station:
    page = _page(user, "train", "rounds")
    last = n.newest_round
    detail = f"last picked {last.picked_count:,} by {last.strategy}" if last else "the least sure first, some at random"
    step, wants = "", False
    if n.unseen_by_people:
        step = f"{some(n.unseen_by_people, 'judged candidate')} no one has looked at."
        wants = n.open_tasks == 0
    elif n.promoted:
        step = "All judged candidates are with people."
    return Station(
        "pick",
        "Pick what to label",
        last.number if last else 0,
        "round" if last and last.number == 1 else "rounds",
        detail,
        page,
        step,
        _action("Start a round", page) if n.unseen_by_people else None,
        wants,
    )


def _tune(user: Any, n: Numbers) -> Station:
    step, action, wants = "", None, False
    if n.promoted:
        wants = n.tuned == 0 and n.unjudged == 0
        step = (
            "Let RFNet's feedback tune the ControlNet."
            if n.tuned == 0
            else f"{some(n.tuned, 'tuned generator')} so far."
        )
        action = _action("Tune", _page(user, "train", "training_start", kind="rfft"))
    else:
        step = "Needs an RFNet in use."
    return Station(
        "tune",
        "Tune the generator",
        n.generators,
        "generator" if n.generators == 1 else "generators",
        f"in use: {n.generator_in_use}" if n.generator_in_use else "none in use",
        _page(user, "see_candidates", "generators"),
        step,
        action,
        wants,
    )
