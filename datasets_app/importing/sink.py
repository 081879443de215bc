"""Samples in, rows out: what is there already is left alone, what is wrong is left out with its reason."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from django.utils import timezone

from adproof.imports.archives import BadMember
from adproof.imports.labels import UNSUITABLE, LabelMap, Meaning
from adproof.imports.pictures import Kept, PictureError, kept
from adproof.imports.problems import LeftOut
from adproof.labels import Label
from datasets_app.importing import labels
from datasets_app.importing.items import CutOut, GivenProduct, Read, Sample
from datasets_app.importing.sources import Belongings
from datasets_app.importing.tally import Tally
from generation.actions import PICTURE_IN_USE, Cut, save_product
from generation.blobs import blobs
from generation.importing import Problem, ProductFile, read_picture
from generation.models import Candidate, Product
from runs.models import Run

DRY_DECODES = 2000  # pictures that a dry run reads to their last pixel; of the others only the headers


@dataclass(frozen=True)
class _Ready:
    """A sample whose pictures are in the store; only rows are missing."""

    sample: Sample
    new_product: ProductFile | None
    is_cut_out: bool
    key: str  # of the candidate; "" if it is a product alone
    sha256: str
    meaning: Meaning | None


class Sink:
    """One import, writing or dry. Not for use by several threads."""

    def __init__(
        self, run: Run, belongings: Belongings, label_map: LabelMap, tally: Tally, *, dry_run: bool, cuts_out: bool
    ) -> None:
        self.run, self.belongings, self.labels, self.tally = run, belongings, label_map, tally
        self.dry_run, self.cuts_out = dry_run, cuts_out
        self._met: set[int] = set()  # products of this import, so that each is told once
        self._candidates: set[str] = set()
        self._decoded = 0
        self._cuts: dict[str, Cut] = {}  # of products cut out in this chunk

    # --- looking

    def pass_by(self, item: Sample | LeftOut) -> None:
        """It was taken before this run was started again."""
        if isinstance(item, Sample) and not item.is_candidate:
            self._met.add(_number(item.product.sku))

    def take(self, items: Iterable[Sample | LeftOut], writing: AbstractContextManager[None]) -> None:
        """One chunk, its rows in `writing`: a transaction that also keeps the tally."""
        samples = []
        for item in items:
            if isinstance(item, LeftOut):
                self.tally.leave_out(item)
            else:
                samples.append(item)
        there = {product.sku: product for product in Product.objects.filter(sku__in={s.product.sku for s in samples})}
        ready = []
        for sample in samples:
            try:
                one = self._ready(sample, there)
            except (PictureError, BadMember) as error:
                self.tally.leave_out(LeftOut(sample.where, "picture can't be read", str(error)))
            except ValueError as error:
                self.tally.leave_out(LeftOut(sample.where, "label not known", str(error)))
            else:
                if isinstance(one, LeftOut):
                    self.tally.leave_out(one)
                elif one is not None:
                    ready.append(one)
        with writing:
            self._rows(ready, there)

    def _ready(self, sample: Sample, there: dict[str, Product]) -> _Ready | LeftOut | None:
        meaning = self.labels.look(sample.raw_label) if sample.raw_label not in (None, "") else None
        if sample.raw_label not in (None, "") and meaning is None:
            self.labels.meaning(sample.raw_label)  # raises, saying why
        if not sample.is_candidate:
            return self._product_alone(sample, there)
        picture = None if sample.sha256 else self._kept(sample.read)
        sha256 = sample.sha256 or self._put(picture)
        product = self._product_of(sample, there, sha256, picture)
        if isinstance(product, LeftOut):
            return product
        if sample.raw_label not in (None, ""):
            self.labels.meaning(sample.raw_label)
        key = candidate_key(sample.product.sku, sha256)
        return _Ready(sample, product[0], product[1], key, sha256, meaning)

    def _product_alone(self, sample: Sample, there: dict[str, Product]) -> _Ready | LeftOut | None:
        given, number = sample.product, _number(sample.product.sku)
        if number in self._met:
            return LeftOut(sample.where, "product given twice", f"sku {given.sku} was given before: each product once.")
        self._met.add(number)
        known = there.get(given.sku)
        found = self._product_file(given, sample.where)
        if isinstance(found, LeftOut):
            return found
        if not found.has_alpha:
            if known is not None:
                self.tally.counts["products_known"] += 1
                return None
            if not self.cuts_out:
                return _no_alpha(sample.where)
            return self._cut(sample, found)
        return _Ready(sample, found, False, "", "", None)

    def _product_of(
        self, sample: Sample, there: dict[str, Product], sha256: str, picture: Kept | None
    ) -> tuple[ProductFile | None, bool] | LeftOut:
        """The product that must be made for a candidate, and whether it is cut out; (None, False) if it is there."""
        found = self._missing_product(sample, there, sha256, picture)
        if not isinstance(found, LeftOut) and found[0] is not None:
            self._met.add(_number(sample.product.sku))
        return found

    def _missing_product(
        self, sample: Sample, there: dict[str, Product], sha256: str, picture: Kept | None
    ) -> tuple[ProductFile | None, bool] | LeftOut:
        given = sample.product
        if given.sku in there or _number(given.sku) in self._met:
            return None, False
        has_picture = given.read is not None or bool(given.sha256)
        if self.dry_run and sample.sha256 and (has_picture or self.cuts_out):
            # Looked at when it was staged, and not in the store.
            return ProductFile(sample.where, given.sku, given.title, b"", True, 0, 0, given.values), not has_picture
        if has_picture:
            found = self._product_file(given, sample.where)
            if isinstance(found, LeftOut):
                return found
            if found.has_alpha:
                return found, False
        elif self.cuts_out and sample.cut is not None:
            return self._cut_before(sample, sample.cut)
        elif self.cuts_out:
            data = picture.data if picture is not None else blobs().get(sha256)
            problem = read_picture(sample.where, data, given.sku, given.title, given.values)
            if isinstance(problem, Problem):
                return LeftOut(sample.where, "picture can't be read", problem.text)
            found = problem
        else:
            text = (
                f"there is no product {given.sku}: import the products first, give product_image, or allow cutting out."
            )
            return LeftOut(sample.where, "product not there", text)
        if not self.cuts_out:
            return _no_alpha(sample.where)
        ready = self._cut(sample, found)
        return ready if isinstance(ready, LeftOut) else (ready.new_product, True)

    def _product_file(self, given: GivenProduct, where: str) -> ProductFile | LeftOut:
        if given.read is None and not given.sha256:
            return LeftOut(where, "picture not found", "its picture is not among the files given.")
        data = given.read() if given.read is not None else blobs().get(given.sha256)
        found = read_picture(where, data, given.sku, given.title, given.values)
        return LeftOut(where, "picture can't be read", found.text) if isinstance(found, Problem) else found

    def _cut(self, sample: Sample, found: ProductFile) -> _Ready | LeftOut:
        if self.dry_run:
            return _Ready(sample, found, True, "", "", None)
        from adproof.perception.masks import confidence_to_png
        from adproof.perception.pictures import open_picture, picture_to_png
        from adproof.perception.saliency import cut_out_found
        from generation import runtime

        try:
            rgba, confidence = cut_out_found(open_picture(found.picture)[..., :3], runtime.saliency())
        except ValueError as error:
            return LeftOut(sample.where, "no product found in the picture", str(error))
        height, width = rgba.shape[:2]
        file = replace(found, picture=picture_to_png(rgba), has_alpha=True, width_px=width, height_px=height)
        self._cuts[file.sku] = Cut(blobs().put(found.picture), blobs().put(confidence_to_png(confidence)))
        return _Ready(sample, file, True, "", "", None)

    def _cut_before(self, sample: Sample, cut: CutOut) -> tuple[ProductFile | None, bool] | LeftOut:
        if cut.problem:
            return LeftOut(sample.where, "no product found in the picture", cut.problem)
        given, data = sample.product, blobs().get(cut.sha256)
        self._cuts[given.sku] = Cut(cut.original_sha256, cut.confidence_sha256)
        file = ProductFile(
            sample.where, given.sku[:80], given.title, data, True, cut.width_px, cut.height_px, given.values
        )
        return file, True

    def _kept(self, read: Read | None) -> Kept:
        assert read is not None
        self._decoded += 1
        decode = not self.dry_run or self._decoded <= DRY_DECODES
        if not decode:
            self.tally.note(f"The first {DRY_DECODES:,} pictures were read whole; of the others only the headers.")
        return kept(read(), decode=decode)

    def _put(self, picture: Kept | None) -> str:
        assert picture is not None
        return hashlib.sha256(picture.data).hexdigest() if self.dry_run else blobs().put(picture.data)

    # --- writing

    def _rows(self, ready: list[_Ready], there: dict[str, Product]) -> None:
        for one in ready:
            self._product_row(one, there)
        candidates = [one for one in ready if one.key]
        ids = self._candidate_rows(candidates, there)
        self._label_rows(candidates, ids)

    def _product_row(self, one: _Ready, there: dict[str, Product]) -> None:
        given, counts = one.sample.product, self.tally.counts
        if one.new_product is None:
            if _number(given.sku) not in self._met:
                self._met.add(_number(given.sku))
                counts["products_known"] += 1
        else:
            self._met.add(_number(given.sku))
            state = self._saved(one.new_product, one.is_cut_out, there.get(given.sku))
            counts[{"created": "products_new", "updated": "products_changed"}.get(state, "products_known")] += 1
            counts["products_cut_out"] += one.is_cut_out
        if one.meaning == UNSUITABLE:
            self._flag(given.sku, there)

    def _saved(self, file: ProductFile, is_cut_out: bool, known: Product | None) -> str:
        if not self.dry_run:
            state = save_product(file, cut_out_by_model=is_cut_out, cut=self._cuts.pop(file.sku, None))
            if state == "held":
                self.tally.note(f"The pictures of some known products stay as they are: {PICTURE_IN_USE}")
            return state
        if known is None:
            return "created"
        values = {"title": file.title, "image_sha256": hashlib.sha256(file.picture).hexdigest(), **file.values}
        return "updated" if any(getattr(known, name) != value for name, value in values.items()) else "unchanged"

    def _flag(self, sku: str, there: dict[str, Product]) -> None:
        known = there.get(sku)
        if known is not None and known.unsuitable:
            return
        self.tally.counts["products_unsuitable"] += 1
        if not self.dry_run:
            reason = f"{self.belongings.source} says that its own picture is at fault."
            Product.objects.filter(sku=sku).update(unsuitable=True, unsuitable_reason=reason)

    def _candidate_rows(self, ready: list[_Ready], there: dict[str, Product]) -> dict[str, int]:
        """key -> number of every candidate of the chunk."""
        keys = {one.key for one in ready}
        ids = dict(Candidate.objects.filter(key__in=keys).values_list("key", "pk"))
        new = {one.key: one for one in ready if one.key not in ids and one.key not in self._candidates}
        self.tally.counts["candidates_new"] += len(new)
        self.tally.counts["candidates_known"] += len(ready) - len(new)
        if self.dry_run:
            self._candidates |= set(new)
            return ids
        if new:
            skus = {one.sample.product.sku for one in new.values()}
            products = dict(Product.objects.filter(sku__in=skus).values_list("sku", "pk"))
            rows = [self._candidate(one, products[one.sample.product.sku]) for one in new.values()]
            Candidate.objects.bulk_create(rows, ignore_conflicts=True)
            ids |= dict(Candidate.objects.filter(key__in=list(new)).values_list("key", "pk"))
        return ids

    def _candidate(self, one: _Ready, product: int) -> Candidate:
        sample = one.sample
        return Candidate(
            product_id=product, prompt=self.belongings.prompt, generator=self.belongings.generator(sample.generator),
            prompt_text=sample.prompt, negative_text=sample.negative, image_scale=0.5, seed=sample.seed,
            draw=uuid.UUID(one.key[:32]), key=one.key, image_sha256=one.sha256, run=self.run,
        )  # fmt: skip

    def _label_rows(self, ready: list[_Ready], ids: dict[str, int]) -> None:
        labelled = {one.key: one for one in ready if isinstance(one.meaning, Label)}
        counts = self.tally.counts
        if self.dry_run:
            known = self._labelled(list(ids.values())) if ids else set()
            new = sum(ids.get(key) not in known for key in labelled)
            counts["labels_new"] += new
            counts["labels_known"] += len(labelled) - new
            return
        if not labelled:
            return
        now, by = timezone.now(), self.belongings.account.pk
        pairs = {ids[key]: int(one.meaning) for key, one in labelled.items()}  # type: ignore[call-overload]
        stored = labels.store(
            self.belongings.project,
            [labels.Answer(candidate, by, label, 0.0, now) for candidate, label in pairs.items()],
            [labels.one_vote(candidate, label) for candidate, label in pairs.items()],
        )
        counts["labels_new"] += stored.annotations
        counts["labels_known"] += len(pairs) - stored.annotations
        counts["labels_kept"] += max(0, stored.annotations - stored.consensus)

    def _labelled(self, candidates: list[int]) -> set[int]:
        from annotation.models import Annotation

        name = f"imported-{self.belongings.source}"
        mine = Annotation.objects.filter(candidate_id__in=candidates, annotator__username=name)
        return set(mine.values_list("candidate_id", flat=True))


def candidate_key(sku: str, sha256: str) -> str:
    """Of an imported candidate: the same picture of the same product is the same candidate, whatever its file's name."""
    return hashlib.sha256(json.dumps(["imported", sku, sha256]).encode()).hexdigest()


def _number(sku: str) -> int:
    return hash(sku)


def _no_alpha(where: str) -> LeftOut:
    return LeftOut(
        where, "no transparency", "its picture has no transparent background, and cutting out was not asked for."
    )
