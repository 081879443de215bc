"""The quality pages: what they say on rows worked out by hand, to whom, and that they cost the same for many."""

import csv
import io
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from annotation import annotator_figures, annotator_page, figures, plots
from annotation.gold import Known, make_gold
from annotation.models import Annotation, Consensus, Project, Skip, Snapshot, Task
from annotation.review import decide
from runs.models import Run
from tests import build, crowd_rows
from tests.crowd_rows import answer, fit
from tests.page_checks import assert_sane

pytestmark = pytest.mark.django_db
READERS, MANAGERS = {"rita", "max", "mia", "olga"}, {"max", "olga"}
TABLES = ["throughput", "days", "labels", "agreement-by-label", "agreement-by-category", "agreement", "annotators",
          "disputed", "unsure"]  # fmt: skip
OWN_TABLES = ["answers", "pace", "labels", "confusion", "differing", "sent-back", "pairs"]


@pytest.fixture(autouse=True)
def nothing_kept():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def manager(client, people):
    client.force_login(people["max"])
    return client


@pytest.fixture
def four(people):
    """Alice, Bob and Rita: 0 0 0, 1 1 1, 0 0 1; and Alice alone: 2. The odd ones are lamps, the even ones mugs."""
    rows = [build.candidate(n, of=build.product(n, category=("lamps", "mugs")[n % 2])) for n in (0, 1, 2, 3)]
    Project.objects.create(name="first", overlap=3)
    for row, labels in zip(rows, ([0, 0, 0], [1, 1, 1], [0, 0, 1], [2]), strict=True):
        for name, label in zip(("alice", "bob", "rita"), labels, strict=False):
            answer(people[name], row, label)
    return rows


def text(response):
    return response.content.decode()


