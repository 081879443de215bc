"""The command line of dataset versions: differences, conditions, progress."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from datasets_app.models import DatasetVersion, VersionRow
from runs import following
from runs.models import Run
from runs.progress_bar import ProgressBar
from tests import build
from tests.data_rows import labelled

pytestmark = pytest.mark.django_db


def said(*words):
    out = io.StringIO()
    call_command("dataset", *words, stdout=out)
    return out.getvalue()


@pytest.fixture
def two():
    c = build.candidates(4)
    for number, rows in ((1, [(c[0], 0), (c[1], 1), (c[2], 2)]), (2, [(c[0], 3), (c[1], 1), (c[3], 4)])):
        made = DatasetVersion.objects.create(name="ads", number=number, salt="ads", digest="d" * 64, row_count=3)
        DatasetVersion.objects.filter(pk=made.pk).update(created_at=timezone.now() - timedelta(days=3 - number))
        for candidate, label in rows:
            VersionRow.objects.create(
                version=made, candidate=candidate, label=label, split="train", posterior=[1, 0, 0, 0, 0], agreement=1,
                annotation_count=2, row_digest="0" * 64,
            )  # fmt: skip
    return c


class TestDiff:
    def test_counts_and_a_list(self, two):
        text = said("diff", "ads/v1", "ads/v2", "--what", "relabelled")
        assert "1 added, 1 removed, 1 relabelled, 0 moved, 1 unchanged" in text
        assert "available -> indistinctiveness (a new fit)" in text and "why: 1 a new fit" in text

    def test_as_json_lines(self, two):
        counts, change = map(json.loads, said("diff", "ads/v1", "ads/v2", "--what", "added", "--json").splitlines())
        assert counts["totals"]["added"] == 1 and change["candidate"] == two[3].pk

    def test_a_long_list_says_that_there_is_more(self, two):
        VersionRow.objects.filter(version__number=2, candidate=two[1]).update(label=0)
        text = said("diff", "ads/v1", "ads/v2", "--what", "relabelled", "--limit", "1")
        assert "--limit 0 lists all 2" in text
        assert "more" not in said("diff", "ads/v1", "ads/v2", "--what", "relabelled", "--limit", "0")

    def test_what_is_wrong_is_a_sentence(self, two):
        for words, why in (
            (("ads/v1", "ads/v9"), "There is no version"), (("ads/v1", "ads/v2", "--label", "fine"), "."),
            (("ads/v1", "ads/v2", "--what", "added", "--why", "fit"), "relabelled rows only"),
        ):  # fmt: skip
            with pytest.raises(CommandError, match=why):
                said("diff", *words)


class TestFreezing:
    def test_any_condition_may_be_given(self, transactional_db):
        labelled(6)
        text = said("freeze", "ads", "--where", "source=test", "--where", 'label=[0, 1]')
        assert "ads v1: 3 samples" in text
        assert DatasetVersion.objects.get().query == {"source": "test", "label": [0, 1]}

    def test_a_condition_without_a_value_says_so(self):
        with pytest.raises(CommandError, match="such as source=shop"):
            said("freeze", "ads", "--where", "source")


@pytest.mark.django_db(transaction=True)
class TestLongWorkIsARun:
    def test_it_may_be_left_to_the_workers(self):
        labelled(6)
        text = said("freeze", "ads", "--no-wait")
        run = Run.objects.get(kind="freeze")
        assert run.state == "queued" and f"/runs/{run.pk}/" in text and "manage.py work" in text
        assert "ads v1: 6 samples" in said("freeze", "ads"), "the same run, followed"
        assert Run.objects.filter(kind="freeze").count() == 1
        assert "left to the workers" in said("verify", "ads/v1", "--queue")

    def test_a_variant_is_written_to_any_folder_and_written_again_it_is_the_same_run(self, tmp_path):
        labelled(6)
        said("freeze", "ads")
        words = ("write", "ads/v1", "--to", str(tmp_path / "copy"), "--variant", "labels")
        assert "ads v1: 6 samples" in said(*words) and (tmp_path / "copy" / "manifest.json").exists()
        Run.objects.filter(kind="write_version").update(state="stopped")
        said(*words)
        assert Run.objects.filter(kind="write_version").count() == 1
        with pytest.raises(CommandError, match="never overwritten"):
            said("write", "ads/v1", "--to", str(tmp_path / "copy"))
        with pytest.raises(CommandError, match="s3://bucket/folder"):
            said("write", "ads/v1", "--to", "s3://x")

    def test_ctrl_c_gives_it_to_the_workers_and_says_where_to_look(self, monkeypatch):
        labelled(6)
        monkeypatch.setattr(following, "_work_here", lambda run_id, fence: None)

        def pressed(seconds):
            raise KeyboardInterrupt

        monkeypatch.setattr(following.time, "sleep", pressed)
        with pytest.raises(CommandError, match="stop it, at /runs/") as left:
            said("freeze", "ads")
        run = Run.objects.get(kind="freeze")
        assert left.value.returncode == 130 and run.state == "queued" and run.attempt == 0

    def test_every_verb_says_what_it_takes(self, capsys):
        for verb in ("freeze", "write", "verify", "diff", "import", "query", "list"):
            with pytest.raises(SystemExit) as ended:
                call_command("dataset", verb, "--help")
            assert ended.value.code == 0 and "--help" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def write(self, text, ending="\n"):
        return super().write(text + ending)


class TestProgress:
    def test_one_line_grows_on_a_terminal(self):
        out = Terminal()
        bar = ProgressBar(out)
        for done in (0, 5, 10):
            bar.tell("writing", done, 10)
        bar.end()
        text = out.getvalue()
        assert text.count("\n") == 1 and "[##############################] 100% writing: 10 of 10 samples" in text

    def test_a_log_gets_few_lines(self):
        out = io.StringIO()
        out_lines = []
        out.write = lambda text: out_lines.append(text)
        bar = ProgressBar(out)
        for done in range(1001):
            bar.tell("writing", done, 1000)
        bar.end()
        assert len(out_lines) == 2 and "1,000 of 1,000" in out_lines[-1]
