"""What a data manager sees of a version: what changed, what is in it, whose labels are doubtful, what became of it."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotation.models import Decision, Snapshot
from datasets_app import compare_views, kept, markdown
from datasets_app.models import DatasetVersion, ProductSplit, VersionRow
from datasets_app.statistics import describe, plots
from generation.models import Product
from rfnet_service import label_errors
from runs.models import Run
from tests import build
from tests.data_rows import checkpoint, do, verdict, version
from training.models import Round, Training

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def max_(client, people):
    client.force_login(people["max"])
    return client


def text(response):
    assert response.status_code == 200, response.content[:500]
    return response.content.decode()


def lines(response):
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return list(csv.reader(io.StringIO(content.decode())))


def frozen(number, rows, days_ago, name="ads", **values):
    """A version of (candidate, label, split[, method])."""
    made = DatasetVersion.objects.create(
        name=name, number=number, salt=name, digest="d" * 64, row_count=len(rows), **values
    )
    DatasetVersion.objects.filter(pk=made.pk).update(created_at=timezone.now() - timedelta(days=days_ago))
    for candidate, label, split, *method in rows:
        VersionRow.objects.create(
            version=made, candidate=candidate, label=label, split=split, posterior=[0.8, 0.05, 0.05, 0.05, 0.05],
            agreement=1.0 if label else 2 / 3, annotation_count=3, row_digest="0" * 64, method=(method or ["majority"])[0],
        )  # fmt: skip
    made.refresh_from_db()
    return made


@pytest.fixture
def two():
    """0 stays, 1 is relabelled by a reviewer, 2 moves, 3 goes, 4 and 5 come."""
    c = build.candidates(6)
    old = frozen(1, [(c[0], 0, "train"), (c[1], 1, "train"), (c[2], 2, "train"), (c[3], 3, "test")], 4)
    now = [(c[0], 0, "train"), (c[1], 0, "train", "review"), (c[2], 2, "test"), (c[4], 4, "validation"), (c[5], 4, "train")]
    return c, old, frozen(2, now, 2, parent=old)


class TestComparing:
    def test_the_page_counts_and_lists_what_was_relabelled_first_with_who_when_and_why(self, max_, two, people):
        c, old, new = two
        Decision.objects.create(
            id="6f1c9d1e-9f0b-4a57-8f6e-0d5f3f8f2a11", candidate=c[1], reviewer=people["rita"], action="changed", label=0,
            comment="The foot stands.", created_at=timezone.now() - timedelta(days=3),
        )  # fmt: skip
        page = text(max_.get(reverse("dataset_compare", args=[new.pk, old.pk])))
        assert "A reviewer decided" in page and "The foot stands." in page and str(people["rita"]) in page
        assert page.count('class="card change"') == 1 and "lamps" in page

    @pytest.mark.parametrize(("what", "n"), [("added", 2), ("removed", 1), ("relabelled", 1), ("moved", 1)])
    def test_each_kind_has_its_list(self, max_, two, what, n):
        _, old, new = two
        page = text(max_.get(reverse("dataset_compare", args=[new.pk, old.pk]), {"what": what}))
        assert page.count('class="card change"') == n

    def test_the_list_is_filtered_and_nonsense_in_it_is_ignored(self, max_, two):
        _, old, new = two
        url = reverse("dataset_compare", args=[new.pk, old.pk])
        shown = [text(max_.get(url, {"what": "added", **more})).count('class="card change"') for more in (
            {"split": "train"}, {"label": "4"}, {"label": "1"}, {"category": "lamps"}, {"source": "elsewhere"},
            {"label": "x", "split": "nowhere", "after": "-1"}, {"why": "review"},
        )]  # fmt: skip
        assert shown == [1, 2, 0, 2, 0, 2, 2]

    def test_pages_go_on_where_the_last_ended(self, max_, two, monkeypatch):
        monkeypatch.setattr(compare_views, "PAGE_SIZE", 1)
        c, old, new = two
        first = text(max_.get(reverse("dataset_compare", args=[new.pk, old.pk]), {"what": "added"}))
        assert f"after={c[4].pk}" in first
        second = text(
            max_.get(reverse("dataset_compare", args=[new.pk, old.pk]), {"what": "added", "after": c[4].pk}, headers=HTMX)
        )
        assert f"/candidates/{c[5].pk}/" in second and "<html" not in second and "after=" not in second

    def test_any_two_of_one_name_either_way_round_and_no_others(self, max_, two):
        c, old, new = two
        assert "Removed" in text(max_.get(reverse("dataset_compare", args=[old.pk, new.pk])))
        other = frozen(1, [(c[0], 0, "train")], 1, name="posters")
        assert max_.get(reverse("dataset_compare", args=[new.pk, other.pk])).status_code == 404

    def test_without_a_second_one_it_is_the_parent(self, max_, two):
        c, old, new = two
        found = max_.get(reverse("dataset_compare_choose", args=[new.pk]))
        assert found.url == reverse("dataset_compare", args=[new.pk, old.pk])
        alone = frozen(1, [(c[0], 0, "train")], 1, name="posters")
        assert max_.get(reverse("dataset_compare_choose", args=[alone.pk])).url == reverse("dataset", args=[alone.pk])

    def test_the_counts_as_csv(self, max_, two):
        _, old, new = two
        rows = lines(max_.get(reverse("dataset_compare_counts", args=[new.pk, old.pk])))
        assert rows[:2] == [["by", "value", "added", "removed", "relabelled", "moved"], ["all", "", "2", "1", "1", "1"]]
        assert ["split", "test", "0", "1", "0", "1"] in rows

    def test_the_changes_as_csv_with_no_formula_in_it(self, max_, two):
        c, old, new = two
        Product.objects.filter(pk=c[4].product_id).update(sku="=cmd()")
        rows = lines(max_.get(reverse("dataset_compare_rows", args=[new.pk, old.pk]), {"what": "added"}))
        assert [row[0] for row in rows[1:]] == [str(c[4].pk), str(c[5].pk)] and rows[1][2] == "'=cmd()"

    def test_large_ones_are_compared_by_a_run_and_kept(self, max_, two, monkeypatch):
        monkeypatch.setattr(kept, "AT_ONCE", 3)
        _, old, new = two
        url = reverse("dataset_compare", args=[new.pk, old.pk])
        before = text(max_.get(url))
        assert "Compare them" in before and "card change" in before, "the list is there without the counts"
        assert max_.get(reverse("dataset_compare_counts", args=[new.pk, old.pk])).status_code == 404
        for _ in range(2):
            max_.post(reverse("dataset_compare_start", args=[new.pk, old.pk]))
        run = Run.objects.get(kind="compare_versions")
        assert "being compared" in text(max_.get(url))
        assert "HX-Refresh" not in max_.get(url, {"state": "1"}, headers=HTMX)
        from datasets_app.compare import summary

        Run.objects.filter(pk=run.pk).update(state="succeeded", result=json.loads(json.dumps(summary(old, new))))
        assert "Compare them" not in text(max_.get(url))
        assert max_.get(url, {"state": "1"}, headers=HTMX)["HX-Refresh"] == "true"
        page = text(max_.get(reverse("dataset", args=[new.pk]), {"changes": 1}, headers=HTMX))
        assert "Relabelled" in page


class TestInspecting:
    def test_one_pass_counts_everything(self, two):
        _, _, new = two
        found = describe(new)
        assert found["rows"] == 5 and found["by"]["source"] == {"test": {"train": 3, "validation": 1, "test": 1}}
        assert found["by"]["label"]["available"] == {"train": 2, "validation": 0, "test": 0}
        assert found["by"]["agreement"] == {
            "6": {"train": 2, "validation": 0, "test": 0}, "10": {"train": 1, "validation": 1, "test": 1}
        }  # fmt: skip
        assert found["by"]["method"]["review"]["train"] == 1 and found["by"]["answers"]["3"]["test"] == 1
        assert found["mean_answers"] == 3 and found["mean_agreement"] == pytest.approx((2 * 2 / 3 + 3) / 5)
        assert json.loads(json.dumps(found)) == found, "it can be a run's result"

    def test_a_version_of_nothing_has_empty_plots(self):
        assert all(plot.is_empty for plot in plots(describe(frozen(1, [], 1))))

    def test_the_page_has_plots_with_their_numbers_as_csv(self, max_, two):
        _, _, new = two
        page = text(max_.get(reverse("dataset_inspect", args=[new.pk])))
        assert page.count("data-plot=") == 7
        rows = lines(max_.get(reverse("dataset_table", args=[new.pk, "agreement"])))
        assert rows[0] == ["agreement_from", "train", "validation", "test"] and rows[-1] == ["1.0", "1", "1", "1"]
        assert max_.get(reverse("dataset_table", args=[new.pk, "nothing"])).status_code == 404

    def test_a_large_one_is_counted_by_a_run(self, max_, two, monkeypatch):
        monkeypatch.setattr(kept, "AT_ONCE", 3)
        _, _, new = two
        url = reverse("dataset_inspect", args=[new.pk])
        assert "Count it" in text(max_.get(url))
        max_.post(reverse("dataset_inspect_start", args=[new.pk]))
        Run.objects.filter(kind="describe_version").update(state="succeeded", result=describe(new))
        assert "data-plot=" in text(max_.get(url))

    def test_near_duplicates_are_shown_side_by_side(self, max_, two):
        c, _, new = two
        url = reverse("dataset_inspect", args=[new.pk])
        assert "were found to look alike" in text(max_.get(url))
        ProductSplit.objects.create(name="ads", product=c[1].product, split="train", decided_by=c[0].product)
        ProductSplit.objects.create(name="ads", product=c[0].product, split="train", decided_by=c[0].product)
        page = text(max_.get(url))
        assert page.count('class="card twin"') == 1 and "sku-1" in page


class TestSamples:
    def test_by_source_and_category_too(self, max_, two):
        c, _, new = two
        Product.objects.filter(pk=c[5].product_id).update(category="chairs", source="shop")
        url = reverse("dataset", args=[new.pk])
        assert text(max_.get(url, {"category": "chairs"})).count("picture-card sample") == 1
        assert text(max_.get(url, {"source": "test"})).count("picture-card sample") == 2
        assert "No sample here" in text(max_.get(url, {"category": "chairs", "source": "test"}))


class TestTheCard:
    def test_is_what_was_written(self, max_, transactional_db):
        written = version()
        page = text(max_.get(reverse("dataset_card", args=[written.pk])))
        assert "<h2>ads v1</h2>" in page and "<h3>Labels</h3>" in page and "pretty_name" in page
        with open(f"{written.uri}/README.md") as file:
            from datasets_app.inspect_views import card_text

            assert card_text(written) == file.read()

    def test_before_it_is_written_the_page_says_so(self, max_, two):
        assert "No card yet" in text(max_.get(reverse("dataset_card", args=[two[2].pk])))


class TestMarkdown:
    def test_what_a_card_has(self):
        made = markdown.html("# A\n\nOne **two** `three`\nfour.\n\n- x\n- y\n\n| a | b |\n| --- | --- |\n| 1 \\| 2 | 3 |\n\n```\n<b>\n```")
        assert "<h2>A</h2>" in made and "<p>One <strong>two</strong> <code>three</code> four.</p>" in made
        assert "<ul><li>x</li><li>y</li></ul>" in made and "<td>1 | 2</td>" in made and "&lt;b&gt;</pre>" in made

    @pytest.mark.parametrize(
        "bad",
        [
            "<script>alert(1)</script>", "# <img src=x onerror=alert(1)>", "- <b onclick=x>", "| <i> | b |\n| --- | --- |\n| <svg> | c |",
            "[a](javascript:alert(1))", '[a](https://x" onmouseover="alert(1))', "`<script>`", "**<script>**", "```\n</pre><script>\n",
            "[<script>](https://example.org)",
        ],
    )  # fmt: skip
    def test_no_html_of_others(self, bad):
        made = markdown.html(bad)
        for word in ("<script", "<img", "<b ", "<i>", "<svg", 'href="javascript', "onmouseover=\"a"):
            assert word not in made, made

    def test_any_text_ends(self):
        for odd in ("|", "#", "```", "-", "- ", "*", "", "\0", "#x\n-y\n*z", "| a", "`" * 5000, "[" * 5000, "**" * 5000):
            markdown.html(odd)


class TestLineage:
    def test_from_version_to_training_to_checkpoint_to_verdicts_to_rounds(self, client, people, two):
        c, old, new = two
        client.force_login(people["mia"])
        made = checkpoint("RFNet of old", promoted=True, version=old)
        run = Run.objects.create(kind="train_rfnet", title="Train", state="succeeded")
        training = Training.objects.create(dataset_version=old, checkpoint=made, run=run)
        for row in c[:4]:
            verdict(row, made)
        from annotation.models import Project

        project = Project.objects.create(name="Loop")
        Round.objects.create(number=3, project=project, strategy="margin", picked_by=made, picked_count=40, dataset_version=new)
        page = text(client.get(reverse("dataset_lineage", args=[new.pk])))
        for link in (
            reverse("dataset", args=[old.pk]), reverse("training", args=[training.pk]), reverse("run", args=[run.pk]),
            reverse("checkpoint", args=[made.pk]), reverse("round", args=[3]), reverse("dataset_compare", args=[new.pk, old.pk]),
        ):  # fmt: skip
            assert f'href="{link}"' in page
        assert '<strong class="number">4</strong> candidates' in page and "Nothing has learnt from it" in page

    def test_a_manager_sees_it_without_links_to_what_is_not_theirs(self, max_, two):
        made = checkpoint("RFNet of old", version=two[1])
        page = text(max_.get(reverse("dataset_lineage", args=[two[2].pk])))
        assert "RFNet of old" in page and reverse("checkpoint", args=[made.pk]) not in page

    def test_a_hundred_versions_are_not_all_drawn(self, max_, django_assert_max_num_queries):
        rows = [frozen(n, [], 200 - n) for n in range(1, 101)]
        with django_assert_max_num_queries(40):
            page = text(max_.get(reverse("dataset_lineage", args=[rows[50].pk])))
        assert page.count('class="lineage-step') == 12 and "88 other versions" in page


@pytest.fixture
def doubted():
    """20 samples; RFNet learnt from the first 10, and doubts two of the others (and one that it has learnt)."""
    c = build.candidates(20)
    rows = [(row, n % 2, "train" if n < 10 else "test") for n, row in enumerate(c)]
    made = frozen(1, rows, 1)
    judge = checkpoint(version=made)
    for n, row in enumerate(c):
        verdict(row, judge, (n + 1) % 2 if n in (4, 12, 17) else n % 2, 0.8)
    return c, made, judge


class TestLabelErrors:
    def test_only_what_rfnet_never_learnt_from_is_asked(self, doubted):
        c, made, judge = doubted
        found = label_errors.look(made, judge)
        assert found["judged"] == 10 and {row[0] for row in found["worst"]} == {c[12].pk, c[17].pk}
        assert [row[1:3] for row in sorted(found["worst"])] == [[0, 1], [1, 0]]
        assert sum(map(sum, found["joint"])) == pytest.approx(10)

    def test_another_candidate_of_a_learnt_product_is_left_out_too(self, doubted):
        c, made, judge = doubted
        again = build.candidate(99, of=c[0].product)
        VersionRow.objects.create(
            version=made, candidate=again, label=1, split="test", posterior=[0, 1, 0, 0, 0], agreement=1, annotation_count=2,
            row_digest="0" * 64,
        )  # fmt: skip
        verdict(again, judge, 0, 0.9)
        assert again.pk not in {row[0] for row in label_errors.look(made, judge)["worst"]}

    def test_without_such_verdicts_it_says_what_to_do(self, doubted, max_):
        c, made, judge = doubted
        judge.verdicts.all().delete()
        with pytest.raises(label_errors.CannotLook, match="let it judge the candidates first"):
            label_errors.look(made, judge)
        judge.delete()
        assert "No RFNet to ask" in text(max_.get(reverse("label_errors", args=[made.pk])))
        response = max_.post(reverse("label_errors_start", args=[made.pk]), follow=True)
        assert "train one on a version first" in text(response)

    def test_a_run_looks_the_page_shows_and_review_gets_them(self, doubted, max_, people):
        c, made, judge = doubted
        url = reverse("label_errors", args=[made.pk])
        assert "Nobody has looked yet" in text(max_.get(url))
        max_.post(reverse("label_errors_start", args=[made.pk]))
        run = Run.objects.get(kind="find_label_errors")
        assert "Looking for label errors" in text(max_.get(url))
        Run.objects.filter(pk=run.pk).update(
            state="succeeded", finished_at=timezone.now(), result=label_errors.look(made, judge)
        )
        page = text(max_.get(url))
        assert page.count("picture-card sample") == 2 and reverse("review-candidate", args=[c[12].pk]) in page
        response = max_.post(reverse("label_errors_send", args=[made.pk]), {"most": "50"})
        snapshot = Snapshot.objects.get(owner=people["max"])
        assert response.url == reverse("snapshot", args=[snapshot.pk]) and set(snapshot.candidates) == {c[12].pk, c[17].pk}
        assert len(lines(max_.get(reverse("label_errors_table", args=[made.pk])))) == 3

    def test_sending_nonsense_changes_nothing(self, doubted, max_):
        _, made, _ = doubted
        for most in ("50", "", "x", "9" * 30):
            assert max_.post(reverse("label_errors_send", args=[made.pk]), {"most": most}).status_code == 302
        assert not Snapshot.objects.exists()


class TestByARun:
    def test_the_runs_do_what_the_pages_keep(self, transactional_db, people, monkeypatch):
        monkeypatch.setattr(kept, "AT_ONCE", 3)
        c = build.candidates(6)
        old = frozen(1, [(c[0], 0, "train"), (c[1], 1, "test")], 4)
        new = frozen(2, [(c[0], 1, "train"), (c[2], 1, "train")], 2, parent=old)
        kept.start_all(new)
        assert do(Run.objects.get(kind="compare_versions")).state == "succeeded"
        assert kept.comparison(old, new)[0]["totals"] == {"added": 1, "removed": 1, "relabelled": 1, "moved": 0, "unchanged": 0}
        assert do(kept.start_description(old)).state == "succeeded"
        assert kept.description(old)[0] == describe(old)
        judge = checkpoint(version=old)
        verdict(c[2], judge, 1)
        assert do(label_errors.start(new)).result["judged"] == 1
