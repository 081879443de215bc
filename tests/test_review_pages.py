"""The pages of reviewing: the queue, one candidate, the history, the grid."""

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotation import review, review_queue
from annotation.actions import Pick, add_tasks, lease
from annotation.answers import Answer, save_annotations
from annotation.models import Annotation, Consensus, Look, Project
from tests import review_rows
from tests.review_rows import decide, fill, says

project, disputed = review_rows.project, review_rows.disputed


class TestTheQueue:
    @pytest.fixture
    def rows(self, project, people):
        """Of four candidates people differ on two; of those Rita labelled one."""
        rows = fill(project, 4)
        for row, labels in zip(rows, ((0, 3), (1, 1), (2, 4), (0,)), strict=True):
            for name, label in zip(("alice", "bob"), labels, strict=False):
                says(people[name], row, label)
        return rows

    def page(self, client, query=""):
        return client.get(f"/review/{query}")

    def ids(self, answer):
        return [row.candidate_id for row in answer.context["rows"]]

    @pytest.fixture
    def rita(self, client, people):
        client.force_login(people["rita"])
        return client

    def test_the_disputed_and_undecided_only(self, rita, rows):
        assert self.ids(self.page(rita)) == [rows[0].pk, rows[2].pk]

    def test_most_disputed_first_then_what_is_most_worth_a_look(self, rita, rows):
        Consensus.objects.filter(candidate=rows[2]).update(activelab_score=0.1)
        assert self.ids(self.page(rita)) == [rows[2].pk, rows[0].pk]
        Consensus.objects.filter(candidate=rows[0]).update(agreement=0.4)
        assert self.ids(self.page(rita, "?show=all"))[0] == rows[0].pk

    def test_never_ones_own_work(self, client, rows, people):
        project = Project.objects.create(name="second", overlap=2)
        add_tasks(project, [Pick(rows[0].pk)])
        slot = lease(people["rita"], project, 1)[0]
        save_annotations(people["rita"], [Answer(uuid.uuid4(), slot.task_id, 1, 1.0)])
        client.force_login(people["rita"])
        assert rows[0].pk not in self.ids(self.page(client, "?show=all"))
        assert b"labelled this candidate yourself" in client.get(f"/review/{rows[0].pk}/").content

    @pytest.mark.parametrize(
        "query, wanted",
        [
            ("?show=all", {0, 1, 2, 3}), ("?show=all&complete=0", {3}), ("?show=all&label=1", {1}),
            ("?decided=1", set()), ("?project=999", {0, 2}), ("?project=²&label=9&complete=x", {0, 2}),
            ("?project=99999999999999999999", {0, 2}),
        ],
    )  # fmt: skip
    def test_filters(self, rita, rows, query, wanted):
        answer = self.page(rita, query)
        assert answer.status_code == 200 and set(self.ids(answer)) == {rows[n].pk for n in wanted}

    def test_by_project_and_annotator(self, rita, rows, people, project):
        query = f"?show=all&annotator={people['bob'].pk}&project={project.pk}"
        assert set(self.ids(self.page(rita, query))) == {row.pk for row in rows[:3]}

    def test_pages_follow_each_other_without_gap_or_doubling(self, rita, rows, monkeypatch):
        monkeypatch.setattr("annotation.review_views.A_PAGE", 1)
        seen, query = [], "?show=all"
        while query:
            answer = self.page(rita, query)
            seen, query = seen + self.ids(answer), answer.context["more"]
        assert len(seen) == 4 and set(seen) == {row.pk for row in rows}

    @pytest.mark.parametrize("after", ["x", "1:2", "nan:0:1", "inf:1:1", "0.5:1:99999999999999999999", "0.5:1:²"])
    def test_a_made_up_page_is_not_found(self, rita, rows, after):
        assert self.page(rita, f"?after={after}").status_code == 404

    def test_two_reviewers_are_led_past_each_other(self, rita, rows, people):
        first, second = self.ids(self.page(rita))
        max_ = Client()
        max_.force_login(people["max"])
        rita.get(f"/review/{first}/")
        listed = self.page(max_)
        assert listed.content.decode().count("rita is looking") == 1 and listed.context["start"].candidate_id == second
        said = max_.get(f"/review/{first}/")
        assert "rita is looking at this one, too" in said.content.decode()
        rita.get(f"/review/{second}/")  # fetched ahead
        assert max_.get(f"/review/{first}/").context["next_url"] == "" and self.page(max_).context["start"] is None
        Look.objects.update(at=timezone.now() - review_queue.LOOK_LASTS - timedelta(seconds=1))
        assert "is looking" not in self.page(max_).content.decode()
        assert "is looking" not in max_.get(f"/review/{first}/").content.decode()
        assert "max is looking at this one, too" in rita.get(f"/review/{first}/").content.decode()

    def test_a_decision_ends_the_look(self, rita, rows, people):
        rita.get(f"/review/{rows[0].pk}/")
        assert Look.objects.get().reviewer == people["rita"]
        review.decide(people["rita"], uuid.uuid4(), rows[0].pk, "changed", 4)
        assert not Look.objects.exists()

    def test_each_label_says_who_gave_it_and_an_answer_what_it_saw(self, rita, rows):
        answer = Annotation.objects.filter(candidate=rows[0]).first()
        shown = {**answer.shown, "verdict": {"checkpoint": 1, "label": 2, "probs": [0, 0, 1, 0, 0]}}
        Annotation.objects.filter(pk=answer.pk).update(shown=shown)
        said = rita.get(f"/review/{rows[0].pk}/").content.decode()
        assert f'<small class="muted clip">{answer.annotator}' in said and "saw RFNet’s “Size mismatch”" in said

    def test_one_candidate_shows_all_that_is_known_and_leads_to_the_next(self, rita, rows, people):
        Annotation.objects.filter(annotator=people["bob"]).update(details={"secondary": [1], "marker": [0.25, 0.5]})
        answer = rita.get(f"/review/{rows[0].pk}/?complete=1")
        page = answer.content.decode()
        assert "alice" in page and "bob" in page and 'cx="25.00"' in page and "Also: " in page
        assert answer.context["next_url"] == f"/review/{rows[2].pk}/?complete=1"
        assert rita.get(f"/review/{rows[2].pk}/").context["next_url"] == ""
        decide(people["max"], rows[0], "changed", 4, comment="the lamp <floats>")
        assert "the lamp &lt;floats&gt;" in rita.get(f"/review/{rows[0].pk}/").content.decode()

    def test_there_is_no_such_candidate(self, rita):
        assert rita.get("/review/9223372036854775807/").status_code == 404
        assert rita.get("/review/99999999999999999999999/").status_code == 404


