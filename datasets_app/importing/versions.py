"""A dataset version that we wrote, read back: products, candidates, labels and the version itself, exactly as they were."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from django.db.models import Max

from adproof.imports.pictures import PictureError, is_plain
from adproof.imports.problems import BadImport
from adproof.perception.pictures import check_header, open_picture, png_to_depth, png_to_saliency
from adproof.shards.reading import DatasetVersion as Shards
from adproof.shards.reading import open_version
from adproof.shards.schema import FULL, IMAGE_COLUMNS, SPLITS
from adproof.shards.splits import combine, row_digest
from adproof.shards.verify import verify
from annotation.consensus import IMPORTED
from datasets_app.actions import picture_hashes
from datasets_app.exporting import start_write
from datasets_app.importing import labels
from datasets_app.importing.label_rows import ids_of
from datasets_app.importing.order import Order
from datasets_app.importing.sources import UNKNOWN_TEXT, Belongings, account
from datasets_app.importing.tally import Tally
from datasets_app.models import DatasetVersion, ProductSplit, VersionRow
from datasets_app.places import BadPlace
from generation.actions import save_product
from generation.blobs import blobs
from generation.importing import ProductFile
from generation.models import Candidate, Product, candidate_key
from runs.context import RunContext

TOGETHER = 50
FORMER = "imported-version"  # depth_model and saliency_model of imported maps
# Scales that a prompt may have, tried to find again what a candidate was drawn with: its key is a hash of it.
_SCALES = [0.5, *(number / 100 for number in range(10, 96)), *(number / 1000 for number in range(100, 951))]


class VersionImport:
    """Raises BadImport: no version, or one that is not what its manifest says, or that clashes with what is here."""

    def __init__(self, order: Order, folder: Path, ctx: RunContext, tally: Tally) -> None:
        self.order, self.ctx, self.tally = order, ctx, tally
        ctx.stage(f"verifying {folder.name} against its manifest")
        self.shards = _verified(folder, ctx)
        self.info = self.shards.manifest.info
        self.total = self.shards.manifest.n_rows
        self.name, self.number = self._named()
        self.belongings = Belongings(f"{self.name}-v{self.number}")
        self.known = self._known()
        self._accounts: dict[str, int] = {}
        self._scale = _SCALES[0]
        self._met: set[str] = set()

    def _named(self) -> tuple[str, int]:
        name, number = str(self.info.get("name", "")), str(self.info.get("version", ""))
        if not name or not number.startswith("v") or not number[1:].isdigit():
            raise BadImport(f"The manifest's name {name[:60]!r} and version {number[:20]!r} are none of ours.")
        return name[:80], int(number[1:])

    def _known(self) -> DatasetVersion | None:
        there = DatasetVersion.objects.filter(name=self.name, number=self.number).first()
        if there is not None and there.digest != self.shards.manifest.digest:
            raise BadImport(
                f"{there} is here already with other content: it is never overwritten. Import this one on a fresh platform."
            )
        return there

    def take(self, done: int, writing: Callable[[], AbstractContextManager[None]], keep: Callable[[int], None]) -> None:
        """All rows from number `done` on; nothing is written before all of them were looked at.

        keep: saves how many are done, with their rows.
        """
        if done == 0:
            self._look_at_all()
        if self.order.dry_run:
            self.tally.counts["versions_known" if self.known else "versions_new"] += 1
            return
        if done > self.total:  # killed after its last row
            return
        for rows in self._parts(done):
            self.ctx.stop_if_asked()
            for row in rows:
                for name in IMAGE_COLUMNS:
                    if row[name] is not None:
                        blobs().put(row[name])
            with writing():
                self._write(rows)
                done += len(rows)
                keep(done)
            self.ctx.progress(done, self.total, f"samples of {self.name} v{self.number}")
        with writing():
            self._write_version()
            keep(self.total + 1)

    def start_writing(self) -> None:
        """A run that writes its files here, as those of any version."""
        version = DatasetVersion.objects.get(name=self.name, number=self.number)
        if version.state == DatasetVersion.State.WRITTEN:
            return
        try:
            run = start_write(version, user=self.ctx.run.created_by)
        except BadPlace as error:
            self.tally.note(f"Its files are not written here: {error}")
        else:
            DatasetVersion.objects.filter(pk=version.pk, write_run=None).update(write_run=run)

    def _look_at_all(self) -> None:
        looked = 0
        for rows in self._parts(0):
            self.ctx.stop_if_asked()
            for row in rows:
                _check_pictures(row)
            self._check_products(rows)
            if self.order.dry_run:
                self._count(rows)
            looked += len(rows)
            self.ctx.progress(looked, self.total, f"looking at {self.name} v{self.number}")

    def _parts(self, done: int) -> Iterator[list[dict[str, Any]]]:
        rows: list[dict[str, Any]] = []
        number = 0
        for split in SPLITS:
            of_split = self.shards.rows(split, decode=False)
            for place in range(len(of_split)):
                number += 1
                if number > done:
                    rows.append(of_split[place] | {"split": split})
                if len(rows) == TOGETHER:
                    yield rows
                    rows = []
        if rows:
            yield rows

    # --- rows

    def _check_products(self, rows: list[dict[str, Any]]) -> None:
        given = {row["product_id"]: _sha256(row["product_image"]) for row in rows}
        sides = {row["product_id"]: row["split"] for row in rows}
        here = ProductSplit.objects.filter(name=self.name, product__sku__in=given)
        for sku, split in here.values_list("product__sku", "split"):
            if split != sides[sku]:
                raise BadImport(
                    f"Product {sku} is in {split} of {self.name} here, in {sides[sku]} of this version: none changes sides."
                )
        for sku, there in Product.objects.filter(sku__in=given).values_list("sku", "image_sha256"):
            if there != given[sku]:
                raise BadImport(
                    f"Product {sku} is here already with another picture: the version would not be the same."
                )

    def _count(self, rows: list[dict[str, Any]]) -> None:
        """What a dry run tells."""
        counts, keys = self.tally.counts, {self._key(row): row for row in rows}
        known = set(Candidate.objects.filter(key__in=keys).values_list("key", flat=True))
        skus = {row["product_id"] for row in rows} - self._met
        counts["products_known"] += (n := Product.objects.filter(sku__in=skus).count())
        counts["products_new"] += len(skus) - n
        self._met |= skus
        counts["candidates_known"] += len(known)
        counts["candidates_new"] += len(keys) - len(known)
        counts["labels_new"] += sum(len(row["annotations"]) for key, row in keys.items() if key not in known)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        keys = {row["sample_id"]: self._key(row) for row in rows}
        self._write_products(rows)
        there = self._ids(keys.values())
        products = dict(Product.objects.filter(sku__in={row["product_id"] for row in rows}).values_list("sku", "pk"))
        new = [row for row in rows if keys[row["sample_id"]] not in there]
        Candidate.objects.bulk_create(
            [self._candidate(row, keys[row["sample_id"]], products) for row in new], ignore_conflicts=True
        )
        ids = self._ids(keys.values())
        made_at = [Candidate(pk=ids[keys[row["sample_id"]]], created_at=row["created_at"]) for row in new]
        Candidate.objects.bulk_update(made_at, ["created_at"])  # making them set it to now
        self.tally.counts["candidates_new"] += len(new)
        self.tally.counts["candidates_known"] += len(rows) - len(new)
        self._labels(rows, {sample: ids[key] for sample, key in keys.items()})

    def _write_products(self, rows: list[dict[str, Any]]) -> None:
        for sku, row in {row["product_id"]: row for row in rows}.items():
            if sku in self._met:
                continue
            self._met.add(sku)
            is_new = not Product.objects.filter(sku=sku).exists()
            if is_new:
                save_product(_product(row))
            self.tally.counts["products_new" if is_new else "products_known"] += 1

    def _ids(self, keys: Iterable[str]) -> dict[str, int]:
        return dict(Candidate.objects.filter(key__in=list(keys)).values_list("key", "pk"))

    def _key(self, row: dict[str, Any]) -> str:
        """The key that the candidate had: found again by trying scales; else one that begins the same."""
        start = row["sample_id"].removeprefix("c-")
        for scale in (self._scale, *_SCALES):
            key = candidate_key(
                product_sha256=_sha256(row["product_image"]), prompt=row["prompt"], negative=row["negative_prompt"],
                image_scale=scale, generator=row["generator"], seed=row["seed"],
            )  # fmt: skip
            if key.startswith(start):
                self._scale = scale
                return key
        if len(start) != 20 or not all(letter in "0123456789abcdef" for letter in start):
            raise BadImport(f"Sample {row['sample_id'][:60]!r} is not named as ours are.")
        return start + hashlib.sha256(row["sample_id"].encode()).hexdigest()[20:]

    def _candidate(self, row: dict[str, Any], key: str, products: dict[str, int]) -> Candidate:
        depth, saliency = _sha256(row["depth_map"]), _sha256(row["saliency_map"])
        return Candidate(
            product_id=products[row["product_id"]], prompt=self.belongings.prompt,
            generator=self.belongings.generator(row["generator"] or UNKNOWN_TEXT), prompt_text=row["prompt"],
            negative_text=row["negative_prompt"], image_scale=self._scale, seed=row["seed"], draw=uuid.UUID(key[:32]),
            attempt=row["attempt"], key=key, image_sha256=_sha256(row["generated_image"]), depth_sha256=depth,
            saliency_sha256=saliency, depth_model=FORMER if depth else "", saliency_model=FORMER if saliency else "",
            run=self.ctx.run,
        )  # fmt: skip

    def _labels(self, rows: list[dict[str, Any]], ids: dict[str, int]) -> None:
        answers = {
            (ids[row["sample_id"]], self._account(vote["annotator"])): vote
            for row in rows
            for vote in row["annotations"]
        }
        stored = labels.store(
            self.belongings.project,
            [
                labels.Answer(candidate, by, vote["label"], _short(vote["seconds"]), vote["at"])
                for (candidate, by), vote in answers.items()
            ],
            [_says(ids[row["sample_id"]], row) for row in rows],
        )
        self.tally.counts["labels_new"] += stored.annotations
        self.tally.counts["labels_known"] += len(answers) - stored.annotations
        self.tally.counts["labels_kept"] += stored.kept

    def _account(self, pseudonym: str) -> int:
        if pseudonym not in self._accounts:
            self._accounts[pseudonym] = account(f"{self.name}-{pseudonym}"[:120]).pk
        return self._accounts[pseudonym]

    # --- the version itself

    def _write_version(self) -> None:
        """The version and all its rows at once, or none of them: as it was frozen, and only if it adds up."""
        if self.known is not None:
            self.tally.counts["versions_known"] += 1
            return
        version = DatasetVersion.objects.create(
            name=self.name, number=self.number, query=dict(self.info.get("query") or {}), digest=self.shards.manifest.digest,
            salt=str(self.info.get("split_salt") or self.name)[:80], row_count=self.total, created_by=self.ctx.run.created_by,
            counts=_counts(self.shards), parent=self._parent(), leak_check=dict(self.info.get("leak_check") or {}),
        )  # fmt: skip
        DatasetVersion.objects.filter(pk=version.pk).update(created_at=datetime.fromisoformat(self.info["created_at"]))
        digests: list[bytes] = []
        for rows in self._without_pictures():
            ids = ids_of([row["sample_id"].removeprefix("c-") for row in rows])
            candidates = Candidate.objects.filter(pk__in=ids.values()).select_related("product")
            found = {candidate.key[:20]: candidate for candidate in candidates}
            made = [self._version_row(version, row, found[row["sample_id"].removeprefix("c-")]) for row in rows]
            VersionRow.objects.bulk_create(made)
            ProductSplit.objects.bulk_create(
                [
                    ProductSplit(name=self.name, product_id=pk, split=split, decided_by_id=pk)
                    for pk, split in {row.candidate.product_id: row.split for row in made}.items()
                ],
                ignore_conflicts=True,
            )
            digests += [bytes.fromhex(row.row_digest) for row in made]
        if combine(digests) != version.digest:
            raise BadImport("What came in does not add up to the version's digest: its files were changed meanwhile.")
        self.tally.counts["versions_new"] += 1

    def _without_pictures(self) -> Iterator[list[dict[str, Any]]]:
        columns = ["sample_id", "label", "label_probs", "agreement", "annotation_count", "annotations"]
        for split in SPLITS:
            rows = iter(self.shards.rows(split, columns))
            while part := [row | {"split": split} for row in islice(rows, 500)]:
                yield part

    def _parent(self) -> DatasetVersion | None:
        before = DatasetVersion.objects.filter(name=self.name, number__lt=self.number)
        return before.filter(number=before.aggregate(top=Max("number"))["top"]).first()

    def _version_row(self, version: DatasetVersion, row: dict[str, Any], candidate: Candidate) -> VersionRow:
        answers = [
            {
                "annotator": vote["annotator"], "label": vote["label"], "seconds": _short(vote["seconds"]),
                "at": vote["at"].isoformat(),
            }
            for vote in row["annotations"]
        ]  # fmt: skip
        digest = row_digest(row["sample_id"], row["label"], row["split"], picture_hashes(candidate))
        return VersionRow(
            version=version, candidate=candidate, label=row["label"], posterior=[_short(p) for p in row["label_probs"]],
            agreement=_short(row["agreement"] or 0.0), annotation_count=row["annotation_count"], split=row["split"],
            annotations=answers, row_digest=digest.hex(), method=IMPORTED,
        )  # fmt: skip


def _verified(folder: Path, ctx: RunContext) -> Shards:
    """The version in this folder, every file and picture of it as its manifest says. Raises BadImport."""
    if not folder.is_dir():
        raise BadImport(f"{folder.name} is no folder: name the one that holds manifest.json.")
    if _variant(folder) != FULL:
        raise BadImport(
            "This is no full version: labels alone, or tars, do not bring everything back. Import the full one."
        )

    def on_step(what: str, done: int, total: int) -> None:
        ctx.stop_if_asked()
        ctx.progress(done, total)

    ctx.progress(0, 0, f"checking {folder.name}", force=True)
    problems = verify(folder, pictures=True, on_step=on_step)
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise BadImport(f"The files are not what their manifest says, so nothing is taken: {problems[0]}{more}.")
    return open_version(folder)


def _variant(folder: Path) -> str:
    try:
        return open_version(folder).manifest.variant
    except (ValueError, OSError):
        return FULL  # verify says what is wrong


def _short(number: float) -> float:
    """The shortest decimal that is the same in 32 bits: 0.1, not 0.10000000149."""
    return float(str(np.float32(number)))


def _sha256(data: bytes | None) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


def _product(row: dict[str, Any]) -> ProductFile:
    header = check_header(row["product_image"])
    values = {name: row[name] for name in ("description", "category", "source")}
    return ProductFile(
        row["sample_id"],
        row["product_id"],
        row["title"],
        row["product_image"],
        True,
        header.width,
        header.height,
        values,
    )


def _says(candidate: int, row: dict[str, Any]) -> labels.Says:
    posterior = [_short(p) for p in row["label_probs"]]
    return labels.Says(candidate, row["label"], posterior, row["annotation_count"], _short(row["agreement"] or 0.0))


def _counts(shards: Shards) -> dict[str, dict[str, int]]:
    by_label = shards.manifest.counts["label"]
    return {split: {label: of[split] for label, of in by_label.items() if of.get(split)} for split in SPLITS}


def _check_pictures(row: dict[str, Any]) -> None:
    """They are kept byte by byte, so each must be a picture and nothing else. Raises BadImport."""
    try:
        if row["generated_image"] is None or row["product_image"] is None:
            raise PictureError("a picture is missing.")
        for name in IMAGE_COLUMNS:
            if row[name] is not None and not is_plain(row[name]):
                raise PictureError(f"its {name} holds more than a picture.")
        open_picture(row["generated_image"])
        open_picture(row["product_image"])
        if row["depth_map"] is not None:
            png_to_depth(row["depth_map"])
        if row["saliency_map"] is not None:
            png_to_saliency(row["saliency_map"])
    except PictureError as error:
        raise BadImport(f"Sample {row['sample_id'][:60]}: {error} Nothing is taken of such a version.") from error
