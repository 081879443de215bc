"""Imports as runs: a dry run tells what the import then does; twice changes nothing; killed, it goes on."""

import io
import json
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from annotation.models import Annotation, Consensus, Task
from datasets_app.importing.order import Order, start, start_looked_at
from datasets_app.importing.shown import shown
from datasets_app.models import DatasetVersion, ProductSplit, StagedPicture, VersionFiles, VersionRow
from generation.blobs import blobs
from generation.models import Candidate, ImportProblem, Product
from runs.actions import resume_run
from runs.kinds import kind_of
from runs.models import Run
from tests import build, data_rows, import_files
from tests.build import png
from tests.data_rows import do

pytestmark = pytest.mark.django_db(transaction=True)


def run_of(kind, path, **values):
    run = do(start(Order(kind=kind, path=str(path), source="trial", **values), anywhere=True))
    assert run.state == "succeeded", run.error
    return run


def counts(run):
    return {row["name"]: row["count"] for row in shown(run)["counts"]}


def left_out(run):
    return {row["reason"]: row["count"] for row in shown(run)["left_out"]}


def everything():
    """What is stored, in a form that can be compared."""
    return (
        sorted(Product.objects.values_list("sku", "image_sha256", "unsuitable")),
        sorted(Candidate.objects.values_list("key", "product__sku", "image_sha256", "prompt_text")),
        sorted(Annotation.objects.values_list("candidate__key", "label", "annotator__username", "task__is_open")),
        sorted(Consensus.objects.values_list("candidate__key", "label", "method", "is_complete")),
    )


def look_and_import(kind, path, **values):
    """The dry run writes nothing and tells what the import does; a second import changes nothing."""
    dry = run_of(kind, path, dry_run=True, **values)
    assert everything() == ([], [], [], []) or values.get("dirty"), "a dry run wrote rows"
    made = run_of(kind, path, dry_run=False, **values)
    assert counts(dry) == counts(made) and left_out(dry) == left_out(made)
    before = everything()
    again = run_of(kind, path, dry_run=False, **values)
    assert everything() == before
    assert not [name for name in counts(again) if name.endswith(("_new", "_changed"))], counts(again)
    return made