def table(response):
    assert response.status_code == 200 and response["Content-Type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(text(response))))


def hour_of(moment):
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class TestFiguresByHand:
    def test_agreement(self, four):
        result = fit()
        # Coincidences of Krippendorff: 4 of (0, 0), 3 of (1, 1), 1 of (0, 1) and of (1, 0); n = 9, 5 and 4.
        assert result["alpha"] == pytest.approx(1 - 8 * 2 / (81 - 25 - 16)) and result["alpha_items"] == 3
        # Fleiss: (1 + 1 + 1/3) / 3 observed, (5/9)^2 + (4/9)^2 by chance.
        assert result["fleiss"] == {"kappa": pytest.approx(0.55), "answers_each": 3, "candidates": 3}
        by_label = {row["label"]: row for row in result["by_label"]}
        assert by_label[0]["agreement"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
        assert (by_label[0]["unanimous"], by_label[0]["candidates"], by_label[1]["agreement"]) == (0.5, 2, 1.0)
        assert by_label[2]["agreement"] is None, "one answer agrees with nobody"
        by_category = {row["category"]: row for row in result["by_category"]}
        assert by_category["lamps"]["agreement"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-4)
        assert (by_category["mugs"]["agreement"], by_category["mugs"]["answers"]) == (1.0, 4)

    def test_people(self, four, people):
        fit()
        rows = {row.name: row for row in annotator_figures.people(figures.facts())}
        alice, rita = rows["alice"], rows["rita"]
        assert (alice.answers, alice.today, alice.judged, alice.agreement) == (4, 4, 3, 1.0)
        assert (rita.answers, rita.judged, rita.agreeing) == (3, 3, 2)
        assert rita.gold_share is None and rita.kappa is None, "they share fewer than 20"
        counts = annotator_page.confusion(figures.facts(), people["rita"])
        assert [cell["n"] for cell in counts[0]["cells"]] == [1, 1, 0, 0, 0]
        assert [cell["share"] for cell in counts[1]["cells"]] == [0, 1, 0, 0, 0]
        assert counts[2]["n"] == 0

    def test_what_is_known_is_judged_even_if_nobody_else_answered(self, four, people):
        make_gold(Project.objects.get(), {four[3].pk: Known(4)}, None)
        fit()
        alice = annotator_figures.person(figures.facts(), people["alice"])
        assert (alice.gold, alice.gold_right, alice.judged, alice.agreeing) == (1, 0, 4, 3)

    def test_label_mix(self, four):
        fit()
        mix = {row["number"]: row for row in figures.label_mix(figures.facts())}
        assert [mix[label]["answers"] for label in range(5)] == [5, 4, 1, 0, 0]
        assert [mix[label]["count"] for label in range(5)] == [2, 1, 1, 0, 0]
        assert mix[0]["answers_share"] == 0.5 and mix[0]["share"] == 0.5

    @pytest.mark.parametrize("is_fitted", [False, True])
    def test_answers_by_hour_and_day(self, people, is_fitted):
        now, rows = timezone.now(), build.candidates(4)
        moments = [now - timedelta(hours=30), now - timedelta(hours=3), now - timedelta(hours=3), now]
        for row, at in zip(rows, moments, strict=True):
            answer(people["alice"], row, 0, at=at)
        answer(people["bob"], rows[0], 1, at=now, state="undone")
        if is_fitted:
            fit()
        facts = figures.facts()
        by_hour = figures.by_hour(facts)
        assert len(by_hour) == 48 and hour_of(now) <= by_hour[-1][0] <= hour_of(timezone.now())
        assert {hour: n for hour, n in by_hour if n} == {
            hour_of(moments[0]): 1, hour_of(moments[1]): 2, hour_of(now): 1
        }  # fmt: skip
        by_day = figures.by_day(facts)
        assert len(by_day) == 30 and sum(n for _, n in by_day) == 4

    def test_answers_since_the_fit_are_counted_once(self, four, people):
        fit()
        assert figures.facts().news == []
        more = build.candidate(9)
        answer(people["bob"], more, 4)
        facts = figures.facts()
        assert [(news.annotator, news.label, news.count) for news in facts.news] == [(people["bob"].pk, 4, 1)]
        assert sum(n for _, n in figures.by_hour(facts)) == 11
        assert annotator_figures.person(facts, people["bob"]).answers == 4
        assert figures.label_mix(facts)[4]["answers"] == 1
        assert sum(figures.answers_by_project(facts).values()) == 11

    def test_before_the_first_fit_the_pages_say_what_they_can(self, four, people):
        facts = figures.facts()
        assert sum(row["answers"] for row in figures.label_mix(facts)) == 10
        assert {row.name: row.answers for row in annotator_figures.people(facts)} == {"alice": 4, "bob": 3, "rita": 3}
        assert figures.method_in_words(facts.result) == ["Majority of the answers, until the first fit."]

    def test_pace_and_answers_of_one_person(self, people):
        now = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
        for number, (days, seconds) in enumerate([(0, 1.0), (0, 2.0), (0, 4.0), (5, 3.0)]):
            answer(people["alice"], build.candidate(number), 0, at=now + timedelta(days=days), seconds=seconds)
        history = annotator_page.History.of(people["alice"])
        answers, pace, _ = annotator_page.plots_of(figures.facts(), people["alice"], history)
        assert [row.values[0] for row in answers.rows] == [3, 0, 0, 0, 0, 1]
        assert pace.rows[0].values == (2.0, 1.5, 3.0, None) and pace.rows[5].values[0] == 3.0
        assert pace.rows[1].values[0] is None, "a day off is no pace"
        assert answers.rows[0].csv == "2026-03-02"

    def test_less_than_three_days_of_work_are_drawn_by_the_hour(self, people):
        now = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
        for number in range(3):
            answer(people["alice"], build.candidate(number), 0, at=now + timedelta(hours=number))
        history = annotator_page.History.of(people["alice"])
        assert [history.row(bucket).title for bucket in history.buckets()] == ["2 Mar, 10:00", "2 Mar, 11:00", "2 Mar, 12:00"]


class TestWords:
    @pytest.mark.parametrize(
        ("alpha", "low", "level", "word"),
        [
            (0.9, 0.85, "good", "relied on"), (0.82, 0.74, "good", "as low as 0.74"), (0.7, 0.6, "warn", "tentative"),
            (0.4, 0.3, "bad", "Too low"), (-0.1, -0.2, "bad", "hardly more than chance"), (0.9, None, "good", "relied"),
        ],
    )  # fmt: skip
    def test_alpha_comes_with_what_it_means(self, alpha, low, level, word):
        found = figures.alpha_in_words({"alpha": alpha, "alpha_low": low})
        assert found[0] == level and word in found[1]

    def test_no_alpha_no_words(self):
        assert figures.alpha_in_words({}) == ("", "")

    def test_which_method_counts_and_why_not_the_other(self, four):
        fit()
        said = " ".join(figures.method_in_words(figures.facts().result))
        assert said.startswith("Dawid-Skene") and "Not CROWDLAB: No RFNet" in said
        said = " ".join(figures.method_in_words({"method": "crowdlab", "judge": "rfnet-7", "weighed": 1200}))
        assert "rfnet-7" in said and "1,200 candidates" in said

    def test_a_spammer_is_worth_a_look_and_careful_people_are_not(self, people):
        rows = crowd_rows.candidates(120)
        crowd_rows.work(rows, {"ann": 0.93, "ben": 0.92, "cleo": 0.9, "spammer": None}, gold=20)
        fit()
        found = annotator_figures.suspects(figures.facts())
        assert [row.name for row in found] == ["spammer"]
        said = " ".join(found[0].reasons)
        assert "Very fast: 0." in said and "times “Available” in a row" in said and "Gold: " in said
        assert "half of all annotators" in said


class TestWhoMay:
    def urls(self, pk):
        pages = [reverse("quality"), reverse("annotators"), reverse("annotator", args=[pk])]
        tables = [reverse("quality-table", args=[name]) for name in TABLES]
        return pages, tables + [reverse("annotator-table", args=[pk, name]) for name in OWN_TABLES]

    def test_those_who_see_quality_and_nobody_else(self, client, people, four):
        fit()
        pages, tables = self.urls(people["rita"].pk)
        for url in pages + tables:
            assert client.get(url).status_code == 302, url
        for person, user in people.items():
            client.force_login(user)
            for url in pages + tables:
                response = client.get(url)
                assert response.status_code == (200 if person in READERS else 403), (person, url)
                if url in pages and person in READERS:
                    assert_sane(response)

    def test_an_annotator_sees_no_page_of_anybody_not_even_their_own(self, client, people, four):
        client.force_login(people["alice"])
        for name in ("alice", "bob"):
            assert client.get(reverse("annotator", args=[people[name].pk])).status_code == 403

    def test_which_candidates_are_gold_is_for_managers_only(self, client, people, four):
        make_gold(Project.objects.get(), {four[2].pk: Known(0)}, None)
        fit()
        for person in READERS:
            client.force_login(people[person])
            page = text(client.get(reverse("annotator", args=[people["rita"].pk])))
            assert ("Gold they missed" in page) == (person in MANAGERS), person
            assert "0 of 1 right" in page, "how many is for all who see quality"
            response = client.get(reverse("annotator-table", args=[people["rita"].pk, "gold"]))
            assert response.status_code == (200 if person in MANAGERS else 403)

    def test_asking_on_is_for_those_who_manage_tasks(self, client, people, four):
        for person, user in people.items():
            client.force_login(user)
            response = client.post(reverse("quality-ask-on"), {"most": "50"})
            assert (response.status_code == 403) == (person not in MANAGERS), person

    @pytest.mark.parametrize("pk", [0, 2**62, 10**30])
    def test_made_up_ids_and_tables_are_not_found(self, manager, people, pk):
        assert manager.get(reverse("annotator", args=[pk])).status_code == 404
        assert manager.get(reverse("annotator-table", args=[pk, "pace"])).status_code == 404
        assert manager.get(reverse("annotator-table", args=[people["max"].pk, "nothing"])).status_code == 404
        assert manager.get(reverse("quality-table", args=["nothing"])).status_code == 404

    @pytest.mark.parametrize("after", ["x", "0.5", "nan:1", "0.5:-1", f"0.5:{2**63}", "0.5:1:2"])
    def test_made_up_places_in_the_list_are_not_found(self, manager, after):
        assert manager.get(reverse("quality") + f"?after={after}").status_code == 404


class TestQualityPage:
    def test_it_says_it_all(self, manager, four):
        fit()
        page = text(manager.get(reverse("quality")))
        for words in ("Answers by hour", "Answers by day", "Agreement by label", "Agreement by category", "Label mix",
                      "Krippendorff’s alpha", "Fleiss’ kappa", "Not CROWDLAB", "Worth one more label", "Where people differ"):
            assert words in page, words
        assert "0.60" in page and "Too low to rely on" in page

    def test_every_plot_has_its_numbers_as_a_table_and_as_csv(self, manager, four):
        fit()
        page = text(manager.get(reverse("quality")))
        for name in plots.QUALITY:
            assert f'data-table="table-{name}"' in page and f'id="table-{name}"' in page
            assert reverse("quality-table", args=[name]) in page
        rows = table(manager.get(reverse("quality-table", args=["agreement-by-category"])))
        assert rows[0] == ["category", "agreement", "alpha", "candidates", "answers"]
        assert rows[1][:2] == ["lamps", "0.6667"] and rows[2][:2] == ["mugs", "1.0"]
        rows = table(manager.get(reverse("quality-table", args=["agreement"])))
        assert rows[1][:2] == ["krippendorff_alpha", "0.6"]

    def test_an_empty_platform_says_what_is_missing(self, manager):
        page = manager.get(reverse("quality"))
        assert_sane(page)
        assert "There is no project yet" in text(page) and "Nobody answered in the last two days" in text(page)
        assert "Nobody has labelled yet" in text(manager.get(reverse("annotators")))

    def test_people_differ_in_the_order_of_how_much_and_more_come_when_asked(self, manager, people, monkeypatch):
        monkeypatch.setattr("annotation.quality_views.DISPUTED_A_PAGE", 2)
        for number, row in enumerate(build.candidates(5)):
            answer(people["alice"], row, 0)
            answer(people["bob"], row, 1)
            Consensus.objects.create(
                candidate=row, label=0, posterior=[1, 0, 0, 0, 0], method="majority", annotation_count=2,
                agreement=(0.5, 0.6, 0.5, 0.4, 1.0)[number],
            )  # fmt: skip
        seen, page = [], text(manager.get(reverse("quality")))
        while True:
            part = page.partition('id="disputed-title"')[2] or page
            seen += [int(alt.split(":")[0]) for alt in part.split('alt="Candidate ')[1:]]
            more = part.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
            if not more:
                break
            page = text(manager.get(reverse("quality") + more, headers={"hx-request": "true"}))
        ids = list(Consensus.objects.filter(agreement__lt=1).order_by("agreement", "candidate").values_list("candidate", flat=True))
        assert seen == ids and len(ids) == 4


class TestWorthOneMore:
    @pytest.fixture
    def finished(self, people):
        rows = crowd_rows.candidates(40)
        crowd_rows.work(rows, {"ann": 0.9, "ben": 0.8, "cleo": 0.7}, gold=4)
        fit()
        return rows

    def test_the_least_sure_first_and_no_gold(self, finished):
        facts = figures.facts()
        rows = figures.worth_one_more(facts, most=100)
        scores = [row.activelab_score for row in rows]
        assert len(rows) == 36 and scores == sorted(scores)
        assert not {row.candidate_id for row in rows} & {row.pk for row in finished[:4]}

    def test_what_gets_more_answers_is_in_it_no_more(self, finished):
        facts = figures.facts()
        first = figures.worth_one_more(facts)[0]
        Consensus.objects.filter(pk=first.pk).update(is_complete=False)
        assert first not in figures.worth_one_more(facts, most=100)

    def test_chosen_ones_go_to_the_bulk_action_that_asks_more_people(self, manager, people, finished):
        response = manager.post(reverse("quality-ask-on"), {"most": "50"}, follow=True)
        snapshot = Snapshot.objects.get()
        assert snapshot.count == 36 and snapshot.owner == people["max"] and "Ask more people" in text(response)
        project = Project.objects.get()
        manager.post(
            reverse("snapshot_act", args=[snapshot.pk, "overlap"]), {"project": project.pk, "overlap": 4, "sure": "yes"}
        )
        assert Task.objects.filter(overlap=4, is_open=True).count() == 36
        assert figures.worth_one_more(figures.facts()) == []

    @pytest.mark.parametrize("most", ["", "7", "-1", "50; drop", "²"])
    def test_other_numbers_are_refused_with_those_that_go(self, manager, finished, most):
        response = manager.post(reverse("quality-ask-on"), {"most": most}, follow=True)
        assert "Choose how many: 50, 200, 1,000, 5,000." in text(response) and not Snapshot.objects.exists()

    def test_without_a_score_there_is_nothing_to_choose(self, manager, people):
        response = manager.post(reverse("quality-ask-on"), {"most": "50"}, follow=True)
        assert "refit the consensus first" in text(response) and not Snapshot.objects.exists()


class TestAnnotators:
    @pytest.fixture
    def crowd(self, people):
        rows = crowd_rows.candidates(90)
        crowd_rows.work(rows, {"ann": 0.95, "ben": 0.85, "cleo": 0.75}, gold=12, pace={"ann": 2.0, "ben": 4.0, "cleo": 6.0})
        fit()
        return rows

    def names(self, response):
        cells = text(response).partition("<tbody>")[2].split('<th scope="row">')[1:]
        return [cell.partition("</a>")[0].rpartition(">")[2] for cell in cells]

    @pytest.mark.parametrize(
        ("sort", "names"),
        [
            ("name", ["ann", "ben", "cleo"]), ("-name", ["cleo", "ben", "ann"]),
            ("-median_seconds", ["cleo", "ben", "ann"]), ("median_seconds", ["ann", "ben", "cleo"]),
            ("-accuracy", ["ann", "ben", "cleo"]), ("agreement", ["cleo", "ben", "ann"]),
        ],
    )  # fmt: skip
    def test_sorted_by_any_column(self, manager, crowd, sort, names):
        response = manager.get(reverse("annotators") + f"?sort={sort}")
        assert self.names(response) == names
        assert ('aria-sort="descending"' in text(response)) == sort.startswith("-")

    def test_a_sort_of_ones_own_making_is_the_usual_one(self, manager, crowd):
        assert self.names(manager.get(reverse("annotators") + "?sort=password")) == self.names(manager.get(reverse("annotators")))

    def test_what_is_not_known_comes_last_either_way(self, manager, people, crowd):
        answer(people["bob"], build.candidate(5), 0)
        for sort in ("gold_share", "-gold_share"):
            assert self.names(manager.get(reverse("annotators") + f"?sort={sort}"))[-1] == "bob"

    def test_the_table_has_kappa_gold_and_pace(self, crowd):
        head, *rows = [annotator_figures.table(figures.facts())[0], *annotator_figures.table(figures.facts())[1]]
        ann = next(dict(zip(head, row, strict=True)) for row in rows if row[0] == "ann")
        assert ann["gold"] == 12 and ann["gold_right"] >= 9 and ann["kappa_pairs"] == 2 and ann["median_kappa"] > 0.5
        assert ann["median_seconds"] == pytest.approx(2.0, rel=0.2) and ann["judged"] == ann["answers"] == 90

    def test_a_page_of_one(self, manager, people, crowd):
        cleo = User.objects.get(username="cleo")
        page = manager.get(reverse("annotator", args=[cleo.pk]))
        assert_sane(page)
        missed, n_gold = annotator_page.gold_answers(cleo)
        differing, n_compared = annotator_page.differing(cleo)
        assert n_gold == 12 and missed and f"{len(missed)} of 12, the newest first" in text(page)
        assert n_compared == 90 and len(differing) >= len(missed)
        confusion = annotator_page.confusion(figures.facts(), cleo)
        right = sum(row["cells"][row["label"]]["n"] for row in confusion)
        assert right == 90 - len(differing), "the matrix and the list say the same"
        for words in ("What they mix up", "Beside others", "Answers by day", "Pace", "Label mix", "Their latest answers"):
            assert words in text(page), words

    def test_what_reviewers_sent_back_and_what_was_said_then(self, manager, people, crowd):
        ben = User.objects.get(username="ben")
        row = next(
            one for one in Consensus.objects.filter(method="dawid-skene", agreement__lt=1)
            if Annotation.objects.standing().filter(candidate=one.candidate_id, annotator=ben).exclude(label=one.label)
        )
        decide(people["rita"], uuid.uuid4(), row.candidate_id, "sent_back", comment="=look again", annotators=[ben.pk])
        page = text(manager.get(reverse("annotator", args=[ben.pk])))
        assert "=look again" in page and "Waiting" in page and "1 waiting for them" in page
        sent = annotator_page.sent_back(ben)[0]
        assert sent.now is None
        Skip.objects.create(task=sent.task, annotator=ben)
        assert annotator_page.counts(ben) == {"skips": 1, "flags": 0, "sent_back": 1, "waiting": 1}
        rows = table(manager.get(reverse("annotator-table", args=[ben.pk, "sent-back"])))
        assert rows[1][4] == "'=look again" and rows[1][7] == ""
        answer(ben, sent.annotation.candidate, row.label, project=sent.task.project)
        assert annotator_page.sent_back(ben)[0].now.label == row.label

    def test_somebody_without_answers(self, manager, people):
        page = manager.get(reverse("annotator", args=[people["mia"].pk]))
        assert_sane(page)
        assert "No answers yet" in text(page)


def test_no_table_carries_a_formula_into_a_spreadsheet(manager, people):
    evil = User.objects.create(username="@SUM(A1)", role="annotator")
    other = User.objects.create(username="-2+3", role="annotator")
    of = build.product(1, title='=HYPERLINK("http://evil")', category="+cmd|' /C calc'!A0")
    rows = [build.candidate(number, of=of) for number in range(25)]
    for row in rows:
        answer(evil, row, 0)
        answer(other, row, 1 if row is rows[0] else 0)
    make_gold(Project.objects.get(), {rows[0].pk: Known(1)}, None)
    fit()
    urls = [reverse("quality-table", args=[name]) for name in TABLES]
    urls += [reverse("annotator-table", args=[evil.pk, name]) for name in (*OWN_TABLES, "gold")]
    found = 0
    for url in urls:
        for cell in (cell for row in table(manager.get(url)) for cell in row):
            if cell[:1] in ("=", "+", "@", "\t", "\r") or cell.startswith("-"):
                float(cell)  # numbers may be negative
            found += cell.startswith("'")
    assert found >= 5


class TestCost:
    def queries(self, client, url):
        with CaptureQueriesContext(connection) as seen:
            assert client.get(url).status_code == 200
        return len(seen)

    def test_no_page_asks_more_of_the_database_for_more_rows(self, manager, people):
        rows = crowd_rows.candidates(220)
        crowd_rows.work(rows[:40], {"ann": 0.9, "ben": 0.8, "cleo": 0.7}, gold=5)
        fit()
        pk = User.objects.get(username="cleo").pk
        urls = [reverse("quality"), reverse("annotators"), reverse("annotator", args=[pk])]
        for url in urls:
            manager.get(url)
        few = [self.queries(manager, url) for url in urls]
        project = Project.objects.create(name="more", overlap=4)
        crowd_rows.work(rows[40:], {"ann": 0.9, "ben": 0.8, "cleo": 0.7, "dana": 0.8, "eve": 0.9}, each=4, gold=20, seed=1, project=project)
        fit()
        assert [self.queries(manager, url) for url in urls] == few
        assert max(few) <= 30

    def test_a_request_reads_only_the_newest_of_many_answers(self, people, monkeypatch):
        monkeypatch.setattr(figures, "MOST_NEWS", 5)
        monkeypatch.setattr(annotator_page, "MOST_ANSWERS", 6)
        monkeypatch.setattr(annotator_page, "MOST_COMPARED", 4)
        rows = crowd_rows.candidates(20)
        crowd_rows.work(rows, {"ann": 0.9, "ben": 0.2}, each=2)
        assert sum(news.count for news in figures.facts().news) == 5
        fit()
        ben = User.objects.get(username="ben")
        assert annotator_page.History.of(ben).answers == 6 and annotator_page.differing(ben)[1] == 4


def test_the_run_of_a_fit_shows_its_figures_and_not_its_tables(client, people, four):
    fit()
    client.force_login(people["olga"])
    page = text(client.get(reverse("run", args=[Run.objects.get(kind="fit_consensus").pk])))
    assert "Alpha low" in page or "alpha low" in page.lower()
    assert "confusion" not in page.lower() and len(page) < 40_000
