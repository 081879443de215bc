"""`manage.py modelset list | check | get | use | train`: which models there are, whether they are sound, how they come here."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from adproof import mini_set, model_sets
from generation.model_sets import places


class Command(BaseCommand):
    help = "Model sets: list, check and get them, and make their generator one that draws."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        commands.add_parser("list", help="every set, and whether it is on this machine")
        checking = commands.add_parser("check", help="read every file of a set: there, whole, safetensors")
        checking.add_argument("name", nargs="?", default=settings.MODEL_SET)
        getting = commands.add_parser("get", help="fetch a set, or one model of the hub (owner/name)")
        getting.add_argument("name")
        using = commands.add_parser("use", help="register a set's generator and put it in use")
        using.add_argument("name")
        training = commands.add_parser("train", help="train the mini set again, on the ad world")
        training.add_argument("name", choices=["mini"])
        training.add_argument("--out", type=Path, help="where the set goes (data/train/mini-set/mini)")
        training.add_argument("--work", type=Path, help="scenes, checkpoints and logs (data/train/mini-set)")
        training.add_argument("--seed", type=int, default=0)
        training.add_argument("--quick", action="store_true", help="a few steps of everything: shows that it runs")
        training.add_argument("--only", nargs="*", default=[], metavar="STEP", help="parts or steps, by their names")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        try:
            getattr(self, f"_{what}")(**options)
        except (ValueError, OSError, model_sets.CannotGet, mini_set.StepFailed) as error:
            raise CommandError(str(error)) from error

    def _list(self, **_: Any) -> None:
        for name, about in model_sets.describe(places()).items():
            mark = "*" if name == settings.MODEL_SET else " "
            self.stdout.write(f"{mark} {name}: {about}")
            for part in model_sets.parts(name, places()):
                found = model_sets.find(part, places())
                where = f"{model_sets.size_bytes(part, places()) / 1e6:,.1f} MB" if found else "not on this machine"
                self.stdout.write(f"    {part.role:22}{part.name:40}{where:24}{part.source}")
        self.stdout.write(f"* is the one in use (MODEL_SET={settings.MODEL_SET}).")

    def _check(self, name: str, **_: Any) -> None:
        wrong = 0
        for part in model_sets.parts(name, places()):
            found = model_sets.problems(part, places())
            wrong += bool(found)
            self.stdout.write(f"{part.role:22}{part.name:40}{'; '.join(found) or 'sound'}")
        if wrong:
            raise CommandError(f"{wrong} of {name}'s models can't be used. See above.")

    def _get(self, name: str, **_: Any) -> None:
        if name not in model_sets.sets(places()) and model_sets.is_hub_id(name):
            self.stdout.write(f"{name}: {model_sets.get_from_hub(name)}")
            return
        failed = []
        for part in model_sets.parts(name, places()):
            try:
                self.stdout.write(f"{part.role:22}{model_sets.get(part, places(), self.stdout.write)}")
            except model_sets.CannotGet as error:
                failed.append(str(error))
        if failed:
            raise CommandError("\n".join(failed))
        self.stdout.write(f"{name} is complete. Use it: MODEL_SET={name}, and `manage.py modelset use {name}`.")

    def _use(self, name: str, **_: Any) -> None:
        from generation.actions import put_in_use
        from generation.model_sets import register_generator_of

        generator = register_generator_of(name)
        put_in_use(generator)
        self.stdout.write(f"{generator} draws from now on.")

    def _train(
        self, name: str, out: Path | None, work: Path | None, seed: int, quick: bool, only: list[str], **_: Any
    ) -> None:
        """Hours on one thread; cut off, it goes on where it was."""
        work = work or Path(settings.DATA_DIR) / "train" / ("mini-set-quick" if quick else "mini-set")
        out = out or work / name
        size = mini_set.QUICK if quick else mini_set.Size()
        done = mini_set.train(work.resolve(), out.resolve(), size, seed, self._say, only)
        minutes = sum(step.cpu_minutes for step in done.values())
        self._say(f"{len(done)} steps, {minutes:.1f} CPU minutes. The set lies in {out}.")
        if not only:
            for problem in mini_set.problems(out):
                self._say(f"  {problem}")
            self._say(f"To use it: MODEL_SETS_DIR={out.parent}, with its sets.json (see docs/adworld.md).")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
