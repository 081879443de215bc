"""RF1M as published: pictures out of its archives first, each read once; then label.txt, line by line."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from adproof.imports import rf1m
from adproof.imports.archives import BadMember, Member, is_archive, open_files
from adproof.imports.labels import LabelMap
from adproof.imports.pictures import PictureError, kept
from adproof.imports.problems import BadImport, LeftOut
from datasets_app.importing.items import CutOut, GivenProduct, Sample
from datasets_app.importing.order import Order
from datasets_app.importing.sink import DRY_DECODES
from datasets_app.importing.tally import Tally
from datasets_app.models import StagedPicture
from generation.blobs import blobs
from generation.models import Product
from runs.context import RunContext

STAGE_TOGETHER = 100
LOOK_UP_TOGETHER = 500
Keep = Callable[[dict[str, Any]], None]


class Rf1mSource:
    """Opened by what its folder holds. Raises BadImport: no archive, no label.txt, or one that says nothing clear."""

    def __init__(self, order: Order, labels: LabelMap, folder: Path, ctx: RunContext, tally: Tally) -> None:
        if not folder.is_dir():
            raise BadImport(f"{folder.name} is no folder: name the one that holds label.txt and the archives.")
        self.order, self.labels, self.folder, self.ctx, self.tally = order, labels, folder, ctx, tally
        self.label_file = rf1m.find_label_file(folder)
        self.archives = _archives(folder)
        if not self.archives:
            raise BadImport(f"there is no archive and no folder of pictures in {folder.name}.")
        ctx.stage(f"reading {self.label_file.name}")
        self.shape = rf1m.shape_of(self.label_file, labels)
        tally.note(f"{self.label_file.name} is {self.shape.words()}.")
        self.keys, self.repeated = rf1m.survey(self.label_file, self.shape, labels)
        self.total = int(self.keys.size)
        self._decoded = 0

    # --- pictures

    def stage(self, done: dict[str, int], writing: Callable[[], AbstractContextManager[None]], keep: Keep) -> None:
        """Every picture of every archive into the store (dry: only looked at), and a row for each.

        done: {"archive", "member"}: goes on after that one. keep: saves it with the rows.
        """
        for number in range(done.get("archive", 0), len(self.archives)):
            path = self.archives[number]
            skip = done.get("member", 0) if number == done.get("archive", 0) else 0
            self.ctx.progress(number, len(self.archives), f"pictures of {path.name}", force=True)
            rows: list[StagedPicture] = []
            for place, member in enumerate(open_files(path).members(), start=1):
                if place <= skip:
                    continue
                row = self._staged(number, member)  # now: a member of a tar is gone with the next one
                if row is not None:
                    rows.append(row)
                if place % STAGE_TOGETHER == 0:
                    self._save(rows, {"archive": number, "member": place}, writing, keep)
                    rows = []
            self._save(rows, {"archive": number + 1, "member": 0}, writing, keep)

    def _save(
        self,
        rows: list[StagedPicture],
        done: dict[str, int],
        writing: Callable[[], AbstractContextManager[None]],
        keep: Keep,
    ) -> None:
        self.ctx.stop_if_asked()
        with writing():
            StagedPicture.objects.bulk_create(rows, ignore_conflicts=True)
            keep(done)

    def _staged(self, archive: int, member: Member | LeftOut) -> StagedPicture | None:
        if isinstance(member, LeftOut):
            self.tally.leave_out(member)
            return None
        if not member.is_picture:
            return None
        where = f"{self.archives[archive].name}/{member.name}"
        self._decoded += 1
        dry = self.order.dry_run
        try:
            picture = kept(member.read(), decode=not dry or self._decoded <= DRY_DECODES)
        except (PictureError, BadMember) as error:
            self.tally.leave_out(LeftOut(where[:300], "picture can't be read", str(error)))
            return None
        sha256 = hashlib.sha256(picture.data).hexdigest() if dry else blobs().put(picture.data)
        has_alpha = picture.has_alpha is not False  # not looked at: its form says that it may
        stem = rf1m.stem_of(member.name)
        return StagedPicture(
            run=self.ctx.run, archive=archive, member=member.name, stem=stem, sha256=sha256, has_alpha=has_alpha
        )

    # --- labels

    def items(self) -> Iterator[Sample | LeftOut]:
        """A sample for each line with a picture; then what has no line."""
        first: set[int] = set()  # of the names that stand there twice with the same label
        lines = rf1m.lines_of(self.label_file, self.shape)
        while part := list(islice(lines, LOOK_UP_TOGETHER)):
            found = self._found([line for line in part if isinstance(line, rf1m.Line)])
            for line in part:
                yield line if isinstance(line, LeftOut) else self._sample(line, found, first)
        yield from self._without_line()

    def to_cut(self) -> list[int]:
        """Staged pictures out of which a product must be cut: one for each product that came without a picture."""
        wanted: list[int] = []
        met: set[int] = set()
        lines = rf1m.lines_of(self.label_file, self.shape)
        while part := list(islice(lines, LOOK_UP_TOGETHER)):
            good = [
                line for line in part if isinstance(line, rf1m.Line) and self.labels.look(line.raw_label) is not None
            ]
            found = self._found(good)
            samples = [sample for line in good if isinstance(sample := self._sample(line, found, set()), Sample)]
            without = {sample.product.sku: sample for sample in samples[::-1] if not sample.product.sha256}
            there = set(Product.objects.filter(sku__in=without).values_list("sku", flat=True))
            for sku, sample in without.items():
                if sku not in there and hash(sku) not in met:
                    met.add(hash(sku))
                    wanted += [row.pk for row in found[sample.stem] if row.sha256 == sample.sha256][:1]
        return sorted(wanted)

    def _found(self, lines: list[rf1m.Line]) -> dict[str, list[StagedPicture]]:
        stems = {line.stem for line in lines} | {rf1m.stem_of(line.values.get("product", "")) for line in lines}
        rows = StagedPicture.objects.filter(run=self.ctx.run, stem__in=stems - {""}).order_by("archive", "member")
        found: dict[str, list[StagedPicture]] = defaultdict(list)
        for row in rows:
            found[row.stem].append(row)
        return found

    def _sample(self, line: rf1m.Line, found: dict[str, list[StagedPicture]], first: set[int]) -> Sample | LeftOut:
        key = rf1m.stem_key(line.stem)
        if key in self.repeated.clashing:
            return LeftOut(line.where, "two labels", f"{line.name} stands there twice, with different labels.")
        if key in self.repeated.same:
            if key in first:
                return LeftOut(line.where, "line twice", f"{line.name} stands there twice, with the same label.")
            first.add(key)
        generated = [row for row in found.get(line.stem, []) if not row.has_alpha]
        pictures = {row.sha256 for row in generated}
        if not pictures:
            return LeftOut(line.where, "no picture", f"no archive holds a generated picture {line.name}.")
        if len(pictures) > 1:
            return LeftOut(line.where, "two pictures", f"{len(pictures)} different pictures are named {line.name}.")
        named = line.values.get("product", "")
        products = [*found.get(rf1m.stem_of(named), []), *found.get(line.stem, [])] if named else found[line.stem]
        alpha = next((row.sha256 for row in products if row.has_alpha), "")
        sku = named or f"{self.order.source}-{alpha[:16] or line.stem}"
        if len(sku) > 80:
            sku = f"{self.order.source}-{hashlib.sha256(sku.encode()).hexdigest()[:16]}"
        values = {
            "source": self.order.source, "description": line.values.get("description", ""),
            "category": (line.values.get("category") or self.order.category)[:80],
        }  # fmt: skip
        title = (line.values.get("title") or sku)[:300]
        product = GivenProduct(sku, title, values, sha256=alpha)
        return Sample(
            line.where,
            product,
            sha256=next(iter(pictures)),
            raw_label=line.raw_label,
            prompt=line.values.get("prompt", ""),
            stem=line.stem,
            cut=next((CutOut(**row.cut) for row in generated if row.cut), None),
        )

    def _without_line(self) -> Iterator[LeftOut]:
        rows = StagedPicture.objects.filter(run=self.ctx.run).order_by("archive", "member")
        for row in rows.iterator(chunk_size=2000):
            if not row.has_alpha and not self._has_line(row.stem):
                text = f"{self.label_file.name} has no good line for it."
                yield LeftOut(f"{self.archives[row.archive].name}/{row.member}"[:300], "no line in label.txt", text)

    def _has_line(self, stem: str) -> bool:
        key = rf1m.stem_key(stem)
        place = int(np.searchsorted(self.keys, key))
        return place < self.keys.size and int(self.keys[place]) == key

    def forget(self) -> None:
        """The rows that were only needed meanwhile."""
        StagedPicture.objects.filter(run=self.ctx.run).delete()


def _archives(folder: Path) -> list[Path]:
    """Archives, and folders that hold pictures unpacked; a link is none."""
    found = [path for path in sorted(folder.iterdir()) if not path.is_symlink()]
    below = [path for one in found if one.is_dir() for path in sorted(one.iterdir()) if is_archive(path)]
    below = [path for path in below if path.is_file() and not path.is_symlink()]
    plain = [path for path in found if path.is_dir() and not any(one.parent == path for one in below)]
    return [*(path for path in found if path.is_file() and is_archive(path)), *below, *plain]