class TestRF1M:
    @pytest.mark.parametrize("archive", ["tar", "zip", "folder"])
    def test_it_comes_in_as_published(self, tmp_path, archive):
        makers = {
            "tar": {},
            "zip": {"archive": import_files.make_zip, "ending": ".zip"},
            "folder": {"archive": unpacked, "ending": ""},
        }
        run = look_and_import("rf1m", import_files.rf1m(tmp_path / "rf1m", 12, **makers[archive]))
        assert counts(run) == {
            "products_new": 12, "products_unsuitable": 2, "candidates_new": 12, "labels_new": 10,
        }  # fmt: skip
        assert {row["raw"]: row["label"] for row in shown(run)["labels"]} == {
            "Available": "available", "Unsuitable": "unsuitable", "Space Mismatch": "space_mismatch",
            "Size Mismatch": "size_mismatch", "Indistinctiveness": "indistinctiveness",
            "Shape Hallucination": "shape_hallucination",
        }  # fmt: skip
        assert Product.objects.filter(unsuitable=True).count() == 2 and not left_out(run)
        assert not Consensus.objects.filter(candidate__product__unsuitable=True).exists()
        assert set(Consensus.objects.values_list("method", "is_complete")) == {("imported", True)}
        assert not Task.objects.filter(is_open=True).exists() and not StagedPicture.objects.exists()
        assert Run.objects.filter(kind="perceive").exists()

    def test_bad_files_and_lines_are_listed_and_left_out(self, tmp_path):
        folder = import_files.rf1m(tmp_path / "rf1m", 60)
        import_files.make_zip(
            folder / "TrainSet-3.zip",
            {
                "x/broken.png": import_files.photo_png(50)[:300], "x/flood.png": import_files.flood_png(),
                "x/unlisted.png": import_files.photo_png(51), "x/script.svg.png": b"<svg onload='alert(1)'/>",
                "../evil.png": import_files.photo_png(52), "read me.txt": b"hello",
            },
        )  # fmt: skip
        with (folder / "label.txt").open("a") as file:
            file.write("broken\tAvailable\ngone\tAvailable\nunlisted2\tLovely\nsample000\tSize Mismatch\nsample001\tUnsuitable\n\tx\n")
        run = look_and_import("rf1m", folder)
        assert left_out(run) == {
            "picture can't be read": 3, "name leads outside": 1, "no picture": 3, "two labels": 2, "line twice": 1,
            "line without name or label": 1, "no line in label.txt": 1,
        }  # fmt: skip
        assert counts(run)["candidates_new"] == 59
        assert ImportProblem.objects.filter(run=run).count() == 12

    def test_a_truncated_archive_gives_what_is_whole(self, tmp_path):
        folder = import_files.rf1m(tmp_path / "rf1m", 12)
        path = folder / "TrainSet-1.tar.gz"
        path.write_bytes(path.read_bytes()[:-25_000])
        run = run_of("rf1m", folder, dry_run=False)
        assert left_out(run)["archive cut short"] == 1 and 6 <= counts(run)["candidates_new"] < 12

    def test_without_product_pictures_the_product_is_cut_out_of_the_generated_one_or_left_out(self, tmp_path):
        folder = import_files.rf1m(tmp_path / "rf1m", 4)
        (folder / "TrainSet-Subset1.tar.gz").unlink()
        dry = run_of("rf1m", folder, dry_run=True)
        assert counts(dry)["products_cut_out"] == 4
        run = run_of("rf1m", folder, dry_run=False, cuts_out=False)
        assert left_out(run) == {"product not there": 4} and not Candidate.objects.exists()

    def test_cutting_out_is_shared_out_in_parts_and_goes_on_after_a_failure(self, tmp_path, monkeypatch):
        from adproof.perception import saliency
        from datasets_app.importing import cutting

        files = {f"sample{k:03}.png": png(on_white(k)) for k in range(4)} | {"sample004.png": import_files.photo_png(4)}
        import_files.make_zip(tmp_path / "Train.zip", files)
        (tmp_path / "label.txt").write_text("".join(f"{name}\tAvailable\n" for name in files))
        monkeypatch.setattr(cutting, "PART_SIZE", 3)
        monkeypatch.setattr(cutting, "TOGETHER", 1)
        cut_out_all, cut = saliency.cut_out_all, []

        def breaks_off(images, net):
            if len(cut) == 2:
                raise MemoryError
            cut.append(1)
            return cut_out_all(images, net)

        monkeypatch.setattr(saliency, "cut_out_all", breaks_off)
        run = do(start(Order(kind="rf1m", path=str(tmp_path), source="trial", dry_run=False), anywhere=True))
        assert run.state == "failed" and "Out of memory" in run.error and not Product.objects.exists()
        assert {part.kind for part in run.parts.all()} == {cutting.PART} and kind_of(cutting.PART).queue == "heavy"
        monkeypatch.setattr(saliency, "cut_out_all", lambda images, net: cut.append(1) or cut_out_all(images, net))
        assert resume_run(run) and do(run).state == "succeeded", run.error
        assert len(cut) == 5, "what was cut out before was cut out again"
        assert counts(run) == {"products_new": 4, "products_cut_out": 4, "candidates_new": 4, "labels_new": 4}
        assert left_out(run) == {"no product found in the picture": 1} and not StagedPicture.objects.exists()
        assert all(p.is_cut_out_by_model and p.original_sha256 and p.confidence_sha256 for p in Product.objects.all())

    def test_numbers_need_a_mapping(self, tmp_path):
        folder = import_files.rf1m(tmp_path / "rf1m", 6, raw=tuple("012345"))
        run = do(start(Order(kind="rf1m", path=str(folder), source="trial"), anywhere=True))
        assert run.state == "failed" and "say what they mean" in run.error
        given = "0=available,1=unsuitable,2=space mismatch,3=size mismatch,4=indistinctiveness,5=shape hallucination"
        assert counts(run_of("rf1m", folder, dry_run=False, labels=given))["labels_new"] == 5


def on_white(number):
    """A product of the catalogue as a shop shows it: no transparency."""
    from adproof.adworld.catalogue import products
    from adproof.perception.pictures import open_picture

    rgba = open_picture(list(products())[number].path.read_bytes())
    return (rgba[..., :3] * (rgba[..., 3:] / 255) + 255 - rgba[..., 3:]).astype(np.uint8)