class TestTheHistory:
    @pytest.fixture
    def decided(self, project, people):
        rows = fill(project, 3)
        for row in rows:
            says(people["alice"], row, 0)
            decide(people["rita"], row, "changed", 1, comment=f"=row {row.pk}")
        decide(people["max"], rows[0], "withdrawn")
        return rows

    def test_newest_first_and_complete(self, client, people, decided):
        client.force_login(people["max"])
        rows = client.get("/review/history/").context["rows"]
        assert [row.action for row in rows] == ["withdrawn", "changed", "changed", "changed"]

    def test_filters_and_pages(self, client, people, decided, monkeypatch):
        client.force_login(people["rita"])
        query = f"/review/history/?candidate={decided[0].pk}"
        assert len(client.get(query).context["rows"]) == 2
        assert len(client.get(f"{query}&reviewer={people['max'].pk}").context["rows"]) == 1
        monkeypatch.setattr("annotation.review_views.DECISIONS_A_PAGE", 1)
        seen, query = [], "?"
        while query:
            answer = client.get(f"/review/history/{query}")
            seen, query = seen + [row.pk for row in answer.context["rows"]], answer.context["more"]
        assert len(seen) == len(set(seen)) == 4

    @pytest.mark.parametrize("before", ["x", "2024-01-01T00:00:00", "2024-01-01T00:00:00Z~x", "2024-99-01T00:00:00Z~"])
    def test_a_made_up_page_is_not_found(self, client, people, db, before):
        client.force_login(people["rita"])
        assert client.get(f"/review/history/?before={before}").status_code == 404

    def test_as_a_table_that_a_spreadsheet_may_open(self, client, people, decided):
        client.force_login(people["rita"])
        text = client.get(f"/review/history.csv?candidate={decided[1].pk}").content.decode()
        head, row = text.strip().splitlines()
        assert head.startswith("decision,when_utc,reviewer,candidate,action,label,comment")
        assert f"'=row {decided[1].pk}" in row and "alice: available" in row

    def test_no_address_changes_or_deletes_one(self, client, people, decided):
        client.force_login(people["max"])
        for method in ("post", "put", "patch", "delete"):
            assert getattr(client, method)("/review/history/").status_code == 405
            assert getattr(client, method)(f"/review/{decided[0].pk}/").status_code == 405


