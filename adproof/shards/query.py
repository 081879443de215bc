"""SQL over a dataset version by DuckDB: read-only, with nothing else of the machine in reach, and with limits."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

import pyarrow.dataset as pads

from adproof.labels import LABELS
from adproof.shards.reading import DatasetVersion, open_version
from adproof.shards.schema import SPLITS, schema

MAX_ROWS = 1000
MAX_BYTES = 16_000_000
SECONDS = 60.0
MEMORY = "512MB"


class QueryError(ValueError):
    """The message says what to change."""


@dataclass(frozen=True)
class Answer:
    """columns: their names. rows: at most as many as allowed; is_cut: there were more."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool


def query(
    path: str | os.PathLike[str],
    sql: str,
    filesystem: Any = None,
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    seconds: float = SECONDS,
    memory: str = MEMORY,
) -> Answer:
    """What one SELECT finds in the tables `train`, `validation`, `test` and `samples` (all, with their split).

    All columns of the format are there, and `label_name`. Only the columns that the statement names are read.

    Args: max_rows, max_bytes: the answer is cut behind them. seconds: it is broken off after them.
        memory: what DuckDB may take beside the row groups being read.
    Raises: QueryError: not one SELECT, wrong SQL, or a limit was met. ImportError: DuckDB is not installed.
        FileNotFoundError: no dataset version.
    """
    import duckdb

    version = open_version(path, filesystem)
    with duckdb.connect(":memory:") as connection:
        _offer(connection, version)
        # SQL reaches the tables that were handed over and no file, no network, no setting.
        for setting in (
            f"memory_limit = '{memory}'", "threads = 2", "temp_directory = ''", "enable_external_access = false",
            "autoinstall_known_extensions = false", "autoload_known_extensions = false", "python_enable_replacements = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        statement = _one_select(connection, sql)
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            connection.interrupt()

        watch = threading.Timer(seconds, end)
        watch.start()
        try:
            return _taken(connection.execute(statement), max_rows, max_bytes)
        except duckdb.Error as error:
            if is_late.is_set():
                raise QueryError(f"It took more than {seconds:g} s: ask for fewer rows or columns.") from error
            raise QueryError(str(error)) from error
        finally:
            watch.cancel()


def _offer(connection: Any, version: DatasetVersion) -> None:
    for split in SPLITS:
        paths = [version.folder.path(name) for name in version.shard_names(split)]
        if paths:
            # One row group at a time and no read-ahead: pictures would fill the memory.
            table = pads.dataset(paths, filesystem=version.folder.filesystem, format=_format())
        else:
            table = schema(version.manifest.variant).empty_table()
        connection.register(f"_{split}", table)
        names = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(LABELS))
        connection.execute(f"CREATE VIEW {split} AS SELECT *, CASE label {names} END AS label_name FROM _{split}")
    union = " UNION ALL ".join(f"SELECT *, '{split}' AS split FROM {split}" for split in SPLITS)
    connection.execute(f"CREATE VIEW samples AS {union}")


def _format() -> pads.ParquetFileFormat:
    options = pads.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True, buffer_size=1 << 16)
    return pads.ParquetFileFormat(default_fragment_scan_options=options)


def _one_select(connection: Any, sql: str) -> Any:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError("Give one SELECT statement, such as: SELECT label_name, count(*) FROM samples GROUP BY ALL")
    return statements[0]


def _taken(found: Any, max_rows: int, max_bytes: int) -> Answer:
    columns = tuple(column[0] for column in found.description)
    rows: list[tuple[Any, ...]] = []
    n_bytes = 0
    while n_bytes < max_bytes and len(rows) <= max_rows:
        some = found.fetchmany(20)
        if not some:
            return Answer(columns, rows, is_cut=False)
        rows += some
        n_bytes += sum(_size(cell) for row in some for cell in row)
    while n_bytes >= max_bytes and len(rows) > 1:
        n_bytes -= sum(_size(cell) for cell in rows.pop())
    return Answer(columns, rows[:max_rows], is_cut=True)


def _size(cell: Any) -> int:
    if isinstance(cell, bytes | str):
        return len(cell)
    if isinstance(cell, dict):
        return sum(map(_size, cell.values()))
    if isinstance(cell, list | tuple):
        return sum(map(_size, cell))
    return 8


def shown(cell: Any) -> str:
    """A cell for people: pictures by their size, numbers without noise."""
    if cell is None:
        return ""
    if isinstance(cell, bytes):
        return f"<{len(cell):,} bytes>"
    if isinstance(cell, dict) and set(cell) == {"bytes", "path"}:
        return shown(cell["bytes"])
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


