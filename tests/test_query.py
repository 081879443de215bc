"""SQL over a version: the four tables, read-only, nothing else in reach, limits that hold."""

import dataclasses
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from adproof.labels import LABELS
from adproof.shards.query import QueryError, query, shown
from tests import data_rows
from tests.version_rows import BASE, samples, write


@pytest.fixture(scope="module")
def rows():
    return samples(230, 20, 0)


@pytest.fixture(scope="module")
def version(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("ads") / "v1"
    write(out, rows)
    return out


def test_counts_by_split_and_label_name(version, rows):
    found = query(version, "SELECT split, label_name, count(*) n FROM samples GROUP BY ALL")
    assert found.columns == ("split", "label_name", "n") and not found.is_cut
    counts = {(split, name): n for split, name, n in found.rows}
    assert sum(counts.values()) == 250
    assert counts["train", LABELS[0]] == sum(row.label == 0 and row.split == "train" for row in rows)


def test_pictures_annotations_and_empty_splits(version, rows):
    found = query(version, "SELECT depth_map, annotations[1].annotator FROM train WHERE sample_id = 's000003'")
    assert found.rows[0][0]["bytes"] == rows[3].depth_map.bytes and found.rows[0][1] == "annotator-0"
    assert shown(found.rows[0][0]) == f"<{len(rows[3].depth_map.bytes):,} bytes>"
    assert query(version, "SELECT * FROM test").rows == []


def test_labels_only_versions(rows, tmp_path):
    write(tmp_path, rows, dataclasses.replace(BASE, variant="labels"))
    assert query(tmp_path, "SELECT count(DISTINCT depth_map_sha256) FROM samples").rows == [(250,)]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW samples",
        "COPY samples TO '{out}'",
        "CREATE TABLE mine AS SELECT 1",
        "SELECT 1; SELECT 2",
        "ATTACH '{out}' AS other",
        "INSTALL httpfs",
        "SET memory_limit = '100GB'",
        "PRAGMA database_list",
        "",
    ],
)
def test_anything_but_one_select_is_refused(version, tmp_path, sql):
    with pytest.raises(QueryError):
        query(version, sql.format(out=tmp_path / "out"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('https://example.org/a.parquet')",
        "SELECT getenv('HOME')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/adproof-never''')",
    ],
)
def test_no_file_no_network_no_environment_is_in_reach(version, sql):
    with pytest.raises(QueryError):
        query(version, sql)
    assert not Path("/tmp/adproof-never").exists()


def test_variables_of_python_are_no_tables(version):
    secret = [1]  # DuckDB would find it by its name
    assert secret
    with pytest.raises(QueryError, match="secret"):
        query(version, "SELECT * FROM secret")


def test_wrong_sql_says_what_is_wrong(version):
    with pytest.raises(QueryError, match="colour"):
        query(version, "SELECT colour FROM train")


def test_a_long_answer_is_cut(version):
    found = query(version, "SELECT sample_id FROM samples ORDER BY sample_id", max_rows=7)
    assert [row[0] for row in found.rows] == [f"s{n:06d}" for n in range(7)] and found.is_cut
    found = query(version, "SELECT generated_image FROM train", max_bytes=2000)
    assert 1 <= len(found.rows) < 20 and found.is_cut


def test_a_long_query_is_broken_off(version):
    with pytest.raises(QueryError, match="more than 0.5 s"):
        query(version, "SELECT count(*) FROM range(100000000000) a WHERE hash(a.range) % 7 = 1", seconds=0.5)


def test_memory_is_bounded(version):
    with pytest.raises(QueryError, match="(?i)memory"):
        query(version, "SELECT list(range) FROM range(200000000)", memory="100MB")


def test_pictures_of_many_row_groups_do_not_fill_the_memory(tmp_path):
    write(tmp_path / "v1", samples(600, 0, 0, size=160), n_train_shards=2)
    code = textwrap.dedent("""
        import resource, sys
        from adproof.shards.query import query
        query(sys.argv[1], "SELECT 1 FROM train LIMIT 1")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sql = "SELECT sum(octet_length(generated_image.bytes) + octet_length(product_image.bytes) + octet_length(depth_map.bytes)) FROM train"
        print(query(sys.argv[1], sql).rows[0][0], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "v1"], env=env, capture_output=True, text=True, timeout=120)
    n_bytes, grown_mb = map(int, done.stdout.split())
    assert n_bytes > 130e6 and grown_mb < 200, (n_bytes, grown_mb)


@pytest.mark.django_db(transaction=True)
class TestTheCommand:
    def told(self, *words):
        out, err = io.StringIO(), io.StringIO()
        call_command("dataset", "query", *words, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    def test_it_prints_a_table_and_csv_and_refuses_with_sentences(self):
        version = data_rows.version(12)
        out, _ = self.told("ads/v1", "SELECT count(*) AS n, 'a, b' AS text FROM samples")
        assert [line.split() for line in out.splitlines()] == [["n", "text"], ["12", "a,", "b"]]
        out, err = self.told("ads/v1", "SELECT sample_id, generated_image FROM samples", "--csv", "--rows", "3")
        assert out.startswith("sample_id,generated_image\nc-") and "bytes>" in out and len(out.splitlines()) == 4
        assert "Only the first 3 rows" in err
        with pytest.raises(CommandError, match="Give one SELECT"):
            self.told("ads/v1", "DROP VIEW samples")
        type(version).objects.update(state="frozen")
        with pytest.raises(CommandError, match="no files yet"):
            self.told("ads/v1", "SELECT 1")
