"""The loop as stations: what is at each, and the next thing to do there."""

from dataclasses import dataclass, field, replace
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from annotation.waiting import waiting_for
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
    "first_tasks": "label",
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
    # How far this station is through what the one before it gave: done, of how many.
    done: int = 0
    of: int = 0
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
    station = replace(station, busy_runs=sum(count for count, _ in mine), busy_share=mine[-1][1])
    if station.key == "candidates" and station.wants and station.action:  # the first ones: asked for, and not there yet
        seen = reverse("runs") + "?" + urlencode({"state": "unfinished", "kind": "generate"})
        return replace(station, next_step="The first pictures are being drawn.", action=Action("Watch them come", seen))
    return station


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


def plural(count: int, one: str, many: str = "") -> str:
    return one if count == 1 else many or one + "s"


def some(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {plural(count, one, many)}"


def _products(user: Any, n: Numbers) -> Station:
    empty = not n.products
    if n.products and not n.prompts:
        step = "No prompt yet: write one to draw with."
        action = _action("Write a prompt", _page(user, "generate", "prompt_create"))
    else:
        step = "Nothing to advertise yet: bring products in." if empty else "More products make the judge sturdier."
        action = _action("Add products", _page(user, "edit_products", "product_import"))
    return Station(
        key="products",
        title="Products & prompts",
        value=n.products,
        unit=plural(n.products, "product"),
        detail=some(n.prompts, "prompt") + (f", {n.unsuitable:,} unsuitable" if n.unsuitable else ""),
        url=_page(user, "see_candidates", "products"),
        next_step=step,
        action=action,
        wants=empty or not n.prompts,
        pictures=n.product_pictures,
        on_checkerboard=True,
    )


def _candidates(user: Any, n: Numbers) -> Station:
    ready = bool(n.products and n.prompts)
    empty = ready and not n.candidates
    step = ""
    if ready:
        step = "Draw the first pictures of your products." if empty else "Draw more with the generator in use."
    detail = f"by {n.generator_in_use}" if n.generator_in_use else "no generator is in use"
    return Station(
        key="candidates",
        title="Candidates",
        value=n.candidates,
        unit=plural(n.candidates, "candidate"),
        detail=detail + (f", {n.drawn_twice:,} drawn again" if n.drawn_twice else ""),
        url=_page(user, "see_candidates", "candidates"),
        next_step=step,
        action=_action("Draw candidates", _page(user, "generate", "generate")) if ready else None,
        wants=empty,
        pictures=n.candidate_pictures,
    )


def _perception(user: Any, n: Numbers) -> Station:
    step, action = "Made with every candidate.", None
    if n.unperceived:
        step = f"{some(n.unperceived, 'candidate lacks', 'candidates lack')} depth or saliency."
        action = _action("See them", _page(user, "see_candidates", "candidates", state="unperceived"))
    return Station(
        key="perception",
        title="Depth & saliency",
        value=n.candidates - n.unperceived,
        unit="perceived",
        detail="what RFNet sees besides the picture",
        next_step=step,
        action=action,
        pictures=n.perceived_pictures,
    )


def _tasks_for(user: Any) -> int:
    if not user.may("label"):
        return 0
    return waiting_for(user, MANY_TASKS)


def _label(user: Any, n: Numbers) -> Station:
    mine = _tasks_for(user) if n.open_tasks else 0
    page = _page(user, "label", "desk")
    if mine:
        step = f"{mine}{'+' if mine >= MANY_TASKS else ''} {'task waits' if mine == 1 else 'tasks wait'} for you."
    elif n.open_tasks:
        step = f"{some(n.open_tasks, 'open task')}, all for other people."
    else:
        step = "No task is open."
    people = f" by {some(n.annotators, 'person', 'people')}" if n.annotators else ""
    return Station(
        key="label",
        title="People label",
        value=n.open_tasks,
        unit=plural(n.open_tasks, "open task"),
        detail=some(n.annotations, "annotation") + people,
        url=page,
        next_step=step,
        action=_action("Label", page) if mine else None,
        wants=mine > 0,
        done=n.consensuses,
        of=n.consensuses + n.open_tasks,
    )


def _consensus(user: Any, n: Numbers) -> Station:
    page = _page(user, "see_quality", "quality")
    step = ""
    if n.disagreed:
        step = f"People disagree on {n.disagreed:,}."
    elif n.consensuses:
        step = "No disagreement to settle."
    return Station(
        key="consensus",
        title="Consensus",
        value=n.consensuses,
        unit="settled",
        detail=f"of {some(n.candidates, 'candidate')}" if n.candidates else "what the answers add up to",
        url=page,
        next_step=step,
        action=_action("Look at them", page) if n.disagreed else None,
        done=n.consensuses,
        of=n.candidates,
    )


def _dataset(user: Any, n: Numbers) -> Station:
    page = _page(user, "freeze_datasets", "datasets")
    newest = n.newest_version
    step, action, wants = "", None, False
    if n.unwritten_version:
        step = f"{n.unwritten_version} is frozen and not written yet."
        action = _action("Write it", _page(user, "freeze_datasets", "dataset", n.unwritten_version.pk))
        wants = True
    elif n.in_no_version:
        step = f"{some(n.in_no_version, 'labelled candidate is', 'labelled candidates are')} in no version."
        action = _action("Freeze", page)
        wants = not n.open_tasks or n.in_no_version >= WORTH_A_VERSION
    elif n.consensuses:
        step = "Every labelled candidate is in a version."
    return Station(
        key="dataset",
        title="Dataset version",
        value=n.versions,
        unit=plural(n.versions, "version"),
        detail=f"newest: {newest}, {some(newest.row_count, 'sample')}" if newest else "none frozen yet",
        url=page,
        next_step=step,
        action=action,
        wants=wants,
        done=max(0, n.consensuses - n.in_no_version),
        of=n.consensuses,
    )


def _rfnet(user: Any, n: Numbers) -> Station:
    reached, better = score(n.promoted), n.better_checkpoint
    detail = "none in use yet"
    if n.promoted:
        detail = f"{n.promoted} in use" + (f", AP {reached:.2f}" if reached is not None else "")
    step, action, wants = "", None, False
    if better:
        figure = score(better)
        said = f" (AP {figure:.2f})" if figure is not None else ""
        step = f"{better} " + (f"beats the one in use{said}." if n.promoted else f"is trained{said}; none is in use.")
        action, wants = _action("Promote", _page(user, "promote", "checkpoint", better.pk)), True
    elif n.untrained_version:
        step = f"{n.untrained_version} is written and not trained on."
        version = n.untrained_version.pk
        action = _action("Train RFNet", _page(user, "train", "training_start", kind="rfnet", version=version))
        wants = True
    elif n.promoted:
        step = "Trained on the newest version."
    return Station(
        key="rfnet",
        title="RFNet",
        value=n.checkpoints,
        unit=plural(n.checkpoints, "checkpoint"),
        detail=detail,
        url=_page(user, "train", "trainings"),
        next_step=step,
        action=action,
        wants=wants,
    )


def _judge(user: Any, n: Numbers) -> Station:
    page = _page(user, "train", "rounds")
    step = "Needs a checkpoint in use."
    if n.promoted:
        step = "Every candidate is judged."
    if n.unjudged:
        step = f"{some(n.unjudged, 'candidate')} without a verdict."
    return Station(
        key="judge",
        title="RFNet judges",
        value=n.judged,
        unit=plural(n.judged, "verdict"),
        detail=f"by {n.promoted}" if n.promoted else "five probabilities for each candidate",
        url=page,
        next_step=step,
        action=_action("Judge them", page) if n.unjudged else None,
        wants=n.unjudged > 0,
        done=n.judged,
        of=n.judged + n.unjudged,
    )


def _pick(user: Any, n: Numbers) -> Station:
    page = _page(user, "train", "rounds")
    last = n.newest_round
    step = ""
    if n.unseen_by_people:
        step = f"{some(n.unseen_by_people, 'judged candidate')} no one has looked at."
    elif n.promoted:
        step = "All judged candidates are with people."
    rounds = last.number if last else 0
    return Station(
        key="pick",
        title="Pick what to label",
        value=rounds,
        unit=plural(rounds, "round"),
        detail=f"last picked {last.picked_count:,} by {last.strategy}"
        if last
        else "the least sure first, some at random",
        url=page,
        next_step=step,
        action=_action("Start a round", page) if n.unseen_by_people else None,
        wants=bool(n.unseen_by_people) and n.open_tasks == 0,
    )


def _tune(user: Any, n: Numbers) -> Station:
    step, action = "Needs an RFNet in use.", None
    if n.promoted:
        step = f"{some(n.tuned, 'tuned generator')} so far." if n.tuned else "Let RFNet's feedback tune the ControlNet."
        action = _action("Tune", _page(user, "train", "training_start", kind="rfft"))
    return Station(
        key="tune",
        title="Tune the generator",
        value=n.generators,
        unit=plural(n.generators, "generator"),
        detail=f"in use: {n.generator_in_use}" if n.generator_in_use else "none in use",
        url=_page(user, "see_candidates", "generators"),
        next_step=step,
        action=action,
        wants=n.promoted is not None and n.tuned == 0 and n.unjudged == 0,
    )
