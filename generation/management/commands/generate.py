"""`manage.py generate`: have candidates drawn, as the page “Draw candidates” does. Workers do the work."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from generation.costs import cost_of
from generation.ordering import MAX_SEEDS, Wish, check_judged, estimate, start
from generation.planning import MAX_ATTEMPTS, Budget, CannotStart
from runs.following import tell_until_ended
from runs.models import Run


class Command(BaseCommand):
    help = (
        "Draw candidates for products x prompts x seeds. A worker must be running: `manage.py up`, or `manage.py work`."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_argument_group("products: all that every given condition fits")
        what.add_argument("--skus", nargs="+", default=[], metavar="SKU")
        what.add_argument("--category", default="")
        what.add_argument("--source", default="")
        what.add_argument("--find", default="", metavar="WORD", help="a word of title or SKU")
        what.add_argument("--newest", type=int, metavar="N", help="the newest N of them only")
        parser.add_argument(
            "--prompts", nargs="+", default=[], metavar="NAME", help="names or ids; default: all active"
        )
        parser.add_argument("--prompt-category", help="prompts of this category only ('' = those for every category)")
        parser.add_argument("--per-pair", type=int, default=1, help="pictures of each product with each prompt")
        parser.add_argument("--attempts", type=int, default=1, help="draw again until RFNet calls one available")
        parser.add_argument(
            "--early-stop",
            nargs=2,
            metavar=("STEP", "P"),
            help="after STEP, give up what RFNet calls available below P",
        )
        parser.add_argument("--generator", help="name or id; default: the one in use")
        parser.add_argument("--limit", type=int, help="plan no more than so many pictures")
        parser.add_argument("--seed", type=int, help="the same seed draws the same pictures; default: a new one")
        parser.add_argument("--budget-images", type=int, help="end when so many are made")
        parser.add_argument(
            "--budget-minutes", type=float, help="end after so many minutes of computing, all workers together"
        )
        parser.add_argument(
            "--as", dest="person", help="user name of whoever may stop it; default: nobody in particular"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what it would make, and start nothing")
        parser.add_argument("--follow", action="store_true", help="show the progress until it ends")

    def handle(self, *args: Any, **options: Any) -> None:
        wish = self._wish(options)
        try:
            if options["dry_run"]:
                check_judged(wish)
                self._say_estimate(wish)
                return
            run = start(wish, self._person(options["person"]))
        except CannotStart as problem:
            raise CommandError(str(problem)) from problem
        left_out = "".join(f" {count:,} products left out: {why}." for why, count in run.plan.left_out.items())
        self.stdout.write(f"Run {run.pk}: {run.title}.{left_out}")
        if options["follow"]:
            self._follow(run)

    def _wish(self, options: dict[str, Any]) -> Wish:
        if not 1 <= options["per_pair"] <= MAX_SEEDS:
            raise CommandError(f"--per-pair must lie between 1 and {MAX_SEEDS}.")
        if not 1 <= options["attempts"] <= MAX_ATTEMPTS:
            raise CommandError(f"--attempts must lie between 1 and {MAX_ATTEMPTS}.")
        for name in ("newest", "limit"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name} must be at least 1.")
        return Wish(
            skus=options["skus"], category=options["category"], source=options["source"], q=options["find"],
            newest=options["newest"], prompts=options["prompts"], prompt_category=options["prompt_category"],
            per_pair=options["per_pair"], attempts=options["attempts"], generator=options["generator"],
            base_seed=options["seed"], limit=options["limit"],
            budget=Budget(options["budget_images"], options["budget_minutes"]), early_stop=self._early(options),
        )  # fmt: skip

    def _early(self, options: dict[str, Any]) -> dict[str, Any] | None:
        if not options["early_stop"]:
            return None
        try:
            return {"step": int(options["early_stop"][0]), "threshold": float(options["early_stop"][1])}
        except ValueError as error:
            raise CommandError("--early-stop takes a step and a probability, like: --early-stop 8 0.1") from error

    def _person(self, name: str | None) -> User | None:
        if name is None:
            return None
        user = User.objects.filter(username=name).first()
        if user is None or not user.may("generate"):
            raise CommandError(f"There is nobody called {name} who may draw candidates.")
        return user

    def _say_estimate(self, wish: Wish) -> None:
        found = estimate(wish)
        time_s = f", about {found.seconds / 60:.1f} minutes of one worker" if found.seconds else ""
        left_out = "".join(f"; {count:,} products left out: {why}" for why, count in found.left_out.items())
        self.stdout.write(f"{found.images:,} pictures{time_s}{left_out}.")

    def _follow(self, run: Run) -> None:
        tell_until_ended(run, self.stdout)
        cost, failed = cost_of(run), run.plan.failures.count()
        each = f", {cost.seconds_per_image:.1f} s each" if cost.seconds_per_image else ""
        self.stdout.write(f"{cost.images:,} pictures in {cost.seconds:,.0f} s of computing{each}; {failed:,} failed.")
        if run.state == Run.State.FAILED:
            raise CommandError(run.error)