def unpacked(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def product_table(tmp_path, kind, n=3):
    """The same products as each kind of table."""
    rows = [{"sku": f"L{k}", "title": f"=Lamp {k}", "image": f"{k}.png", "category": "lamps"} for k in range(n)]
    for k in range(n):
        (tmp_path / f"{k}.png").write_bytes(import_files.product_png(k))
    path = tmp_path / f"products.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        for k, row in enumerate(rows):
            row["image"] = {"bytes": import_files.product_png(k), "path": None}
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("sku,title,image,category\n" + "".join(",".join(row.values()) + "\n" for row in rows))
    return path


class TestProducts:
    @pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
    def test_a_table_of_products(self, tmp_path, kind):
        run = look_and_import("products", product_table(tmp_path, kind))
        assert counts(run) == {"products_new": 3}
        assert Product.objects.get(sku="L1").title == "=Lamp 1" and Product.objects.get(sku="L1").category == "lamps"

    def test_a_folder_and_archives_of_pictures(self, tmp_path):
        for number, name in enumerate(("a.zip", "a.tar.gz")):
            files = {f"in/{name[2]}{k}.png": import_files.product_png(10 * number + k) for k in range(3)}
            (import_files.make_zip if name == "a.zip" else import_files.make_tar)(tmp_path / name, {**files, "x.txt": b"x"})
            run = run_of("products", tmp_path / name, dry_run=False)
            assert counts(run) == {"products_new": 3} and left_out(run) == {"no picture": 1}

    def test_pictures_without_alpha_are_cut_out_by_u2net(self, tmp_path):
        from adproof.perception.pictures import open_picture

        (tmp_path / "given").mkdir()
        (tmp_path / "given" / "photo.png").write_bytes(png(on_white(0)))
        run = look_and_import("products", tmp_path / "given")
        assert counts(run) == {"products_new": 1, "products_cut_out": 1}
        product = Product.objects.get()
        assert product.is_cut_out_by_model and open_picture(blobs().get(product.image_sha256)).shape[2] == 4

    def test_bad_rows_are_left_out_with_their_line(self, tmp_path):
        (tmp_path / "good.png").write_bytes(import_files.product_png())
        (tmp_path / "products.csv").write_text(
            "sku,title,image,width_cm,depth_cm,height_cm\nA,Lamp,good.png,,,\nB,,,,,\nC,Lamp,gone.png,,,\nD,Lamp,good.png,wide,1,1\n"
            f"{'E' * 81},Lamp,good.png,,,\nA,Lamp,good.png,,,\nF,Lamp,../../etc/passwd,,,\n"
        )
        run = run_of("products", tmp_path / "products.csv", dry_run=False)
        assert left_out(run) == {"row not complete": 3, "picture can't be read": 2, "product given twice": 1}
        assert list(Product.objects.values_list("sku", flat=True)) == ["A"]

    def test_a_changed_product_is_told(self, tmp_path):
        path = product_table(tmp_path, "csv")
        run_of("products", path, dry_run=False)
        path.write_text(path.read_text().replace("=Lamp 1", "Lantern"))
        for dry in (True, False):
            assert counts(run_of("products", path, dry_run=dry)) == {"products_changed": 1, "products_known": 2}
        assert Product.objects.get(sku="L1").title == "Lantern"


class TestCandidates:
    def table(self, tmp_path, rows, head="image,product,label,prompt,product_image"):
        for k in range(4):
            (tmp_path / f"g{k}.png").write_bytes(import_files.photo_png(k))
            (tmp_path / f"p{k}.png").write_bytes(import_files.product_png(k))
        (tmp_path / "candidates.csv").write_text(head + "\n" + "\n".join(rows) + "\n")
        return tmp_path / "candidates.csv"

    def test_pictures_with_labels_of_products(self, tmp_path):
        rows = ["g0.png,A,available,on a table,p0.png", "g1.png,A,size_mismatch,on a floor,p0.png", "g2.png,B,,,p1.png",
                "g3.png,C,lovely,,p2.png", "gone.png,C,available,,p2.png"]  # fmt: skip
        run = look_and_import("candidates", self.table(tmp_path, rows))
        assert counts(run) == {"products_new": 2, "candidates_new": 3, "labels_new": 2}
        assert left_out(run) == {"label not known": 1, "picture can't be read": 1}
        assert Candidate.objects.get(consensus__label=2).prompt_text == "on a floor"

    def test_the_product_may_be_there_and_must_be_somewhere(self, tmp_path):
        product = build.product(7)
        rows = [f"g0.png,{product.sku},available", "g1.png,unknown,available"]
        run = run_of("candidates", self.table(tmp_path, rows, "image,product,label"), dry_run=False, cuts_out=False)
        assert counts(run) == {"products_known": 1, "candidates_new": 1, "labels_new": 1}
        assert left_out(run) == {"product not there": 1}

    def test_a_person_who_answers_is_heard_beside_the_imported_label(self, tmp_path, people):
        from annotation.actions import Pick, add_tasks, lease
        from annotation.answers import Answer, save_annotations
        from annotation.models import Project

        run_of("candidates", self.table(tmp_path, ["g0.png,A,available,,p0.png"]), dry_run=False)
        candidate = Candidate.objects.get()
        project = Project.objects.create(name="Again", overlap=1)
        add_tasks(project, [Pick(candidate.pk)])
        [leased] = lease(people["alice"], project, 5)
        import uuid

        save_annotations(people["alice"], [Answer(uuid.uuid4(), leased.task_id, 2, 3.0)])
        consensus = Consensus.objects.get()
        assert consensus.annotation_count == 2 and consensus.method != "imported"

    def test_a_fit_leaves_imported_labels_as_they_came(self, tmp_path):
        from annotation.quality import start_fit

        rows = [f"g{k}.png,P{k},{'available' if k else 'size_mismatch'},,p{k}.png" for k in range(4)]
        run_of("candidates", self.table(tmp_path, rows), dry_run=False)
        before = everything()
        assert do(start_fit()).state == "succeeded"
        assert everything() == before

    def test_labels_of_people_are_not_overwritten(self, tmp_path):
        [one] = data_rows.labelled(1, labels=(3,))
        (tmp_path / "labels.csv").write_text(f"sample_id,label\nc-{one.key[:20]},available\n")
        run = run_of("candidates", tmp_path / "labels.csv", dry_run=False)
        assert counts(run) == {"labels_new": 1, "labels_kept": 1}
        assert Consensus.objects.get().label == 3

    def test_labels_of_samples_that_are_here_come_by_the_hundred_thousand(self, tmp_path):
        rows = build.many_candidates(300)
        for number, row in enumerate(rows):
            row.key = f"{number:020x}{'0' * 44}"
        Candidate.objects.bulk_update(rows, ["key"])
        lines = [f"c-{row.key[:20]},{'available' if row.pk % 2 else 'indistinctiveness'}" for row in rows]
        lines += ["c-ffffffffffffffffffff,available", "nonsense,available", f"c-{rows[0].key[:20]},available", f"c-{rows[1].key[:20]},9"]
        (tmp_path / "labels.csv").write_text("sample_id,label\n" + "\n".join(lines) + "\n")
        dry = run_of("candidates", tmp_path / "labels.csv", dry_run=True)
        assert not Annotation.objects.exists()
        made = run_of("candidates", tmp_path / "labels.csv", dry_run=False)
        distinct = 300
        assert counts(dry) == counts(made) and counts(made)["labels_new"] == distinct == Consensus.objects.count()
        assert counts(run_of("candidates", tmp_path / "labels.csv", dry_run=False)) == {"labels_known": distinct}

    def test_references_are_checked_where_the_database_checks_them_itself(self, tmp_path, monkeypatch):
        from contextlib import nullcontext

        from datasets_app.importing import labels

        monkeypatch.setattr(labels, "_references_checked", lambda cursor: nullcontext())
        run = run_of("candidates", self.table(tmp_path, ["g0.png,A,available,,p0.png"]), dry_run=False)
        assert counts(run)["labels_new"] == 1


class TestFolders:
    def test_folders_named_as_labels(self, tmp_path):
        for place, name in enumerate(("train/available/a", "train/Size Mismatch/b", "test/unsuitable/c", "train/other/d")):
            path = tmp_path / "set" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(import_files.photo_png(place))
        dry = run_of("folders", tmp_path / "set", dry_run=True)
        assert counts(dry) == {
            "products_new": 3, "products_cut_out": 3, "products_unsuitable": 1, "candidates_new": 3, "labels_new": 2,
        }  # fmt: skip
        assert left_out(dry) == {"folder is no label": 1}

    def test_a_folder_with_metadata(self, tmp_path):
        folder = tmp_path / "set"
        unpacked(folder, {"train/a.png": import_files.photo_png(1), "train/pa.png": import_files.product_png(1)})
        (folder / "metadata.jsonl").write_text(
            json.dumps({"file_name": "train/a.png", "label": "available", "text": "a table", "product_image": "train/pa.png"}) + "\n"
        )
        run = look_and_import("folders", folder)
        assert counts(run) == {"products_new": 1, "candidates_new": 1, "labels_new": 1}
        assert Candidate.objects.get().prompt_text == "a table"


class TestVersions:
    def empty(self):
        for model in (VersionRow, VersionFiles, DatasetVersion, ProductSplit, Consensus, Annotation, Task, Candidate, Product):
            model.objects.all().delete()

    def export(self, n=12):
        """A written version with answers of people, and what is in it."""
        version = data_rows.version(n)
        frozen = sorted(version.rows.values_list("row_digest", "label", "split"))
        return version, frozen

    def test_what_comes_back_is_what_went_out(self, tmp_path):
        from pathlib import Path

        version, frozen = self.export()
        digest, folder, name = version.digest, Path(version.uri), version.name
        shards = {path.name: path.read_bytes() for path in (folder / "data").iterdir()}
        self.empty()
        import shutil

        kept = shutil.copytree(folder, tmp_path / "kept" / "v1")
        shutil.rmtree(folder)
        dry = run_of("version", kept, dry_run=True)
        assert counts(dry)["versions_new"] == 1 and not Product.objects.exists() and not DatasetVersion.objects.exists()
        made = run_of("version", kept, dry_run=False)
        back = DatasetVersion.objects.get()
        assert (back.name, back.number, back.digest) == (name, 1, digest)
        assert sorted(back.rows.values_list("row_digest", "label", "split")) == frozen
        # The next freeze of the same labels is the same list.
        run = do(data_rows.start_freeze(name, {}))
        again = DatasetVersion.objects.get(pk=run.result["version"])
        assert again.number == 2 and again.digest == digest and again.parent == back
        assert counts(run_of("version", kept, dry_run=False))["versions_known"] == 1
        assert counts(made)["candidates_new"] == 12
        # The version itself, written again, has the same bytes.
        assert do(Run.objects.get(kind="write_version")).state == "succeeded"
        written = Path(DatasetVersion.objects.get(number=1).uri) / "data"
        assert {path.name: path.read_bytes() for path in written.iterdir()} == shards

    def test_candidates_are_recognised_by_their_own_keys(self, tmp_path):
        version, _ = self.export(4)
        keys = set(Candidate.objects.values_list("key", "image_scale"))
        self.empty()
        run_of("version", version.uri, dry_run=False)
        assert set(Candidate.objects.values_list("key", "image_scale")) == keys

    @pytest.mark.parametrize("how", ["manifest", "shard", "no manifest"])
    def test_a_version_that_is_not_what_it_says_is_refused_before_anything_is_written(self, how):
        from pathlib import Path

        version, _ = self.export(4)
        folder = Path(version.uri)
        self.empty()
        if how == "manifest":
            path = folder / "manifest.json"
            path.write_text(path.read_text().replace(version.digest, "0" * 64))
        elif how == "shard":
            path = next((folder / "data").iterdir())
            path.write_bytes(path.read_bytes()[:-100])
        else:
            (folder / "manifest.json").unlink()
        run = do(start(Order(kind="version", path=str(folder), dry_run=False), anywhere=True))
        assert run.state == "failed" and "not what their manifest says" in run.error
        assert not Product.objects.exists() and not DatasetVersion.objects.exists()

    def test_labels_alone_do_not_bring_a_version_back(self):
        version, _ = self.export(4)
        from datasets_app.exporting import start_write

        assert do(start_write(version, "labels")).state == "succeeded"
        folder = VersionFiles.objects.get(variant="labels").uri
        run = do(start(Order(kind="version", path=folder, dry_run=False), anywhere=True))
        assert run.state == "failed" and "no full version" in run.error, run.error

    def test_a_version_is_never_overwritten_by_another_of_its_name(self):
        version, _ = self.export(4)
        DatasetVersion.objects.filter(pk=version.pk).update(digest="0" * 64)
        run = do(start(Order(kind="version", path=version.uri, dry_run=False), anywhere=True))
        assert run.state == "failed" and "never overwritten" in run.error


class TestFaults:
    def test_killed_in_the_middle_it_goes_on_and_nothing_is_there_twice(self, tmp_path):
        from tests.workers import kill, wait_until, workers

        folder = import_files.rf1m(tmp_path / "rf1m", 300)
        run = start(Order(kind="rf1m", path=str(folder), source="trial", dry_run=False), anywhere=True)
        with workers(1, "light", threads=1) as [worker]:
            wait_until(lambda: StagedPicture.objects.count() >= 100, 120, every=0.02)
            kill(worker)
        seen = StagedPicture.objects.count()
        assert seen >= 100
        with workers(1, "light", threads=1) as [worker]:
            wait_until(lambda: Candidate.objects.count() >= 64, 180, every=0.02)  # a second later all would be there
            kill(worker)
        assert Candidate.objects.count() < 300
        with workers(1, "light", threads=1):
            wait_until(lambda: Run.objects.get(pk=run.pk).is_finished, 240)
        run.refresh_from_db()
        assert run.state == "succeeded", run.error
        assert counts(run) == {"products_new": 300, "products_unsuitable": 50, "candidates_new": 300, "labels_new": 250}
        assert Candidate.objects.count() == Product.objects.count() == 300 and Annotation.objects.count() == 250
        assert Consensus.objects.count() == 250 and not left_out(run)

    def test_a_full_disk_is_said_and_leaves_nothing_half_written(self, tmp_path, settings):
        """A limit on file sizes stands for the full disk: writing more than so many bytes fails as it would there."""
        import resource

        folder = tmp_path / "given"
        folder.mkdir()
        for number in range(40):
            (folder / f"{number}.png").write_bytes(png(import_files.cut_out(number, 400)))
        big = png(np.dstack([np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8), np.arange(810000).reshape(900, 900) % 256]).astype(np.uint8))
        (folder / "zz.png").write_bytes(big)
        run = start(Order(kind="products", path=str(folder), dry_run=False), anywhere=True)
        before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            do(run)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert run.state == "failed" and "File too large" in run.error
        assert Product.objects.count() == 32, "whole chunks stay"
        assert not list(blobs().root.glob(".new-*"))
        from runs.actions import resume_run

        resume_run(run)
        run.refresh_from_db()
        assert do(run).state == "succeeded" and Product.objects.count() == 41

    def test_memory_is_the_same_for_few_pictures_and_for_many(self, tmp_path):
        import tracemalloc

        peaks = []
        for number, n in enumerate((64, 64, 256)):
            folder = tmp_path / str(number)
            folder.mkdir()
            for place in range(n):
                (folder / f"{place}.png").write_bytes(png(import_files.cut_out(place, 256)))
            tracemalloc.start()
            run_of("products", folder, dry_run=True)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[2] < 1.2 * peaks[1], peaks


class TestCommand:
    def command(self, *arguments):
        out = io.StringIO()
        call_command("dataset", "import", *arguments, stdout=out)
        return out.getvalue()

    def test_it_looks_and_then_imports(self, tmp_path):
        folder = import_files.rf1m(tmp_path / "rf1m", 6)
        said = self.command("rf1m", str(folder), "--dry-run")
        assert "would happen" in said and "Space Mismatch -> space_mismatch" in said and not Product.objects.exists()
        assert "happened" in self.command("rf1m", str(folder)) and Product.objects.count() == 6

    def test_what_is_wrong_is_a_sentence(self, tmp_path):
        with pytest.raises(CommandError, match="There is no"):
            self.command("products", str(tmp_path / "gone"))
        with pytest.raises(CommandError, match="no label.txt"):
            self.command("rf1m", str(tmp_path))


def test_a_dry_run_is_followed_by_its_import(tmp_path):
    dry = run_of("products", product_table(tmp_path, "csv"), dry_run=True)
    run = do(start_looked_at(dry))
    assert counts(run) == counts(dry) == {"products_new": 3}