class TestTheGrid:
    @pytest.fixture
    def rows(self, project, people):
        rows = fill(project, 30)
        slots = lease(people["alice"], project, 50)
        save_annotations(people["alice"], [Answer(uuid.uuid4(), slot.task_id, 0, 1.0) for slot in slots])
        return rows

    @pytest.fixture
    def rita(self, client, people):
        client.force_login(people["rita"])
        return client

    def make(self, client, **filters):
        answer = client.post("/grid/", filters)
        assert answer.status_code == 302, answer.content
        return answer.url

    def test_a_snapshot_of_what_matches(self, rita, rows):
        url = self.make(rita, label="0", sure="0.95")
        first = rita.get(url)
        assert len(first.context["page"].rows) == 24 and first.context["page"].count == 2
        second = rita.get(first.context["next_url"])
        assert len(second.context["page"].rows) == 6 and second.context["next_url"] == ""
        shown = [row.candidate_id for page in (first, second) for row in page.context["page"].rows]
        assert sorted(shown) == sorted(row.pk for row in rows)

    def test_it_stays_what_it_was(self, rita, rows, people):
        url = self.make(rita, label="0")
        decide(people["max"], rows[-1], "changed", 3)
        page = rita.get(url).context["page"]
        assert [row.changed for row in page.rows] == [True] + 23 * [False]
        assert b"changed since" in rita.get(url).content

    def test_nothing_matches(self, rita, rows):
        answer = rita.post("/grid/", {"label": "4"})
        assert answer.status_code == 200 and b"Nothing matches" in answer.content

    @pytest.mark.parametrize("values", [{"label": "9"}, {"label": "²"}, {"sure": "2"}, {"project": "99999999999999999999"}])
    def test_nonsense(self, rita, rows, values):
        assert rita.post("/grid/", values).status_code == 422

    def test_only_its_owner_opens_it(self, rita, client, rows, people):
        url = self.make(rita, label="0")
        client.force_login(people["max"])
        assert client.get(url).status_code == 404

    def test_own_work_is_left_out_and_said_so(self, rita, rows, people, project):
        url = self.make(rita, label="0")
        slot = lease(people["rita"], project, 1)[0]
        save_annotations(people["rita"], [Answer(uuid.uuid4(), slot.task_id, 0, 1.0)])
        pages = [rita.get(f"{url}?page={number}") for number in (1, 2)]
        shown = [row.candidate_id for page in pages for row in page.context["page"].rows]
        assert len(shown) == 29 and slot.candidate_id not in shown
        assert any(b"labelled it yourself" in page.content for page in pages)
        again = rita.get(self.make(rita, label="0")).context["snapshot"]
        assert slot.candidate_id not in again.candidates

    @pytest.mark.parametrize("page", ["0", "3", "²", "x", "-1", "99999999999999999999"])
    def test_a_made_up_page_is_not_found(self, rita, rows, page):
        assert rita.get(f"{self.make(rita)}?page={page}").status_code == 404


@pytest.mark.parametrize("who, status", [("alice", 403), ("mia", 403), ("rita", 200), ("max", 200), ("olga", 200)])
def test_pages_are_for_those_who_review(client, disputed, people, who, status):
    client.force_login(people[who])
    for url in ("/review/", "/review/history/", "/review/history.csv", f"/review/{disputed.pk}/", "/grid/"):
        assert client.get(url).status_code == status, url


def test_strangers_are_sent_to_the_log_in(client, disputed):
    for url in ("/review/", "/review/history/", f"/review/{disputed.pk}/", "/grid/", "/grid/1/"):
        assert client.get(url).status_code == 302
